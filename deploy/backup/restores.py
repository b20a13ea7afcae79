"""Restores a backup: into a new database beside the one in use, checked there against its manifest, then exchanged with it.

Everything before the exchange leaves the database in use as it is. The exchange is one transaction: whenever it is
killed, either the old or the new database is in place, and the next restore begins anew.

Redirectors and Redis hold records of the time after the backup. These must not count any more, and their versions and
ids must not be given out again. So the sequences start from the clock, and the change feed says that everything changed.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.backup.dumps import connect, hash_links
from deploy.backup.encryption import decrypt, read_key
from deploy.backup.exchange import (
    LONGEST_NAME_BYTES,
    DatabaseNames,
    check_rights,
    create_database,
    drop_database,
    exchange,
    execute_named,
    exists,
)
from deploy.backup.files import BackupRefused, Manifest, locked, manifest_path, verify_backup
from deploy.backup.programs import database_name, find_program, run_program, with_database
from deploy.backup.settings import BackupSettings
from deploy.backup.storage import ENCRYPTED, Storage, split_name
from shared.changes import EVERYTHING, insert_change
from shared.postgres import Connection
from shared.schema import migrate

DOWNLOAD_TIMEOUT_S = 4 * 3600
RESTORE_TIMEOUT_S = 8 * 3600
ANALYZE_TIMEOUT_S = 1800
REDIS_TIMEOUT_S = 10

SEQUENCES = (("link_changes", "version"), ("links", "id"))
"""Caches and click journals know numbers that were given out after the backup: none may be given out again."""

NUMBERS_SKIPPED = 1_000_000_000

Say = Callable[[str], None]


async def restore(settings: BackupSettings, dump: Path, *, replace: bool, say: Say) -> None:
    """Put a backup in place of the database, and tell the redirectors.

    Args:
        settings: The database and the cache.
        dump: The file; its manifest lies beside it.
        replace: Whether the database may hold links now.
        say: Called with a line for each step.

    Raises:
        BackupRefused: The backup is damaged, or the database must not or cannot be replaced. Nothing was changed.
        ProgramFailed: `pg_restore` failed. Nothing was changed.
    """
    started = time.monotonic()
    url = settings.owner_database_url.get_secret_value()
    names = DatabaseNames(database_name(url))
    new_url = with_database(url, names.restoring)
    if not names.current or len(names.before.encode()) > LONGEST_NAME_BYTES:
        raise BackupRefused("OWNER_DATABASE_URL must name a database, in 48 letters at most")
    say(f"checking {dump}")
    manifest = await asyncio.to_thread(verify_backup, dump)
    async with connect(with_database(url, names.maintenance), "restore") as admin:
        await check_rights(admin)
        await _lock(admin, names)
        last_numbers = await _inspect_current(admin, url, names, replace=replace)
        await _create_missing_roles(admin, manifest, say)
        try:
            await create_database(admin, names)
            say(f"restoring {manifest.links} links of {manifest.began_at:%Y-%m-%d %H:%M:%S} UTC into {names.restoring}")
            program = find_program("pg_restore", admin.get_server_version().major)
            await _fill(new_url, program, dump)
            say("comparing them with the manifest")
            await _compare(new_url, manifest)
            say("migrating")
            await migrate(new_url)
            await _begin_timeline(new_url, last_numbers)
            say("exchanging the databases")
            await exchange(admin, url, names)
        finally:
            await drop_database(admin, names.restoring)
        if await exists(admin, names.before):
            say(f"the database as it was is now {names.before}, until the next restore")
    await _empty_cache(settings, say)
    say(f"restored {manifest.links} links in {time.monotonic() - started:.1f} s; API keys are those of the backup")


async def restore_copy(settings: BackupSettings, url: str, key: str, *, replace: bool, say: Say) -> None:
    """Get a copy from an object storage, decrypt it, and restore it.

    Args:
        settings: The database and the cache, and the credentials of the storage.
        url: The copy, or a folder, of which the newest copy is taken.
        key: The private key, as the text of its file.
        replace: Whether the database may hold links now.
        say: Called with a line for each step.

    Raises:
        BackupRefused: The copy cannot be read or decrypted, or `restore` refused it. Nothing was changed.
        ProgramFailed: `pg_restore` failed. Nothing was changed.
    """
    keys = read_key(key)
    folder_url, name = split_name(url)
    storage = Storage(settings, folder_url)
    if not name:
        name = (await storage.newest()).name
        say(f"the newest there is {name}")
    folder = settings.backup_dir / ".restoring"
    async with locked(folder, 0, "restore of a copy in"):
        try:
            dump = folder / name
            # The manifest comes first: without it there is no backup.
            for path in (manifest_path(dump), dump):
                say(f"getting {path.name}{ENCRYPTED}")
                encrypted = path.with_name(path.name + ENCRYPTED)
                async with asyncio.timeout(DOWNLOAD_TIMEOUT_S):
                    await storage.download(
                        encrypted.name,
                        encrypted,
                        lambda name, done, size: say(f"{done * 100 // size} % of {size} bytes"),
                    )
                await asyncio.to_thread(decrypt, encrypted, path, keys)
                encrypted.unlink()
            await restore(settings, dump, replace=replace, say=say)
        finally:
            # Also what a restore that was killed has left: it is not encrypted.
            for path in folder.glob("tinyurl-*"):
                path.unlink()


async def _lock(admin: Connection, names: DatabaseNames) -> None:
    """Keep others out for as long as this session lives."""
    if not await admin.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", names.restoring):
        raise BackupRefused(f"another restore of {names.current} is under way")


async def _inspect_current(admin: Connection, url: str, names: DatabaseNames, *, replace: bool) -> dict[str, int]:
    """Refuse a database that holds links, unless it may be replaced.

    Returns:
        The last number that each sequence gave out, by its table.
    """
    if not await exists(admin, names.current):
        return {}
    async with connect(url, "restore") as conn:
        if await conn.fetchval("SELECT to_regclass('links') IS NULL OR to_regclass('link_changes') IS NULL"):
            return {}
        if not replace and await conn.fetchval("SELECT EXISTS (SELECT FROM links)"):
            raise BackupRefused(f"the database {names.current} holds links; --replace puts the backup in their place")
        return {table: await _last_number(conn, table, column) for table, column in SEQUENCES}


async def _create_missing_roles(admin: Connection, manifest: Manifest, say: Say) -> None:
    """Create the services' roles on a new server, as a migration does: roles belong to the server, and no dump has them."""
    for role in manifest.roles:
        if not await admin.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
            await execute_named(admin, "CREATE ROLE %I NOLOGIN", role)
            say(f"made the role {role}, which has no password yet")


async def _fill(url: str, program: Path, dump: Path) -> None:
    await run_program(
        program,
        *("--single-transaction", "--exit-on-error", "--no-owner", "--no-password", str(dump)),
        timeout_s=RESTORE_TIMEOUT_S,
        url=url,
    )


async def _compare(url: str, manifest: Manifest) -> None:
    async with connect(url, "restore") as conn:
        found = await hash_links(conn)
    if found != (manifest.links, manifest.links_sha256):
        raise BackupRefused(f"the dump holds {found[0]} links, and not the {manifest.links} of its manifest")


async def _begin_timeline(url: str, last_numbers: dict[str, int]) -> None:
    """Move the sequences above all that they ever gave out, and announce that everything changed.

    The clock in microseconds is above every earlier start, also one on a server that is gone, and numbers are given out more
    slowly than it runs. If the clock is wrong, a known number may lie above it; then the sequence starts far above that one.
    """
    async with connect(url, "restore") as conn, conn.transaction():
        for table, column in SEQUENCES:
            last = max(last_numbers.get(table, 0), await _last_number(conn, table, column))
            await conn.execute(
                """
                SELECT setval(
                    pg_get_serial_sequence($1, $2),
                    CASE WHEN $3 < clock.microseconds THEN clock.microseconds ELSE $3 + $4 END
                ) FROM (SELECT (extract(epoch FROM now()) * 1000000)::bigint AS microseconds) AS clock
                """,
                table,
                column,
                last,
                NUMBERS_SKIPPED,
            )
        await insert_change(conn, EVERYTHING)
        # Without it the first queries would not know how large the tables are.
        await conn.execute("ANALYZE", timeout=ANALYZE_TIMEOUT_S)


async def _last_number(conn: Connection, table: str, column: str) -> int:
    number: int | None = await conn.fetchval(
        "SELECT pg_sequence_last_value(pg_get_serial_sequence($1, $2)::regclass)", table, column
    )
    return number or 0


async def _empty_cache(settings: BackupSettings, say: Say) -> None:
    """Empty the cache, whose records count no longer. It may fail: visitors get the right answers without it."""
    url = settings.redis_admin_url.get_secret_value() if settings.redis_admin_url else ""
    reason = "REDIS_ADMIN_URL is not set"
    if url:
        redis = Redis.from_url(url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S)
        try:
            await redis.flushall()
        except (OSError, TimeoutError, RedisError) as error:
            reason = f"{type(error).__name__}"
        else:
            say("emptied the cache")
            return
        finally:
            await redis.aclose()
    say(
        f"the cache was not emptied ({reason}). What it holds is older than the restore and counts for no redirector "
        "that has read the change feed; FLUSHALL it for those that start while Postgres is away"
    )
