"""Takes a backup: a dump by `pg_dump` and, from the same snapshot, the manifest that a restore is checked against.

`command/backup.py` calls it, once or by the clock; `files.py` has the files, `restores.py` the way back.
"""

import asyncio
import hashlib
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deploy.backup.files import (
    UNFINISHED,
    Backup,
    BackupRefused,
    Manifest,
    dump_path,
    file_sha256,
    locked,
    newest_age,
    store_backup,
)
from deploy.backup.programs import ProgramFailed, find_program, run_program
from deploy.backup.settings import BackupSettings
from deploy.backup.thinning import remove_leftovers, remove_old_backups
from shared.changes import select_version
from shared.postgres import FAILURES as POSTGRES_FAILURES
from shared.postgres import Connection, OwnConnection, open_connection
from shared.schema import select_head

DUMP_TIMEOUT_S = 4 * 3600
HASH_TIMEOUT_S = 3600
LIST_TIMEOUT_S = 600
STATEMENT_TIMEOUT_S = 60
TABLE_LOCK_TIMEOUT_S = 30

THINNING_S = 2
"""Another process removes old backups after a copy, and holds the same lock for a moment."""

OTHER_BACKUP_TIMEOUT_S = 1800
"""How long `--if-older-than` waits for a backup that is under way and may make another one needless."""

FAILURES = (*POSTGRES_FAILURES, BackupRefused, ProgramFailed)
"""What can be wrong with a backup or a restore, other than this program."""


@dataclass(frozen=True)
class TakenBackup:
    """A backup that was taken now."""

    backup: Backup
    seconds: float


async def take_backup(settings: BackupSettings, *, if_older_than: timedelta | None = None) -> TakenBackup | None:
    """Take a backup, and remove those that need not stay; `copying.py` removes them where backups are copied.

    Args:
        settings: The database, and the folder of the backups.
        if_older_than: Take a backup only if the newest good one is older; wait for one that is under way.

    Returns:
        The backup, or None if it was not needed.

    Raises:
        BackupRefused: Another one is under way.
        ProgramFailed: `pg_dump` failed.
    """
    folder = settings.backup_dir
    async with locked(folder, THINNING_S if if_older_than is None else OTHER_BACKUP_TIMEOUT_S):
        if if_older_than is not None and (age := newest_age(folder)) is not None and age <= if_older_than:
            return None
        started = time.monotonic()
        remove_leftovers(folder)
        taken = TakenBackup(await _dump(settings), time.monotonic() - started)
        if not settings.copies:
            remove_old_backups(folder, settings.keep, datetime.now(UTC))
        return taken


async def hash_links(conn: Connection) -> tuple[int, str]:
    """Count the links and hash domain, code, target and state of each, in order.

    The statement is part of a manifest's meaning: it must give the same for a dump of any age.

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


def connect(url: str, application: str) -> AbstractAsyncContextManager[OwnConnection]:
    """Connect for work that takes long: the server sets no deadline, since a dump keeps its transaction open."""
    return open_connection(url, application, statement_timeout_s=None, command_timeout_s=STATEMENT_TIMEOUT_S)


async def _dump(settings: BackupSettings) -> Backup:
    url = settings.owner_database_url.get_secret_value()
    # The age of a backup is reckoned by this host's clock later, and not by the database's.
    began_at = datetime.now(UTC)
    async with connect(url, "backup") as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        program = find_program("pg_dump", conn.get_server_version().major)
        snapshot = await conn.fetchval("SELECT pg_export_snapshot()")
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
            store_backup(unfinished, dump, manifest, must_be_copied=settings.copies)
        finally:
            unfinished.unlink(missing_ok=True)
    return Backup(dump, manifest)


async def _select_roles(conn: Connection) -> tuple[str, ...]:
    """Return the roles that have rights in this database: a restore needs them, and a dump does not hold them."""
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
