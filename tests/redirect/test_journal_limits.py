"""The click journal when there is no room, no disk or no folder: clicks are dropped and counted, and nothing else happens."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.redirect.journal.writer import ClickJournal, open_journal
from tests.redirect.intake_server import until
from tests.redirect.journals import GIB, click, read_folder


@pytest.fixture
def mount() -> Iterator[Callable[[Path, str], None]]:
    """`mount(folder, options)` makes a folder a small file system of its own."""
    mounted = []

    def do(place: Path, options: str) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root may mount")
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, timeout=10, check=False
        )
        if done.returncode != 0:
            pytest.skip("this container may not mount")
        mounted.append(place)

    yield do
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], timeout=10, check=True)


async def test_folder_has_a_limit_for_all_its_processes(folder: Path) -> None:
    """Beyond the limit, to which all files count, clicks are dropped and counted; below it they are recorded again."""
    limit = 2**20
    folder.mkdir()
    other = folder / "somebody.damaged"
    other.write_bytes(bytes(limit - 5000))
    async with open_journal(folder, limit) as journal:
        for number in range(200):
            journal.record([click(number)])
        held = sum(path.stat().st_size for path in folder.iterdir())
        recorded = journal.recorded
        other.unlink()
        async with asyncio.timeout(60):
            while journal.recorded == recorded:
                journal.record([click(200)])
                await asyncio.sleep(0.01)

        assert limit - 200 < held <= limit
        assert 10 < recorded < 200
        assert journal.dropped["full"] >= 200 - recorded
        assert journal.dropped["error"] == 0
        assert read_folder(folder)[-1] == click(200)


async def test_disk_that_is_full(tmp_path: Path, mount: Callable[[Path, str], None]) -> None:
    """On a full disk ticks are dropped and counted, and what is recorded before and after can be read."""
    place = tmp_path / "disk"
    mount(place, "size=256k")
    folder = place / "journal"
    filler = place / "filler"
    async with open_journal(folder, GIB) as journal:
        journal.record([click(0)])
        with filler.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        clicks = [click(number, bytes(700)) for number in range(1, 40)]
        for each in clicks:
            journal.record([each])
        before = journal.recorded
        filler.unlink()
        journal.record([click(100)])

        assert journal.dropped["error"] == 40 - before > 30
        assert read_folder(folder) == [click(0), *clicks[: before - 1], click(100)]


CHILD_WITH_A_LIMIT = """
import asyncio, sys
from pathlib import Path
from services.redirect.journal.writer import open_journal
from tests.redirect.journals import click, limit_file_size

async def main():
    async with open_journal(Path(sys.argv[1]), 2**30) as journal:
        limit_file_size(5000)
        for number in range(100):
            journal.record([click(number)])
        limit_file_size(-1)
        journal.record([click(100)])
        print(journal.recorded, journal.dropped["error"])

asyncio.run(main())
"""


def test_write_that_is_cut_short(folder: Path) -> None:
    """What a short write left is cut off, so that the next record can be read."""
    shown = subprocess.run(
        [sys.executable, "-c", CHILD_WITH_A_LIMIT, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout
    recorded, dropped = map(int, shown.splitlines()[-1].split())

    assert recorded + dropped == 101
    assert dropped > 0
    assert [link_id for _, link_id, _ in read_folder(folder)] == [*range(recorded - 1), 100]


async def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The journal opens all the same, drops and counts, and records as soon as the folder can be made."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    folder = in_the_way / "journal"
    async with open_journal(folder, GIB) as journal:
        journal.record([click(1), click(2)])
        dropped = journal.dropped.copy()
        in_the_way.unlink()
        await until(lambda: journal.live)
        journal.record([click(3)])

        assert dropped == {"full": 0, "error": 2}
        assert read_folder(folder) == [click(3)]


async def test_folder_that_may_only_be_read(tmp_path: Path, mount: Callable[[Path, str], None]) -> None:
    """On a read-only file system clicks are dropped and counted."""
    mount(tmp_path / "disk", "size=64k,ro")
    async with open_journal(tmp_path / "disk", GIB) as journal:
        journal.record([click(1)])

        assert journal.dropped == {"full": 0, "error": 1}


async def test_folder_that_was_deleted_is_made_anew(journal: ClickJournal, folder: Path) -> None:
    """If someone deletes the segment under a process, it goes on with another one."""
    first = journal.live
    (path,) = folder.iterdir()
    path.unlink()
    folder.rmdir()
    await until(lambda: journal.live is not first)
    journal.record([click(1)])

    assert read_folder(folder) == [click(1)]
