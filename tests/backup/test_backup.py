"""`tinyurl backup`: what it leaves behind, what it removes, and what happens when it cannot."""

import asyncio
import itertools
import json
import os
import re
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.backup_files import BackupRefused, verify_backup
from deploy.backups import hash_links
from deploy.postgres_programs import split_password, with_database
from shared.schema import migrations
from tests.backup.conftest import Installation, finish
from tests.conftest import Database
from tests.nginx.conftest import free_port

INTERVAL_H = 1 / 3600

Condition = Callable[[], bool]


async def wait_for(condition: Condition, timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


async def wait_for_lock(installation: Installation, application: str) -> None:
    """Wait until a command waits for a table."""
    async with installation.connected() as conn, asyncio.timeout(30):
        while not await conn.fetchval(
            "SELECT true FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", application
        ):
            await asyncio.sleep(0.02)


def has_open(pid: int, path: Path) -> bool:
    return any(link.exists() and link.readlink() == path for link in Path(f"/proc/{pid}/fd").iterdir())


def metric(port: int, name: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    (value,) = re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(value)


async def test_backup_leaves_a_dump_and_what_it_holds(installation: Installation) -> None:
    """One line tells what was made; the manifest says what is in the dump; nobody else may read either."""
    await installation.add_links(1000)
    before = datetime.now(UTC)
    done = await installation.run("backup")
    (backup,) = installation.backups
    manifest = verify_backup(backup.dump)
    async with installation.connected() as conn:
        count, digest = await hash_links(conn)

    assert re.fullmatch(rf"{backup.dump}: {manifest.size} bytes, 1000 links, \d+\.\d s\n", done.output)
    assert before <= manifest.began_at <= datetime.now(UTC)
    assert (manifest.links, manifest.links_sha256, manifest.schema) == (count, digest, max(migrations()))
    assert manifest.roles == ("tinyurl_links", "tinyurl_redirect")
    assert {path.suffix for path in installation.folder.iterdir()} == {".dump", ".json", ""}
    assert installation.folder.stat().st_mode & 0o077 == 0
    assert backup.dump.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("column", ["code", "url", "enabled", "deleted_at"])
async def test_digest_tells_links_apart(database: Database, column: str) -> None:
    """Another code, target or state of any link is another digest."""
    value = {"code": "'c'", "url": "'https://b.example/'", "enabled": "false", "deleted_at": "now()"}[column]
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute("INSERT INTO links (domain, code, owner, url) VALUES ('sho.rt', 'a', 'o', 'https://a.example/')")
    before = await hash_links(conn)
    await conn.execute(f"UPDATE links SET {column} = {value}")
    after = await hash_links(conn)
    await conn.close()

    assert before[0] == after[0] == 1
    assert before[1] != after[1]


async def test_oldest_backups_go(installation: Installation) -> None:
    """The newest stay, as many as are wanted, with their manifests; interrupted runs' leftovers go, other files stay."""
    installation.folder.mkdir()
    left = ("tinyurl-1.dump.part", "tinyurl-1.json.part", "tinyurl-1.json")
    for name in (*left, "notes.txt", "tinyurl-0.dump"):
        (installation.folder / name).write_text("x")
    made = []
    for _ in range(4):
        done = await installation.run("backup", BACKUP_KEEP="2")
        assert done.code == 0, done.errors
        made.append(installation.backups[-1].dump)

    assert [backup.dump for backup in installation.backups] == made[-2:]
    assert {path.name for path in installation.folder.iterdir()} == {
        *(".lock", "notes.txt", "tinyurl-0.dump"),
        *(path.name for dump in made[-2:] for path in (dump, dump.with_suffix(".json"))),
    }


async def test_damaged_backup_does_not_push_out_a_good_one(installation: Installation) -> None:
    """Only good ones are counted: with one to keep, a newer but truncated file does not make the good one go."""
    good = await installation.back_up()
    damaged = await installation.back_up()
    os.truncate(damaged.dump, 100)

    assert [backup.dump for backup in installation.backups] == [good.dump]
    done = await installation.run("backup", "--if-older-than", "1")
    assert done.output.startswith("nothing to do")
    os.truncate(good.dump, 100)
    done = await installation.run("backup", "--if-older-than", "1")
    assert "0 links" in done.output


async def test_copy_command_gets_the_file(installation: Installation, tmp_path: Path) -> None:
    """The command is run with the name of the new file, and without our secrets."""
    copies = tmp_path / "copies"
    copies.mkdir()
    command = f'cp "$BACKUP_FILE" "${{BACKUP_FILE%.dump}}.json" {copies} && env > {tmp_path / "environment"}'
    done = await installation.run("backup", BACKUP_COPY_COMMAND=command)
    (backup,) = installation.backups

    assert done.code == 0
    assert verify_backup(copies / backup.dump.name) == backup.manifest
    assert "OWNER_DATABASE_URL" not in (tmp_path / "environment").read_text()


async def test_copy_that_fails_is_said(installation: Installation) -> None:
    """The command's failure is the backup's, with its last words; the dump stays."""
    done = await installation.run("backup", BACKUP_COPY_COMMAND="echo no; echo disk is full >&2; exit 3")
    (backup,) = installation.backups

    assert done.reason == f"tinyurl backup: {backup.dump} is good and stays; copying it failed: disk is full"


async def test_backup_only_if_older(installation: Installation) -> None:
    """With `--if-older-than` a fresh one is enough; an old one is not."""
    first = await installation.run("backup", "--if-older-than", "1")
    second = await installation.run("backup", "--if-older-than", "1")
    assert "0 links" in first.output
    assert second.output.startswith("nothing to do")
    assert len(installation.backups) == 1

    manifest = installation.backups[0].dump.with_suffix(".json")
    old = (datetime.now(UTC) - timedelta(minutes=61)).isoformat()
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"began_at": old}))
    await installation.run("backup", "--if-older-than", "1")
    assert len(installation.backups) == 2


async def test_two_backups_do_not_run_at_once(installation: Installation) -> None:
    """A second one is refused while one is under way; one that is only wanted if needed waits, and is needed no more."""
    async with installation.connected() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute("LOCK TABLE links IN ACCESS EXCLUSIVE MODE")
        first = await installation.start("backup")
        await wait_for_lock(installation, "tinyurl backup")
        second = await installation.run("backup")
        third = await installation.start("backup", "--if-older-than", "1")
        await wait_for(lambda: has_open(third.pid, installation.folder / ".lock"))
        await transaction.rollback()

    assert second.reason == f"tinyurl backup: another backup into {installation.folder} is under way"
    assert (await finish(first)).code == 0
    assert (await finish(third)).output.startswith("nothing to do")
    assert len(installation.backups) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_interrupted_backup_is_none(installation: Installation, number: signal.Signals) -> None:
    """A backup that is stopped half-way leaves no dump that looks like one, and the next one works."""
    async with installation.connected() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
        process = await installation.start("backup")
        await wait_for_lock(installation, "tinyurl pg_dump")
        process.send_signal(number)
        done = await finish(process)
        await transaction.rollback()

    assert done.code in (128 + signal.SIGTERM, -signal.SIGKILL)
    assert "Traceback" not in done.errors
    assert installation.backups == []
    await installation.back_up()
    assert {path.suffix for path in installation.folder.iterdir()} == {".dump", ".json", ""}


async def test_backup_without_a_database_is_said(installation: Installation) -> None:
    """One line, nothing in the folder, and no password."""
    gone = with_database(installation.database.owner_url, "gone")
    refused = await installation.run("backup", OWNER_DATABASE_URL=gone)
    away = await installation.run("backup", OWNER_DATABASE_URL="postgresql://o:secret@/gone?host=/nonexistent")

    assert refused.reason == 'tinyurl backup: database "gone" does not exist'
    assert away.reason.startswith("tinyurl backup: ")
    assert "secret" not in away.reason
    assert installation.backups == []


async def test_backups_by_the_clock(installation: Installation) -> None:
    """`--every` takes one at the start and one whenever the time has passed, shows that in metrics, and ends in order."""
    port = free_port()
    process = await installation.start("backup", "--every", str(INTERVAL_H), "--metrics-port", str(port))
    await wait_for(lambda: len(installation.backups) >= 3)
    newest = installation.backups[-1].manifest
    last_success = metric(port, "tinyurl_backup_last_success_timestamp_seconds")
    age = metric(port, "tinyurl_backup_age_seconds")
    size = metric(port, "tinyurl_backup_bytes")
    failures = metric(port, "tinyurl_backup_failures_total")
    process.terminate()
    done = await finish(process)

    began = [backup.manifest.began_at for backup in installation.backups]
    assert all(later - earlier > timedelta(hours=INTERVAL_H * 0.9) for earlier, later in itertools.pairwise(began))
    assert last_success >= newest.began_at.timestamp()
    assert 0 <= age < 30
    assert size == pytest.approx(newest.size, rel=0.1)
    assert failures == 0
    assert (done.code, done.output) == (0, "")
    assert len(re.findall('"event": "backup_taken"', done.errors)) == len(installation.backups)


async def test_failed_backups_are_repeated_and_counted(installation: Installation) -> None:
    """While the database is away `--every` goes on, counts its failures, and succeeds when it is back."""
    port = free_port()
    async with installation.connected("postgres") as admin:
        await admin.execute(f"ALTER DATABASE {installation.names.current} ALLOW_CONNECTIONS false")
        process = await installation.start("backup", "--every", str(INTERVAL_H), "--metrics-port", str(port))
        deadline = time.monotonic() + 30
        failures = 0.0
        while failures < 2 and time.monotonic() < deadline:
            try:
                failures = await asyncio.to_thread(metric, port, "tinyurl_backup_failures_total")
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
        last_success = metric(port, "tinyurl_backup_last_success_timestamp_seconds")
        await admin.execute(f"ALTER DATABASE {installation.names.current} ALLOW_CONNECTIONS true")
    await wait_for(lambda: bool(installation.backups))
    process.terminate()

    assert (await finish(process)).code == 0
    assert failures >= 2
    assert last_success == 0


def test_verification_names_what_is_wrong(tmp_path: Path) -> None:
    """A file that is not there is said to be so."""
    with pytest.raises(BackupRefused, match="there is no file"):
        verify_backup(tmp_path / "none.dump")


URLS = [
    ("postgresql://u:p%40ss@h:5/d?sslmode=require", "postgresql://u@h:5/d?sslmode=require", "p@ss"),
    ("postgresql://u:pw@/d?host=%2Ftmp%2Fs%20x", "postgresql://u@/d?host=%2Ftmp%2Fs%20x", "pw"),
    ("postgresql://u@h/d?password=pw&sslmode=require", "postgresql://u@h/d?sslmode=require", "pw"),
    ("postgresql:///d", "postgresql:///d", ""),
]


@pytest.mark.parametrize(("url", "public", "password"), URLS)
def test_password_is_kept_off_the_command_line(url: str, public: str, password: str) -> None:
    """Whatever form a URL has, its password is taken out, and everything else stays."""
    assert split_password(url) == (public, password)
