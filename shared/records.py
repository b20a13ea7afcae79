"""Reads the record of a link that a redirector follows, from Postgres, and packs it for Redis and memory.

links writes the table behind the view `link_records`; redirect reads this view alone.
"""

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, cast

import msgpack

from shared.postgres import Connection

RECORD_FORMAT = 1
"""A part of the Redis key. A release with another format never reads the records of this one."""

READER = 7
"""The newest `min_reader` that this release understands. It follows no record with a newer one."""

RECORD_LIFETIME_S = 600
"""A record stays in Redis for 9 to 10 minutes. The spread keeps the records of one moment from ending together."""

ABSENT_LIFETIME_S = 5

LARGEST_BIGINT = 2**63 - 1

LinkKey = tuple[str, str]
"""Domain (lower case, without port) and code."""


_match_target = re.compile(r"[!-~]{1,16384}").fullmatch


class Record(NamedTuple):
    """The fields of a link that decide the answer to a visit. Times are Unix seconds, `cache_control` a lifetime in seconds.

    A field with a default is one that few links have, and it raises `min_reader`. Where all of these are as by default they are
    not packed, so that the records of all other links are the same to every release; later fields in the same way.

    Attributes:
        rules, split: As JSON (`shared/rules.py`).
        limited: Each visitor has to be let through by the owner of links.
        used_up: None is let through any more.
        password: Changes with the link's password; None if it has none.
        salt: The key of the link's splits.
    """

    link_id: int
    url: str
    status_code: int
    cache_control: int | None
    valid_from: float | None
    expires_at: float | None
    expired_url: str | None
    enabled: bool
    forward_query: bool
    deleted: bool
    min_reader: int
    forward_path: bool = False
    crawlable: bool = False
    preview: bool = True
    rules: str | None = None
    split: str | None = None
    limited: bool = False
    used_up: bool = False
    password: str | None = None
    salt: str | None = None
    visitor_query_wins: bool = False
    folds_case: bool = False


_DEFAULTS = tuple(Record._field_defaults.values())
_ALWAYS = len(Record._fields) - len(_DEFAULTS)
_LENGTHS = (_ALWAYS, Record._fields.index("visitor_query_wins"), len(Record._fields))
"""How many fields releases know, one after the other. A record is packed for the first one that knows all that it has."""


class VersionedRecord(NamedTuple):
    """A record, or None for a code without a link, and the newest version of the feed that was known before the reading."""

    as_of: int
    record: Record | None


def redis_key(key: LinkKey) -> str:
    domain, code = key
    return f"link:{RECORD_FORMAT}:{domain}/{code}"


def pack_reading(reading: VersionedRecord) -> bytes:
    fields: tuple[object, ...] = reading.record or ()
    if fields:
        fields = fields[: next(length for length in _LENGTHS if fields[length:] == _DEFAULTS[length - _ALWAYS :])]
    return cast(bytes, msgpack.packb((reading.as_of, *fields)))


def unpack_reading(packed: bytes) -> VersionedRecord:
    """Read what `pack_reading` wrote.

    Raises:
        ValueError: The bytes are something else.
    """
    try:
        values = msgpack.unpackb(packed)
        if not isinstance(values, list):
            raise TypeError
        as_of, *fields = values
        if len(fields) not in (0, *_LENGTHS):
            raise TypeError
        record = Record(*fields) if fields else None
    except (TypeError, OverflowError, msgpack.UnpackException) as error:
        raise ValueError("not a packed reading") from error
    if not _is_whole(as_of, LARGEST_BIGINT) or not (record is None or _is_sound(record)):
        raise ValueError("not the fields of a reading")
    return VersionedRecord(as_of, record)


async def select_records(conn: Connection, keys: Sequence[LinkKey]) -> dict[LinkKey, Record]:
    """Read the records of many codes in one statement; a code without a link is left out."""
    rows = await conn.fetch(
        """
        SELECT r.domain, r.code, r.id, r.url, r.status_code, r.cache_control, r.valid_from, r.expires_at,
               r.expired_url, r.enabled, r.forward_query, r.deleted, r.min_reader,
               r.forward_path, r.crawlable, r.preview, r.rules, r.split, r.limited, r.used_up, r.password, r.salt,
               r.visitor_query_wins, r.folds_case
        FROM unnest($1::text[], $2::text[]) AS k (domain, code)
        JOIN link_records r ON r.domain = k.domain AND r.code = k.code
        """,
        [domain for domain, _ in keys],
        [code for _, code in keys],
    )
    return {(row["domain"], row["code"]): _record(tuple(row)[2:]) for row in rows}


_FLAGS = tuple(name for name, kind in Record.__annotations__.items() if kind is bool)


def _is_sound(record: Record) -> bool:
    """Tell whether each field has a value that Postgres could have sent, so that nothing in Redis can break an answer."""
    return (
        _is_whole(record.link_id, LARGEST_BIGINT)
        # A deleted link keeps nothing but its code.
        and (_is_target(record.url) or (record.deleted is True and record.url == ""))
        and _is_whole(record.status_code, 308)
        and record.status_code in (301, 302, 307, 308)
        and (record.cache_control is None or _is_whole(record.cache_control, LARGEST_BIGINT))
        and (record.valid_from is None or _is_time(record.valid_from))
        and (record.expires_at is None or _is_time(record.expires_at))
        and (record.expired_url is None or _is_target(record.expired_url))
        and all(isinstance(getattr(record, name), bool) for name in _FLAGS)
        and _is_whole(record.min_reader, LARGEST_BIGINT)
        # The release before did not know what raised `min_reader`, and left it out.
        and (not 1 < record.min_reader <= READER or record[_ALWAYS:] != _DEFAULTS)
        and all(isinstance(value, str | None) for value in (record.rules, record.split, record.password, record.salt))
    )


def _is_whole(value: object, largest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest


def _is_target(value: object) -> bool:
    """Whether a value is an address as it is stored: a blank or a control character in it could end a header."""
    return isinstance(value, str) and _match_target(value) is not None


def _is_time(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _record(row: tuple[object, ...]) -> Record:
    return Record(*(value.timestamp() if isinstance(value, datetime) else value for value in row))  # type: ignore[arg-type]  # the columns are in the order of the fields
