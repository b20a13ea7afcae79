"""Files that are nearly archives: whatever is wrong with one ends the reading with a reason, and nothing of it is a path."""

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.links.archive.writing import ArchiveWriter
from services.links.sources import archive
from services.links.sources.archive_lines import FORMAT, LARGEST_MEMBER, DayLine, LinkLine, Manifest
from services.links.sources.found import FoundLink, FoundRecord, Unusable, UnusableFile
from tests.links.archive_data import PlainFile

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
MANIFEST = Manifest(format=FORMAT, release="tests", created_at=AT, owner=None, passwords=True, raw_clicks=False)
LINK = LinkLine(
    domain="sho.rt",
    code="c",
    owner="alice",
    url="https://www.example.com/",
    fields={"title": "t"},
    created_at=AT,
    updated_at=AT,
)
DAY = DayLine(domain="sho.rt", code="c", day=date(2026, 11, 28), slots=[(0, 1, 2)], values={"country": [(None, 1, 2)]})


def whole() -> bytes:
    writer = ArchiveWriter(MANIFEST)
    return gzip.decompress(writer.begin() + writer.add([LINK, DAY]) + writer.end())


WHOLE = whole()


def pack(*members: tuple[str, bytes], **told: object) -> bytes:
    """A tar file of other members; `told` changes what their headers say."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            for field, value in told.items():
                setattr(header, field, value)
            tar.addfile(header, io.BytesIO(content))
    return packed.getvalue()


def unpack(content: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]  # they are files


def changed(*, place: int, name: str | None = None, content: bytes | None = None) -> bytes:
    """The archive with another member at a place."""
    members = unpack(WHOLE)
    before = members[place]
    members[place] = (name or before[0], before[1] if content is None else content)
    return pack(*members)


def reason(content: bytes) -> str:
    with pytest.raises(UnusableFile) as error:
        list(archive.read_lines(PlainFile(content)))
    return str(error.value)


def test_what_was_written_is_read() -> None:
    """Links are found as those of other sources, and everything else as it is, with the number of its line."""
    file = PlainFile(WHOLE)

    assert archive.recognise(WHOLE[:65536], "anything.bin")
    assert archive.read_manifest(file) == MANIFEST
    assert list(archive.read_visits(file)) == [FoundRecord(1, LINK), FoundRecord(2, DAY)]
    assert list(archive.read_links(file)) == [
        FoundLink(
            line=1,
            code="c",
            url="https://www.example.com/",
            domain="sho.rt",
            short_url="https://sho.rt/c",
            created_at=AT,
            fields={"title": "t"},
            owner="alice",
        )
    ]


def test_members_that_others_packed_are_read() -> None:
    """The same members in a tar file of another program, with other times, are the same archive."""
    again = PlainFile(pack(*unpack(WHOLE), mtime=1))

    assert list(archive.read_lines(again)) == [(1, LINK), (2, DAY)]


@pytest.mark.parametrize("end", range(0, len(WHOLE) - 1024, 97))
def test_cut_archive_is_no_whole_one(end: int) -> None:
    """Wherever it ends too early, that is said."""
    assert "cut" in reason(WHOLE[:end]) or "does not begin" in reason(WHOLE[:end])


def test_archive_without_its_last_members_is_no_whole_one() -> None:
    """Members that are missing, there twice, changed or in another order are noticed, and so is what follows the end."""
    members = unpack(WHOLE)
    orders: Sequence[Sequence[int]] = (
        [0, 1, 2],
        [0, 2, 3],
        [0, 2, 1, 3],
        [0, 1, 1, 2, 3],
        [0, 3],
        [1, 2, 3],
        [0, 1, 2, 3, 3],
    )
    for order in orders:
        assert "rchive" in reason(pack(*(members[place] for place in order))), order
    assert "damaged" in reason(changed(place=1, content=unpack(WHOLE)[1][1].replace(b"alice", b"mallo")))
    assert "goes on" in reason(WHOLE + b"x" * 2048)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../links/00000001.ndjson", "links/../../x", "./links/00000001.ndjson", "links/1.ndjson",
     "other/00000001.ndjson", "links/00000001.ndjson/", "manifest.json", "links/00000001.NDJSON"],
)  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    """A name is looked up among those that there are, and means no place."""
    assert "rchive" in reason(changed(place=1, name=name))


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"x", b"g", b"L", b"S"],
)
def test_other_kinds_of_members_are_refused(kind: bytes) -> None:
    """Links, folders, devices and extended headers of tar have no place in it."""
    members = unpack(WHOLE)

    assert "no member" in reason(
        pack(*members[:1])[:-1024].rstrip(b"\0").ljust(1024, b"\0")
        + pack(members[1], type=kind, linkname="/etc/passwd")
    )


def test_large_members_are_refused_unread() -> None:
    """A member that says that it is larger than any is refused by its header."""
    header = tarfile.TarInfo("links/00000001.ndjson")
    header.size = LARGEST_MEMBER + 1
    manifest = pack(unpack(WHOLE)[0])[:1024]

    assert f"no member has more than {LARGEST_MEMBER}" in reason(manifest + header.tobuf(tarfile.USTAR_FORMAT))


def test_newer_formats_are_refused() -> None:
    """An archive of a format to come says which one it is, whatever else its manifest has."""
    newer = json.dumps({"format": FORMAT + 1, "other": {}}).encode()

    assert f"the format {FORMAT + 1}" in reason(changed(place=0, content=newer))
    for content in (b"", b"{", b"[]", b"null", b'{"format": 1}', b'{"format": "2"}'):
        assert "cannot be read" in reason(changed(place=0, content=content))


WRONG = [
    b"",
    b"null",
    b"{",
    b'{"domain": "sho.rt"}',
    LINK.model_dump_json().replace('"c"', '""').encode(),
    LINK.model_dump_json().replace('"c"', '"\\u0000"').encode(),
    LINK.model_dump_json().replace('"c"', '"\\ud800"').encode(),
    LINK.model_dump_json().replace('"version":1', '"version":0').encode(),
    LINK.model_dump_json().replace('"version":1', f'"version":{2**31}').encode(),
    LINK.model_dump_json()[:-1].encode() + b',"unknown":1}',
    LINK.model_dump_json().replace("2026-11-28T12:00:00Z", "2026-11-28T12:00:00").encode(),
    b"\xff\xfe",
    b"[" * 100_000,
]


@pytest.mark.parametrize("line", WRONG, ids=range(len(WRONG)))
def test_line_that_is_none_stops_no_other(line: bytes) -> None:
    """A wrong line is told with its number and its beginning, and the next one is read."""
    members = unpack(WHOLE)
    content = line + b"\n" + members[1][1]
    writer = ArchiveWriter(MANIFEST)
    parts = [writer.begin(), writer._member(members[1][0], content)]
    writer._lines.update(links=2)
    file = PlainFile(gzip.decompress(b"".join([*parts, writer.end()])))
    wrong, right = [each for _, each in archive.read_lines(file)]

    assert isinstance(wrong, Unusable)
    assert (wrong.line, wrong.reason[:19]) == (1, "is no line of links")
    assert len(wrong.text) <= 200
    assert right == LINK
    assert len(list(archive.read_links(file))) == 2


@given(st.binary(max_size=2000), st.integers(0, len(WHOLE)))
def test_any_bytes_are_refused_with_a_reason(noise: bytes, place: int) -> None:
    """Whatever is written over an archive, it is read to the same end or refused."""
    spoiled = WHOLE[:place] + noise + WHOLE[place + len(noise) :]
    try:
        lines = list(archive.read_lines(PlainFile(spoiled)))
    except UnusableFile:
        return
    assert lines == [(1, LINK), (2, DAY)]
