"""The contract of a click: its parts keep their places, and a release reads the clicks of those before and after it."""

import msgpack
import pytest

from shared.clicks import HEADERS, ClickParts, take_parts
from shared.journal import FORMAT, HEADER, count_clicks, first_record_bytes, is_other_format, pack_record, unpack_clicks

PARTS = ClickParts(address=b"203.0.113.7", agent=b"Ua", referrer=b"https://r.example/", language=b"de")


def test_parts_keep_their_places() -> None:
    """The release before finds the parts by number: these places are never given to another part."""
    places = {ClickParts._fields[place]: place for place in (1, 3, 4, 5, 7)}

    assert places == {"address": 1, "agent": 3, "referrer": 4, "language": 5, "purpose": 7}


def test_every_header_of_a_click_is_a_part_of_it() -> None:
    """Each part that is in use comes from one header, or from redirect itself, and the others are empty."""
    parts = [header.part for header in HEADERS if header.part is not None]
    sent = {header.name.lower().encode(): b"x" for header in HEADERS}
    taken = ClickParts(*take_parts(sent, b"x"))
    parts.append("variant")

    assert sorted(parts) == sorted(name for name in ClickParts._fields if not name.startswith("unused"))
    assert taken == ClickParts(**dict.fromkeys(parts, b"x"))


@pytest.mark.parametrize("more", [(), (b"new",), (b"new", None, 7, {"any": [1]})])
def test_longer_click_is_read(more: tuple[object, ...]) -> None:
    """What a newer release adds to a click is ignored."""
    body = msgpack.packb([(1.5, 7, (*PARTS, *more), *more), (2.5, 8, PARTS)])

    assert unpack_clicks(body) == [(1.5, 7, PARTS), (2.5, 8, PARTS)]


@pytest.mark.parametrize("length", range(len(ClickParts._fields)))
def test_shorter_click_is_read(length: int) -> None:
    """What an older release did not record was not sent."""
    ((_, _, parts),) = unpack_clicks(msgpack.packb([(1.5, 7, PARTS[:length])]))

    assert parts == ClickParts(*PARTS[:length])
    assert parts[length:] == (None,) * (len(ClickParts._fields) - length)


def test_click_of_the_release_before_is_read() -> None:
    """It recorded target and host, request id and error format besides, and a purpose only if there was one."""
    request = (b"/a HTTP/1.1\r\nHost: sho.rt", b"203.0.113.7", b"id", b"Ua", b"https://r.example/", b"de", b"html")
    clicks = unpack_clicks(msgpack.packb([(1.5, 7, request), (1.5, 7, (*request, b"prefetch"))]))
    read = [(parts.address, parts.agent, parts.referrer, parts.language, parts.purpose) for _, _, parts in clicks]

    assert read == [(*PARTS[1:2], *PARTS[3:6], purpose) for purpose in (None, b"prefetch")]


@pytest.mark.parametrize("body", [b"", b"\x01", b"\xc1", *map(msgpack.packb, [[1], [(1, 2)], [(1, 2, 3)], {"a": 1}])])
def test_what_is_no_list_of_clicks_is_refused(body: bytes) -> None:
    """Other things than clicks raise one error."""
    with pytest.raises(ValueError):  # noqa: PT011  # its text is msgpack's
        unpack_clicks(body)


@pytest.mark.parametrize("count", [1, 15, 16, 65_535, 65_536])
def test_clicks_are_counted_without_being_unpacked(count: int) -> None:
    """The head of a record's body tells how many clicks it has, and the record's own head how long it is."""
    record = pack_record([(0.0, 1, ())] * count)

    assert count_clicks(record[8:]) == count
    assert first_record_bytes(record[:8]) == len(record)
    assert first_record_bytes(record[:7]) == 0
    assert first_record_bytes(b"\xff" * 8) == 0


def test_format_is_told_from_another() -> None:
    """A segment of another release's format is known as one; what is no segment is not."""
    assert FORMAT.encode() in HEADER
    assert is_other_format(HEADER.replace(FORMAT.encode(), b"2"))
    assert not any(map(is_other_format, (HEADER, HEADER[:-1], b"", b"x" * len(HEADER))))
