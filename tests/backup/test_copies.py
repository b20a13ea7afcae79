"""Copies of backups off the host: a real S3 server, what fails on the way, and the way back."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import obstore
import pytest
from pydantic import SecretStr
from pyrage import x25519

from deploy.backup.files import Backup, BackupRefused, manifest_path
from deploy.backup.settings import BackupSettings
from deploy.backup.storage import Storage
from tests.backup.conftest import S3, TIMEOUT_S, Done, Installation, finish
from tests.backup.test_backup import metric, wait_for
from tests.nginx.conftest import free_port

LINKS = 500


class Copies:
    """An installation whose backups are copied to a folder of its own."""

    def __init__(self, installation: Installation, s3: S3, folder: Path) -> None:
        self.installation = installation
        self.s3 = s3
        self.key = folder / "key.txt"
        identity = x25519.Identity.generate()
        self.key.write_text(f"# a comment\n{identity}\n")
        self.prefix = installation.names.current
        self.url = f"s3://backups/{self.prefix}"
        self.settings = {
            "BACKUP_COPY_TO": self.url,
            "BACKUP_RECIPIENT": str(identity.to_public()),
            "BACKUP_COPY_CREDENTIALS": s3.credentials("writer"),
        }

    @property
    def bucket(self) -> Any:
        return self.s3.bucket(self.prefix)

    def names(self) -> set[str]:
        return {found["path"] for found in obstore.list(self.bucket).collect()}

    async def back_up(self, *arguments: str, **settings: str) -> Done:
        return await self.installation.run("backup", *arguments, **{**self.settings, **settings})

    async def restore(self, *arguments: str, key: Path | None = None) -> Done:
        credentials = self.s3.credentials("reader")
        key_file = str(key or self.key)
        return await self.installation.run(
            "restore", *arguments, "--key", key_file, BACKUP_COPY_CREDENTIALS=credentials
        )


@pytest.fixture
def copies(installation: Installation, s3: S3, tmp_path: Path) -> Copies:
    return Copies(installation, s3, tmp_path)


async def test_drill(copies: Copies) -> None:
    """Backed up, encrypted, sent with credentials that may only write, fetched, decrypted, restored: every link is there."""
    installation = copies.installation
    await installation.add_links(LINKS)
    before = await installation.digest()
    done = await copies.back_up()
    assert done.code == 0, done.errors
    (backup,) = installation.backups
    sent = [bytes(obstore.get(copies.bucket, name).bytes()) for name in copies.names()]
    for path in (backup.dump, manifest_path(backup.dump)):
        path.unlink()
    await installation.execute("TRUNCATE links")
    listed = await copies.restore("--list", copies.url)
    restored = await copies.restore(f"{copies.url}/")

    assert copies.names() == {f"{backup.dump.name}.age", f"{manifest_path(backup.dump).name}.age"}
    assert all(each.startswith(b"age-encryption.org/v1") for each in sent)
    assert b"PGDMP" not in b"".join(sent)
    assert listed.output.startswith(f"{backup.dump.name}  ")
    assert (restored.code, restored.errors) == (0, "")
    assert await installation.digest() == before
    assert not list((installation.folder / ".restoring").glob("tinyurl-*"))


async def test_one_of_several_is_restored(copies: Copies) -> None:
    """The newest, or the one that the URL names."""
    installation = copies.installation
    await installation.add_links(1, "first")
    await copies.back_up()
    await installation.add_links(1, "second")
    await copies.back_up()
    first = await copies.restore(f"{copies.url}/{installation.backups[0].dump.name}", "--replace")
    assert (first.code, set(await installation.links())) == (0, {"first1"})
    newest = await copies.restore(copies.url, "--replace")
    assert (newest.code, set(await installation.links())) == (0, {"first1", "second1"})


def truncate(copies: Copies, name: str) -> None:
    content = bytes(obstore.get(copies.bucket, name).bytes())
    obstore.put(copies.bucket, name, content[:-100])


def alter(copies: Copies, name: str) -> None:
    content = bytearray(obstore.get(copies.bucket, name).bytes())
    content[-100] ^= 1
    obstore.put(copies.bucket, name, bytes(content))


def remove_manifest(copies: Copies, name: str) -> None:
    obstore.delete(copies.bucket, name.replace(".dump", ".json"))


def swap_key(copies: Copies, name: str) -> None:
    copies.key.write_text(str(x25519.Identity.generate()))


def spoil_key(copies: Copies, name: str) -> None:
    copies.key.write_text("hunter2")


def remove_dump(copies: Copies, name: str) -> None:
    obstore.delete(copies.bucket, name)


DAMAGES: dict[str, tuple[Callable[[Copies, str], None], str]] = {
    "wrong key": (swap_key, "not encrypted for the key of --key"),
    "no key": (spoil_key, "AGE-SECRET-KEY-1"),
    "truncated": (truncate, "cut off or altered"),
    "altered": (alter, "cut off or altered"),
    "no manifest": (remove_manifest, r"there is no tinyurl-.*json\.age"),
    "no dump": (remove_dump, r"there is no tinyurl-.*dump\.age"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_copy_is_refused(copies: Copies, damage: str) -> None:
    """What is wrong is said in one line; the database stays as it was, and nothing unencrypted is left over."""
    installation = copies.installation
    await installation.add_links(LINKS)
    await copies.back_up()
    (backup,) = installation.backups
    before = await installation.digest()
    break_it, reason = DAMAGES[damage]
    break_it(copies, f"{backup.dump.name}.age")
    done = await copies.restore(f"{copies.url}/{backup.dump.name}.age", "--replace")

    assert re.search(reason, done.reason)
    assert await installation.digest() == before
    assert not list((installation.folder / ".restoring").glob("tinyurl-*"))


async def test_half_a_copy_is_none(copies: Copies) -> None:
    """A dump without its manifest, a foreign file and one from the future are not taken for the newest backup."""
    await copies.back_up()
    (backup,) = copies.installation.backups
    newer = backup.dump.name.replace("tinyurl-2", "tinyurl-3")
    for name in ("tinyurl-x.dump.age", "notes.txt", "tinyurl-20990101T000000.000000Z.dump.age"):
        obstore.put(copies.bucket, name, b"x")
    for name in (newer, newer.replace(".dump", ".json")):
        obstore.put(copies.bucket, f"{name}.age", b"x")
    listed = await copies.restore("--list", copies.url)
    restored = await copies.restore(copies.url, "--replace")

    assert [line.split()[0] for line in listed.output.splitlines()] == [backup.dump.name, newer]
    assert f"the newest there is {backup.dump.name}" in restored.output
    assert restored.code == 0


FAILURES = {
    "wrong secret": ("wrong-secret", {}, "secret in BACKUP_COPY_CREDENTIALS is wrong"),
    "unknown key": ("nobody", {}, "not known there"),
    "reader": ("reader", {}, "access denied"),
    "wrong bucket": ("writer", {"BACKUP_COPY_TO": "s3://elsewhere/x"}, "access denied|no such bucket"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_copy_that_fails_leaves_everything(copies: Copies, failure: str) -> None:
    """Old ones stay, the reason is one line without a secret, and `--copy-only` sends all of it later, with no new dump."""
    who, settings, reason = FAILURES[failure]
    wrong = copies.s3.credentials("writer", "hunter2") if who == "wrong-secret" else copies.s3.credentials(who)
    for _ in range(2):
        done = await copies.back_up(**{"BACKUP_COPY_CREDENTIALS": wrong, **settings})
        line = done.errors.strip()
        assert (done.code, line.count("\n")) == (1, 0)
        assert re.search(f"is good and stays; copying it failed: .*({reason})", line)
        assert "secret-of" not in line
        assert "hunter2" not in line
    assert copies.names() == set()
    made = [backup.dump.name for backup in copies.installation.backups]
    assert len(made) == 2

    done = await copies.back_up("--copy-only")
    assert done.code == 0, done.errors
    assert [backup.dump.name for backup in copies.installation.backups] == made
    assert {name for name in copies.names() if ".dump" in name} == {f"{name}.age" for name in made}
    assert "everything is copied" in (await copies.back_up("--copy-only")).output


async def test_unreachable_storage_is_said(copies: Copies) -> None:
    """Nobody listens there: the command ends by itself, and says what to look at."""
    credentials = S3(f"http://127.0.0.1:{free_port()}").credentials("writer")
    done = await copies.back_up(BACKUP_COPY_CREDENTIALS=credentials)

    assert "cannot be reached: check the network, and AWS_ENDPOINT_URL" in done.errors


async def add_large_links(installation: Installation) -> None:
    """More than one part of an upload."""
    await installation.execute(
        """
        INSERT INTO links (domain, code, owner, url)
        SELECT 'sho.rt', n::text, 'o', (SELECT string_agg(md5(n::text || m::text), '') FROM generate_series(1, 60) m)
        FROM generate_series(1, 10000) n
        """
    )


async def test_large_backup_goes_in_parts(copies: Copies) -> None:
    """More than a part is sent and comes back whole, also where the storage has to be asked for it piece by piece."""
    installation = copies.installation
    await add_large_links(installation)
    before = await installation.digest()
    done = await copies.back_up()
    assert done.code == 0, done.errors
    assert installation.backups[0].manifest.size > 8 * 2**20
    restored = await copies.restore(copies.url, "--replace")

    assert (restored.code, restored.errors) == (0, "")
    assert await installation.digest() == before


@asynccontextmanager
async def stalling(s3: S3, after_bytes: int) -> AsyncIterator[tuple[S3, asyncio.Event]]:
    """The server behind a network that stalls once so many bytes were sent."""
    host, _, port = s3.endpoint.removeprefix("http://").partition(":")
    stalled, sent = asyncio.Event(), 0

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool) -> None:
        nonlocal sent
        while piece := await reader.read(65536):
            sent += len(piece) if counts else 0
            if sent > after_bytes:
                stalled.set()
                await asyncio.Event().wait()
            writer.write(piece)
            await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        pumps = [
            asyncio.create_task(pump(reader, up_writer, counts=True)),
            asyncio.create_task(pump(up_reader, writer, counts=False)),
        ]
        serving.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, up_writer):
            each.close()

    serving: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield S3(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), stalled
    finally:
        server.close()
        for task in serving:
            task.cancel()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_upload_that_is_killed_leaves_no_backup(copies: Copies, number: signal.Signals) -> None:
    """Killed after a part of a dump was sent, nothing there looks like a backup; the next try is whole."""
    await copies.installation.add_links(20_000)
    async with stalling(copies.s3, 100_000) as (slow, stalled):
        settings = copies.settings | {"BACKUP_COPY_CREDENTIALS": slow.credentials("writer")}
        process = await copies.installation.start("backup", **settings)
        async with asyncio.timeout(TIMEOUT_S):
            await stalled.wait()
        process.send_signal(number)
        done = await finish(process)

    assert done.code in (128 + signal.SIGTERM, -signal.SIGKILL)
    assert "Traceback" not in done.errors
    assert copies.names() == set()
    done = await copies.back_up("--copy-only")
    assert (done.code, len(copies.names())) == (0, 2)


async def test_dump_that_cannot_be_read_is_not_sent_in_part(copies: Copies, tmp_path: Path) -> None:
    """A disk that fails in the middle ends the copy; what was read until then is no object."""
    await copies.back_up("--copy-to", "s3://backups/other")
    (good,) = copies.installation.backups
    dump = tmp_path / good.dump.name
    # The kernel refuses to read what nothing is mapped to.
    dump.symlink_to("/proc/self/mem")
    settings = BackupSettings(
        owner_database_url=SecretStr("postgresql://o@h/d"),
        backup_copy_credentials=SecretStr(copies.settings["BACKUP_COPY_CREDENTIALS"]),
    )
    with pytest.raises(BackupRefused, match="Input/output error"):
        await Storage(settings, copies.url).copy(
            Backup(dump, good.manifest), copies.settings["BACKUP_RECIPIENT"], lambda name, done, size: None
        )

    assert copies.names() == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_copy_that_is_killed_is_made_again(copies: Copies, number: signal.Signals) -> None:
    """Killed in the middle of a copy, the dump is pending still, and the schedule of a new process sends it."""
    process = await copies.installation.start("backup", BACKUP_COPY_COMMAND="exec sleep 60")
    await wait_for(lambda: any(backup.pending.exists() for backup in copies.installation.backups))
    process.send_signal(number)
    await finish(process)
    assert copies.names() == set()
    process = await copies.installation.start("backup", "--every", "24", **copies.settings)
    await wait_for(lambda: len(copies.names()) == 2)
    process.terminate()

    assert (await finish(process)).code == 0
    assert len(copies.installation.backups) == 1


async def test_command_that_leaves_a_process_behind_holds_up_nothing(copies: Copies, tmp_path: Path) -> None:
    """SIGTERM ends a copy although a process outside the command's group still has its standard error."""
    left = tmp_path / "pid"
    command = f"setsid sh -c 'echo $$ >{left}.new; mv {left}.new {left}; exec sleep 600' & exec sleep 600"
    process = await copies.installation.start("backup", BACKUP_COPY_COMMAND=command)
    await wait_for(left.exists)
    process.terminate()
    try:
        await finish(process)
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)

    assert copies.names() == set()
    assert [backup.pending.exists() for backup in copies.installation.backups] == [True]


async def test_schedule_repeats_the_copy_alone(copies: Copies, tmp_path: Path) -> None:
    """While copies fail they are counted and tried again, with one dump; then it is copied and nothing is pending."""
    port, gate = free_port(), tmp_path / "gate"
    process = await copies.installation.start(
        *("backup", "--every", "0.001", "--metrics-port", str(port)), BACKUP_COPY_COMMAND=f"test -e {gate}"
    )
    await wait_for(lambda: len(copies.installation.backups) >= 3)
    pending = metric(port, "tinyurl_backup_copy_pending")
    failures = metric(port, "tinyurl_backup_copy_failures_total")
    dumps_failed = metric(port, "tinyurl_backup_failures_total")
    gate.touch()
    await wait_for(lambda: metric(port, "tinyurl_backup_copy_last_success_timestamp_seconds") > 0)
    process.terminate()
    done = await finish(process)

    assert pending >= 2
    assert failures >= 1
    assert dumps_failed == 0
    assert "copying it failed: it ended with 1" in done.errors


async def test_settings_are_checked(copies: Copies) -> None:
    """A mistake is named with its setting, before anything is dumped, and no secret is repeated."""
    cases: list[tuple[dict[str, str], str]] = [
        ({"BACKUP_RECIPIENT": ""}, "BACKUP_COPY_TO needs BACKUP_RECIPIENT"),
        ({"BACKUP_RECIPIENT": "AGE-SECRET-KEY-1HUNTER2"}, "BACKUP_RECIPIENT .* is the private key"),
        ({"BACKUP_RECIPIENT": "age1short"}, "BACKUP_RECIPIENT .* must be a public key"),
        ({"BACKUP_COPY_TO": "https://backups.example"}, "BACKUP_COPY_TO .* must be s3://"),
        ({"BACKUP_COPY_TO": "s3://id:hunter2@bucket"}, "BACKUP_COPY_TO .* must be s3://"),
        ({"BACKUP_KEEP": "a while"}, "BACKUP_KEEP .* must be days"),
        ({"BACKUP_KEEP": "0"}, "BACKUP_KEEP .* must be days"),
    ]
    for settings, message in cases:
        done = await copies.back_up(**settings)
        assert done.code == 2
        assert re.search(message, done.errors), done.errors
        assert "hunter2" not in done.errors.lower()
    assert copies.installation.backups == []


SPOILT = {
    "AWS_SECRET=hunter2": "must be lines NAME=value",
    "hunter2": "must be lines NAME=value",
    "AWS_ACCESS_KEY_ID=hunter2": "must have both",
    "AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=hunter2 AWS_ENDPOINT_URL=foo": "AWS_ENDPOINT_URL .* like https://",
    "AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=hunter2 AWS_REGION=x/y": "AWS_REGION .* like eu-",
}


@pytest.mark.parametrize("credentials", SPOILT)
async def test_spoilt_credentials_are_named(copies: Copies, credentials: str) -> None:
    """What is wrong with their form is said without repeating them."""
    done = await copies.back_up(BACKUP_COPY_CREDENTIALS=credentials)

    assert re.search(SPOILT[credentials], done.errors), done.errors
    assert "hunter2" not in done.errors


async def test_key_is_drawn_and_not_replaced(copies: Copies, tmp_path: Path) -> None:
    """Its public half is shown, ready to be set; nobody else may read the file, and a second one does not replace it."""
    file = tmp_path / "drawn.txt"
    done = await copies.installation.run("backup-key", str(file))
    again = await copies.installation.run("backup-key", str(file))
    name, _, public = done.output.strip().partition("=")
    await copies.back_up(BACKUP_RECIPIENT=public)
    restored = await copies.restore(copies.url, "--replace", key=file)

    assert name == "BACKUP_RECIPIENT"
    assert file.stat().st_mode & 0o077 == 0
    assert "must not be lost" in again.reason
    assert restored.code == 0, restored.errors
