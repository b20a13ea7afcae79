"""What Redis may hold: anything; only what this release could have written counts."""

import math
from collections.abc import Iterator

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.records import READER, Record, VersionedRecord, pack_reading, unpack_reading
from tests.redirect.test_answers import NOW, PLAIN

FULL = PLAIN._replace(
    cache_control=60,
    valid_from=NOW - 5,
    expires_at=NOW + 5,
    expired_url="https://www.example.com/over",
    min_reader=READER,
    forward_path=True,
    crawlable=True,
    preview=False,
    rules="[]",
    split="[]",
    limited=True,
    used_up=True,
    password="0123456789abcdef",  # noqa: S106  # what the view tells of a password
    salt="00000000-0000-0000-0000-000000000000",
    visitor_query_wins=True,
    folds_case=True,
)
NOTHING_LIKE_IT: list[object] = [
    [],
    {},
    {"a": 1},
    "x",
    b"x",
    "",
    -1,
    2**64 - 1,
    -(2**63),
    math.nan,
    math.inf,
    1.5,
    msgpack.ExtType(5, b"x"),
    msgpack.Timestamp(-1, 5),
    "https://a.example/\r\nSet-Cookie: a=b",
    "https://a.example/ b",
    "https://a.example/ü",
    "https://a.example/" + "a" * 20_000,
]
# Where one of these is what the field may hold.
SOUND = [("valid_from", 1.5), ("expires_at", 1.5), ("url", "x"), ("expired_url", "x")]
SOUND += [
    (name, text) for name in ("rules", "split", "password", "salt") for text in NOTHING_LIKE_IT if isinstance(text, str)
]


def wrong_fields() -> Iterator[bytes]:
    fields = (7, *FULL)
    names = ("as_of", *Record._fields)
    for place, name in enumerate(names):
        wrong = [
            *NOTHING_LIKE_IT,
            *([None] if name not in OPTIONAL else []),
            *([1, 0] if name in FLAGS else [True, False]),
        ]
        for value in wrong:
            if (name, value) not in SOUND:
                yield msgpack.packb((*fields[:place], value, *fields[place + 1 :]))


OPTIONAL = ("cache_control", "valid_from", "expires_at", "expired_url", "rules", "split", "password", "salt")
FLAGS = tuple(name for name, kind in Record.__annotations__.items() if kind is bool)


def is_sound(packed: bytes) -> bool:
    try:
        unpack_reading(packed)
    except ValueError:
        return False
    return True


def test_what_was_written_is_read() -> None:
    """A reading comes back as it was, a link that is absent too."""
    for reading in (VersionedRecord(0, None), VersionedRecord(2**62, FULL), VersionedRecord(3, PLAIN)):
        assert unpack_reading(pack_reading(reading)) == reading


def test_field_of_a_wrong_type_is_no_reading() -> None:
    """Each field takes what Postgres can say of it, and nothing else."""
    assert [packed for packed in wrong_fields() if is_sound(packed)] == []


@pytest.mark.parametrize("value", NOTHING_LIKE_IT, ids=repr)
def test_value_of_another_kind_is_no_reading(value: object) -> None:
    """Whatever msgpack can say, alone."""
    assert not is_sound(msgpack.packb(value))


def test_wrong_length_is_no_reading() -> None:
    """A record that is cut, goes on, or has a field more or less is none: another release has another format."""
    packed = pack_reading(VersionedRecord(7, FULL))
    wrong = [packed[:end] for end in range(len(packed))] + [packed + b"\x00", packed + packed]
    wrong += [msgpack.packb((7, *FULL)[:n]) for n in range(2, 21)] + [
        msgpack.packb((7, *FULL, 1)),
        b"",
        b"\xc1",
    ]

    assert [each for each in wrong if is_sound(each)] == []


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reading_or_a_miss(packed: bytes) -> None:
    """Whatever Redis holds, it is a reading or a ValueError."""
    is_sound(packed)


def test_record_that_an_older_release_read_is_a_miss() -> None:
    """The release before reads a record without what raised `min_reader`, and must not hand it to this one."""
    assert is_sound(pack_reading(VersionedRecord(7, PLAIN)))
    assert not is_sound(pack_reading(VersionedRecord(7, PLAIN._replace(min_reader=2))))
    assert is_sound(pack_reading(VersionedRecord(7, PLAIN._replace(min_reader=READER + 1))))
