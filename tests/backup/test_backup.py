"""`tinyurl backup`: what it leaves behind, what it removes, and what happens when it cannot."""

import asyncio
import itertools
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from deploy.backup.dumps import hash_links
from deploy.backup.files import Backup, BackupRefused, manifest_path, newest_backup, verify_backup
from deploy.backup.programs import split_password, with_database
from deploy.backup.settings import BackupSettings
from deploy.backup.thinning import choose_kept
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
    """All of the last day stay, and of each day before the newest; leftovers of interrupted runs go, other files stay."""
    installation.folder.mkdir()
    stem = "tinyurl-20200101T000000.000000Z"
    other = "tinyurl-20200102T000000.000000Z"
    left = {f"{stem}{suffix}" for suffix in (".dump.part", ".json.part", ".json", ".pending", ".copied")}
    foreign = {
        "notes.txt",
        "tinyurl-0.dump",
        "tinyurl-notes.json",
        "tinyurl-notes.part",
        f"{other}.dump",
        f"{other}.json",
    }
    for name in left | foreign:
        (installation.folder / name).write_text("x")
    made = [await installation.back_up() for _ in range(3)]
    for backup, days in zip(made, (2.1, 2, 9), strict=True):
        redate(backup, datetime.now(UTC).replace(hour=12) - timedelta(days=days))
    newest = await installation.run("backup", BACKUP_KEEP="2")
    kept = {made[1].dump, installation.backups[-1].dump}

    assert newest.code == 0, newest.errors
    assert {backup.dump for backup in installation.backups} == kept
    assert {path.name for path in installation.folder.iterdir()} == {
        *(foreign | {".lock"}),
        *(path.name for dump in kept for path in (dump, dump.with_suffix(".json"))),
    }


def redate(backup: Backup, began_at: datetime) -> None:
    """As if it had been taken then."""
    manifest = manifest_path(backup.dump)
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"began_at": began_at.isoformat()}))


NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("keep", "hours_ago", "kept"),
    [
        ("1", [0, 5, 23, 25, 49], [0, 5, 23]),
        ("2d", [0, 25, 26, 49, 73], [0, 25]),
        ("3", [0, 500, 501, 1000, 2000], [0, 500, 1000]),
        ("1d,2w", [0, 24 * 3, 24 * 6, 24 * 7, 24 * 13], [0, 24 * 6]),
        ("1d,1w,3m", [0, 24 * 30, 24 * 31, 24 * 61, 24 * 92], [0, 24 * 30, 24 * 61]),
    ],
)
def test_backups_are_thinned_by_age(keep: str, hours_ago: list[int], kept: list[int]) -> None:
    """All of the newest one's day stay; then the newest of so many days, weeks and months that have one."""
    settings = BackupSettings(owner_database_url=SecretStr("postgresql://o@h/d"), backup_keep=keep)
    dates = [NOON - timedelta(hours=hours) for hours in hours_ago]

    assert choose_kept(dates, settings.keep) == {NOON - timedelta(hours=hours) for hours in kept}


async def test_backup_from_the_future_counts_for_nothing(installation: Installation) -> None:
    """It is not the newest, does not put off the next one, pushes no good one out, and is told in the metrics."""
    good = await installation.back_up()
    redate(good, datetime.now(UTC) - timedelta(hours=2))
    future = await installation.back_up()
    redate(future, datetime.now(UTC) + timedelta(days=365))
    assert newest_backup(installation.folder) == installation.backups[0]
    port = free_port()
    process = await installation.start("backup", "--every", "1", "--metrics-port", str(port), BACKUP_KEEP="1")
    await wait_for(lambda: len(installation.backups) == 3)
    future_dated = metric(port, "tinyurl_backup_future_dated")
    age = metric(port, "tinyurl_backup_age_seconds")
    process.terminate()
    await finish(process)
    fresh = await installation.run("backup", "--if-older-than", "1")

    assert {good.dump, future.dump} < {backup.dump for backup in installation.backups}
    assert future_dated == 1
    assert 0 <= age < 60
    assert fresh.output.startswith("nothing to do")


async def test_clock_that_went_back_removes_nothing(installation: Installation) -> None:
    """Every backup is from the future then: one is taken, and all that were there stay."""
    made = [await installation.back_up() for _ in range(3)]
    for days, backup in enumerate(made, start=400):
        redate(backup, datetime.now(UTC) + timedelta(days=days))
    done = await installation.run("backup", "--if-older-than", "1")

    assert "0 links" in done.output
    assert {backup.dump for backup in made} < {backup.dump for backup in installation.backups}


def no_manifest(manifest: Path) -> None:
    manifest.unlink()


def naive_date(manifest: Path) -> None:
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"began_at": "2026-11-27T12:00:00"}))


def no_date(manifest: Path) -> None:
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"began_at": "yesterday"}))


def other_name(manifest: Path) -> None:
    for path in (manifest, manifest.with_suffix(".dump")):
        path.rename(path.with_stem("tinyurl-before-the-move"))


def folder(manifest: Path) -> None:
    manifest.unlink()
    manifest.mkdir()


@pytest.mark.parametrize("change", [no_manifest, naive_date, no_date, other_name, folder])
async def test_file_that_is_no_backup_is_left_alone(installation: Installation, change: Callable[[Path], None]) -> None:
    """It stays, puts nothing off and stops nothing."""
    backup = await installation.back_up()
    change(manifest_path(backup.dump))
    before = {path for path in installation.folder.iterdir() if path.suffix == ".dump"}
    done = await installation.run("backup", "--if-older-than", "1", BACKUP_KEEP="1")

    assert "0 links" in done.output
    assert before < set(installation.folder.iterdir())
    assert len(installation.backups) == 1


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


async def test_copy_that_fails_removes_nothing(installation: Installation) -> None:
    """However often it is tried, the old ones stay; the first success copies what is missing, and then thins."""
    old = [await installation.back_up() for _ in range(2)]
    for days, backup in enumerate(old, start=10):
        redate(backup, datetime.now(UTC) - timedelta(days=days))
    for _ in range(3):
        await installation.run("backup", BACKUP_COPY_COMMAND="exit 1", BACKUP_KEEP="1")
    assert len(installation.backups) == 5
    done = await installation.run("backup", "--copy-only", BACKUP_COPY_COMMAND="true", BACKUP_KEEP="1")

    assert done.output.count(": copied\n") == 3
    assert len(installation.backups) == 3
    assert not any(backup.dump in {each.dump for each in old} for backup in installation.backups)


async def test_full_disk_leaves_the_old_ones(installation: Installation) -> None:
    """A dump that finds no room fails with the reason; nothing half-written stays, and the old ones do."""
    await installation.add_links(20_000)
    old = await installation.back_up()
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "from deploy.command.cli import main; sys.argv = ['tinyurl', 'backup']; main()"
    )
    environment = {"OWNER_DATABASE_URL": installation.database.owner_url, "BACKUP_DIR": str(installation.folder)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    done = await finish(process)

    assert done.code == 1
    assert [backup.dump for backup in installation.backups] == [old.dump]
    assert not list(installation.folder.glob("*.part"))


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
