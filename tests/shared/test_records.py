"""The record that redirect reads: the view, what may be read of it, and its form in Redis."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.records import Record, VersionedRecord, pack_reading, redis_key, select_records, unpack_reading
from tests.conftest import Database

INSERT = "INSERT INTO links (domain, code, owner, url) VALUES ('sho.rt', $1, 'o', $2)"

targets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=200)

records = st.builds(
    Record,
    link_id=st.integers(1, 2**63 - 1),
    url=targets,
    status_code=st.sampled_from([301, 302, 307, 308]),
    cache_control=st.none() | st.integers(0, 2**31 - 1),
    valid_from=st.none() | st.floats(0, 4e9),
    expires_at=st.none() | st.floats(0, 4e9),
    expired_url=st.none() | targets,
    enabled=st.booleans(),
    forward_query=st.booleans(),
    deleted=st.booleans(),
    min_reader=st.integers(2, 100),
    forward_path=st.booleans(),
    crawlable=st.booleans(),
    preview=st.just(False),
    rules=st.none() | st.text(max_size=20),
    split=st.none() | st.text(max_size=20),
    limited=st.booleans(),
    used_up=st.booleans(),
    password=st.none() | st.text(max_size=16),
    salt=st.none() | st.uuids().map(str),
    visitor_query_wins=st.booleans(),
    folds_case=st.booleans(),
)
plain_records = records.map(lambda record: Record(*record[:10], min_reader=1))
records = (records | plain_records).map(lambda record: record._replace(url="") if record.deleted else record)


@pytest.fixture
async def reader(database: Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection with the rights of the redirect service."""
    conn = await asyncpg.connect(database.redirect_url)
    yield conn
    await conn.close()


@given(reading=st.builds(VersionedRecord, as_of=st.integers(0, 2**63 - 1), record=st.none() | records))
def test_packed_reading_is_read_back(reading: VersionedRecord) -> None:
    """A reading survives Redis, with or without a record."""
    assert unpack_reading(pack_reading(reading)) == reading


@given(packed=st.binary(max_size=80))
def test_other_bytes_are_no_reading(packed: bytes) -> None:
    """Whatever bytes Redis holds, they are a reading or refused."""
    with contextlib.suppress(ValueError):
        assert isinstance(unpack_reading(packed), VersionedRecord)


def test_key_names_the_record_format() -> None:
    """A release with another format uses other keys."""
    assert redis_key(("sho.rt", "abc")) == "link:1:sho.rt/abc"


async def test_records_of_many_codes(database: Database) -> None:
    """Many codes are read in one statement; a code without a link is left out, a deleted one is told."""
    conn = await asyncpg.connect(database.owner_url)
    for code in ("a", "b", "c"):
        await conn.execute(INSERT, code, f"https://www.example.com/{code}")
    at = datetime(2030, 1, 1, 12, tzinfo=UTC)
    await conn.execute("UPDATE links SET expires_at = $1, enabled = false WHERE code = 'b'", at)
    await conn.execute(
        "UPDATE links SET deleted_at = now(), expired_url = 'https://www.example.com/x' WHERE code = 'c'"
    )
    found = await select_records(
        conn, [("sho.rt", "a"), ("sho.rt", "none"), ("sho.rt", "c"), ("x", "a"), ("sho.rt", "b")]
    )
    await conn.close()

    assert set(found) == {("sho.rt", "a"), ("sho.rt", "b"), ("sho.rt", "c")}
    assert found["sho.rt", "a"][1:11] == (
        "https://www.example.com/a",
        302,
        None,
        None,
        None,
        None,
        True,
        False,
        False,
        1,
    )
    assert found["sho.rt", "b"].expires_at == at.timestamp()
    assert found["sho.rt", "c"].deleted
    assert found["sho.rt", "c"].expired_url == "https://www.example.com/x"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM links",
        "SELECT title FROM links",
        "SELECT * FROM api_keys",
        "SELECT * FROM remembered_requests",
        "INSERT INTO link_changes (domain, code) VALUES ('a', 'b')",
        "UPDATE link_records SET url = 'https://evil.example/'",
        "DELETE FROM link_changes",
        "CREATE TABLE t (a int)",
    ],
)
async def test_redirect_can_read_two_things_and_write_none(
    reader: "asyncpg.Connection[asyncpg.Record]", statement: str
) -> None:
    """The role of the redirect service reads the records and the feed, and nothing else."""
    await reader.fetch("SELECT * FROM link_records")
    await reader.fetch("SELECT * FROM link_changes")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.execute(statement)
