"""Takes a backup: a dump by `pg_dump` and, from the same snapshot, the manifest that a restore is checked against.

`backup_commands.py` calls it, once or by the clock; `backup_files.py` has the files, `restores.py` the way back.
"""

import asyncio
import contextlib
import hashlib
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from deploy.backup_files import (
    UNFINISHED,
    Backup,
    BackupRefused,
    Manifest,
    dump_path,
    file_sha256,
    good_backups,
    locked,
    remove_old_backups,
    store_backup,
)
from deploy.postgres_programs import ProgramFailed, find_program, run_program
from shared.changes import select_version
from shared.postgres import CONNECT_TIMEOUT_S, Connection
from shared.schema import select_head
from shared.settings import BackupSettings

DUMP_TIMEOUT_S = 4 * 3600
HASH_TIMEOUT_S = 3600
LIST_TIMEOUT_S = 600
COPY_TIMEOUT_S = 4 * 3600
STATEMENT_TIMEOUT_S = 60
TABLE_LOCK_TIMEOUT_S = 30

OTHER_BACKUP_TIMEOUT_S = 1800
"""How long a backup that may turn out needless waits for one that is under way and would make it so."""

FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, BackupRefused, ProgramFailed)
"""What can be wrong with a backup or a restore, other than this program."""


@dataclass(frozen=True)
class Taken:
    """A backup that was taken now."""

    backup: Backup
    seconds: float


async def take_backup(settings: BackupSettings, *, if_older_than: timedelta | None = None) -> Taken | None:
    """Take a backup, remove the oldest, and copy the new one off the host if a command for it is set.

    Args:
        settings: Of what, and where to.
        if_older_than: Take it only if the newest good one is older; wait for one that is under way.

    Returns:
        The backup, or None if it was not needed.

    Raises:
        BackupRefused: Another one is under way, or the copy failed; then the backup stays.
        ProgramFailed: `pg_dump` failed.
    """
    folder = settings.backup_dir
    async with locked(folder, 0 if if_older_than is None else OTHER_BACKUP_TIMEOUT_S):
        if if_older_than is not None and (age := newest_age(folder)) is not None and age <= if_older_than:
            return None
        started = time.monotonic()
        backup = await _dump(settings)
        taken = Taken(backup, time.monotonic() - started)
        remove_old_backups(folder, settings.backup_keep)
        if settings.backup_copy_command:
            await _copy(settings.backup_copy_command, backup.dump)
        return taken


def newest_age(folder: Path) -> timedelta | None:
    """How long ago the newest good backup began; None without one."""
    backups = good_backups(folder)
    return datetime.now(UTC) - backups[-1].manifest.began_at if backups else None


async def hash_links(conn: Connection) -> tuple[int, str]:
    """Count the links and hash domain, code, target and state of each, in order.

    The statement is part of what a manifest says: it must give the same for a dump of any age.

    Returns:
        The count, and the SHA-256 of the rows as COPY writes them.
    """
    digest = hashlib.sha256()

    async def update(rows: bytes) -> None:
        digest.update(rows)

    status = await conn.copy_from_query(
        "SELECT domain, code, url, enabled, deleted_at IS NOT NULL FROM links ORDER BY domain, code",
        output=update,
        timeout=HASH_TIMEOUT_S,
    )
    return int(status.split()[-1]), digest.hexdigest()


@asynccontextmanager
async def connect(url: str, application: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Connect for statements that may take long."""
    settings = {
        "application_name": f"tinyurl {application}",
        "timezone": "UTC",
        # The deadlines are ours: a dump keeps its transaction open for as long as it takes.
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
    }
    conn = await asyncpg.connect(
        url, timeout=CONNECT_TIMEOUT_S, command_timeout=STATEMENT_TIMEOUT_S, server_settings=settings
    )
    try:
        yield conn
    finally:
        try:
            await conn.close(timeout=CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            conn.terminate()


async def _dump(settings: BackupSettings) -> Backup:
    url = settings.owner_database_url.get_secret_value()
    async with connect(url, "backup") as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        program = find_program("pg_dump", conn.get_server_version().major)
        # The transaction's time, which lies before its snapshot.
        began_at, snapshot = await conn.fetchrow("SELECT now(), pg_export_snapshot()")  # type: ignore[misc]  # one row always
        dump = dump_path(settings.backup_dir, began_at)
        unfinished = dump.with_name(dump.name + UNFINISHED)
        try:
            unfinished.touch(mode=0o600)
            links, links_sha256 = await hash_links(conn)
            await run_program(
                program,
                *("--format=custom", f"--snapshot={snapshot}", f"--file={unfinished}", "--no-password"),
                f"--lock-wait-timeout={TABLE_LOCK_TIMEOUT_S}s",
                timeout_s=DUMP_TIMEOUT_S,
                url=url,
            )
            await run_program(program.with_name("pg_restore"), "--list", str(unfinished), timeout_s=LIST_TIMEOUT_S)
            manifest = Manifest(
                began_at=began_at,
                schema=await select_head(conn),
                links=links,
                links_sha256=links_sha256,
                feed_version=await select_version(conn),
                postgres=await conn.fetchval("SHOW server_version"),
                roles=await _select_roles(conn),
                size=unfinished.stat().st_size,
                sha256=await asyncio.to_thread(file_sha256, unfinished),
            )
            store_backup(unfinished, dump, manifest)
        finally:
            unfinished.unlink(missing_ok=True)
    return Backup(dump, manifest)


async def _select_roles(conn: Connection) -> tuple[str, ...]:
    """The roles that are granted something in this database: a restore needs them, and a dump does not have them."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT rolname FROM pg_shdepend
        JOIN pg_database ON pg_database.oid = dbid
        JOIN pg_roles ON pg_roles.oid = refobjid
        WHERE datname = current_database() AND refclassid = 'pg_authid'::regclass AND deptype = 'a'
        ORDER BY rolname
        """
    )
    return tuple(row["rolname"] for row in rows)


async def _copy(command: str, dump: Path) -> None:
    """Run the operator's command."""
    process = await asyncio.create_subprocess_shell(
        command,
        env=_copy_environment(dump),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(COPY_TIMEOUT_S):
            _, errors = await process.communicate()
    except TimeoutError:
        raise BackupRefused(f"{dump} is good and stays; copying it took longer than {COPY_TIMEOUT_S} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode != 0:
        said = errors.decode(errors="replace").strip().splitlines()[-1:]
        reason = said[0] if said else f"it ended with {process.returncode}"
        raise BackupRefused(f"{dump} is good and stays; copying it failed: {reason}")


def _copy_environment(dump: Path) -> dict[str, str]:
    """Our own environment without our secrets, and the file that is to be copied."""
    others = {name: value for name, value in os.environ.items() if name.lower() not in BackupSettings.model_fields}
    return {**others, "BACKUP_FILE": str(dump.absolute())}
