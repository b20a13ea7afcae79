"""The decisions about domains in Postgres, and their files. redirect reads a view of them; callers are in a transaction."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.postgres import Connection

DECIDED = ("root_url", "not_found_url", "expired_url", "page_title", "page_colour", "robots", "multi_segment")
"""The columns that operators decide about."""


_COLUMNS = ", ".join(DECIDED)

_SELECT = f"SELECT domain, {_COLUMNS}, version FROM domains WHERE domain = $1"  # noqa: S608  # names of columns

# A column that the JSON does not name stays.
_UPDATE = f"""
    UPDATE domains
    SET ({_COLUMNS}) = (SELECT {_COLUMNS} FROM json_populate_record(domains, $2::json)),
        version = version + 1, updated_at = now()
    WHERE domain = $1
"""  # noqa: S608  # names of columns


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file, without its content."""

    name: str
    bytes: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A domain. Before the first decision it has no row, and this is as by default."""

    domain: str
    root_url: str | None = None
    not_found_url: str | None = None
    expired_url: str | None = None
    page_title: str | None = None
    page_colour: str | None = None
    robots: str | None = None
    multi_segment: bool = False
    version: int = 0
    files: tuple[FileRow, ...] = ()


async def lock_domain(conn: Connection, domain: str) -> None:
    """Keep others from changing a domain until the transaction ends, and make its row if there is none."""
    await conn.execute("INSERT INTO domains (domain) VALUES ($1) ON CONFLICT (domain) DO NOTHING", domain)
    await conn.execute("SELECT FROM domains WHERE domain = $1 FOR UPDATE", domain)


async def select_domain(conn: Connection, domain: str) -> DomainRow:
    row = await conn.fetchrow(_SELECT, domain)
    if row is None:
        return DomainRow(domain)
    files = await conn.fetch(
        "SELECT name, octet_length(content) AS bytes, updated_at FROM domain_files WHERE domain = $1 ORDER BY name",
        domain,
    )
    return DomainRow(**dict(row), files=tuple(FileRow(**dict(file)) for file in files))


async def update_domain(conn: Connection, domain: str, changed: Mapping[str, str | bool | None]) -> None:
    """Change decisions about a domain that is locked; its version goes up by one.

    Args:
        conn: In a transaction.
        domain: The domain.
        changed: Values by column; what is left out stays.
    """
    await conn.execute(_UPDATE, domain, json.dumps(dict(changed)))


async def select_file(conn: Connection, domain: str, name: str) -> str | None:
    """Read the content of a file."""
    content: str | None = await conn.fetchval(
        "SELECT content FROM domain_files WHERE domain = $1 AND name = $2", domain, name
    )
    return content


async def upsert_file(conn: Connection, domain: str, name: str, content: str) -> None:
    """Store a file of a domain that is locked."""
    await conn.execute(
        """
        INSERT INTO domain_files (domain, name, content) VALUES ($1, $2, $3)
        ON CONFLICT (domain, name) DO UPDATE SET content = EXCLUDED.content, updated_at = now()
        """,
        domain,
        name,
        content,
    )


async def delete_file(conn: Connection, domain: str, name: str) -> bool:
    """Delete a file of a domain that is locked; tell whether there was one."""
    row = await conn.fetchrow("DELETE FROM domain_files WHERE domain = $1 AND name = $2 RETURNING true", domain, name)
    return row is not None
