"""What a process left that died is shipped by another one: once, from where the write service has it, or set aside."""

import os
from pathlib import Path

import pytest

from services.redirect.journal.segments import create_segment, lock_file
from shared.journal import HEADER, pack_record
from tests.redirect.conftest import StartProcess
from tests.redirect.intake_server import IntakeServer, until
from tests.redirect.journals import click, leave_segment


async def test_skips_what_the_service_has(start: StartProcess, links: IntakeServer, socket: Path, folder: Path) -> None:
    """What the dead process had shipped is not counted again, and far more than a batch is skipped at once."""
    records = [pack_record([click(number, os.urandom(10_000))]) for number in range(300)]
    path = leave_segment(folder, b"".join(records))
    links.reached[path.stem] = 16 + sum(map(len, records[:250]))
    async with links.listen(socket), start():
        await until(lambda: not path.exists())

    assert links.link_ids() == list(range(250, 300))
    assert [post.offset for post in links.posts] == [16, links.posts[1].offset]


async def test_torn_tail_of_a_dead_process(
    start: StartProcess, links: IntakeServer, socket: Path, folder: Path
) -> None:
    """What was written whole is shipped, and the file is deleted, wherever in the last record it ends."""
    first, second = pack_record([click(1)]), pack_record([click(2)])
    paths = [leave_segment(folder, first + second[:length]) for length in range(len(second))]
    async with links.listen(socket), start() as (_, shipper):
        await until(lambda: not any(path.exists() for path in paths))

    assert links.clicks == [click(1)] * len(paths)
    assert shipper.damaged == 0


async def test_empty_and_foreign_files(start: StartProcess, links: IntakeServer, socket: Path, folder: Path) -> None:
    """An empty segment is deleted, one of another format is left to the release that knows it, others are nobody's."""
    folder.mkdir()
    names = ["019ab5a0-0000-7000-8000-00000000000" + digit for digit in "123"]
    empty, torn, newer = (folder / f"{name}.journal" for name in names)
    notes = folder / "notes.journal"
    empty.touch()
    torn.write_bytes(HEADER[:5])
    newer.write_bytes(b"tinyurl-clicks2\nwhatever")
    notes.write_bytes(b"mine")
    async with links.listen(socket), start() as (journal, _):
        await until(lambda: not empty.exists() and not torn.exists())
        journal.record([click(1)])
        await until(lambda: links.clicks)

    assert sorted(folder.iterdir()) == [newer, notes]
    assert newer.read_bytes() == b"tinyurl-clicks2\nwhatever"


async def test_damaged_segment_is_set_aside(
    start: StartProcess, links: IntakeServer, socket: Path, folder: Path
) -> None:
    """What is before the damage is shipped, the file stays for people, and of such files only the newest."""
    records = [pack_record([click(number)]) for number in range(3)]
    flipped = bytearray(b"".join(records))
    flipped[len(records[0]) + 20] ^= 1
    paths = [leave_segment(folder, bytes(flipped)) for _ in range(6)]
    async with links.listen(socket), start() as (journal, shipper):
        await until(lambda: shipper.damaged == 6)
        journal.record([click(9)])
        await until(lambda: len(links.clicks) == 7)
    kept = [path.with_name(path.name + ".damaged") for path in sorted(paths)[-4:]]

    assert links.link_ids() == [0] * 6 + [9]
    assert sorted(folder.iterdir()) == kept
    assert all(path.read_bytes() == HEADER + flipped for path in kept)


async def test_length_that_no_process_writes_is_damage(
    start: StartProcess, links: IntakeServer, socket: Path, folder: Path
) -> None:
    """A record that claims to go on far behind the end of the file is no torn tail: what follows it may be good."""
    flipped = bytearray(pack_record([click(1)]))
    flipped[2] |= 0x40
    path = leave_segment(folder, pack_record([click(0)]) + flipped + pack_record([click(2)]))
    async with links.listen(socket), start() as (_, shipper):
        await until(lambda: not path.exists())

        assert shipper.damaged == 1
    assert links.link_ids() == [0]


async def test_record_that_is_larger_than_a_batch(
    start: StartProcess, links: IntakeServer, socket: Path, folder: Path
) -> None:
    """A record of another release that does not fit into a batch goes by itself."""
    large = pack_record([click(2, bytes(3 * 2**20))])
    path = leave_segment(folder, pack_record([click(1)]) + large + pack_record([click(3)]))
    async with links.listen(socket), start():
        await until(lambda: not path.exists())

    assert links.link_ids() == [1, 2, 3]
    assert max(post.length for post in links.posts) >= len(large)


async def test_file_with_another_beginning_is_set_aside(
    start: StartProcess, links: IntakeServer, socket: Path, folder: Path
) -> None:
    """What does not begin as a segment does is not shipped, whatever follows."""
    path = leave_segment(folder, pack_record([click(1)]))
    path.write_bytes(b"?" + path.read_bytes()[1:])
    async with links.listen(socket), start() as (_, shipper):
        await until(lambda: shipper.damaged)
        await until(lambda: not path.exists())

    assert links.posts == []
    assert path.with_name(path.name + ".damaged").exists()


async def test_segment_that_is_refused_does_not_hold_up_the_others(
    start: StartProcess, links: IntakeServer, socket: Path, folder: Path
) -> None:
    """While one segment meets errors, the live one and the next are shipped."""
    first, second = (leave_segment(folder, pack_record([click(number)])) for number in (1, 2))
    links.broken.add(first.stem)
    async with links.listen(socket), start() as (journal, _):
        journal.record([click(3)])
        await until(lambda: len(links.clicks) == 2 and not second.exists())
        assert first.exists()
        links.broken.clear()
        await until(lambda: not first.exists())

    assert sorted(links.link_ids()) == [1, 2, 3]


async def test_backlog_does_not_delay_what_is_new(
    start: StartProcess, links: IntakeServer, socket: Path, folder: Path
) -> None:
    """Whatever the dead have left, a new click is with the first that arrive."""
    paths = [leave_segment(folder, pack_record([click(number)])) for number in range(10)]
    async with start() as (journal, _):
        journal.record([click(99)])
        async with links.listen(socket):
            await until(lambda: not any(path.exists() for path in paths))

    assert sorted(links.link_ids()) == [*range(10), 99]
    assert links.link_ids().index(99) <= 2


async def test_adopters_share_nothing(start: StartProcess, links: IntakeServer, socket: Path, folder: Path) -> None:
    """Several processes that find the same orphans ship each of them once, from its beginning to its end."""
    paths = [
        leave_segment(
            folder, b"".join(pack_record([click(number)]) for number in range(start * 100, start * 100 + 100))
        )
        for start in range(20)
    ]
    async with links.listen(socket), start(), start(), start():
        await until(lambda: not any(path.exists() for path in paths))

    assert sorted(links.link_ids()) == list(range(2000))
    assert links.repeated == 0
    assert all(first.offset == 16 for first in {post.segment: post for post in reversed(links.posts)}.values())


async def test_temporary_files_of_the_dead_are_deleted(start: StartProcess, folder: Path) -> None:
    """A file that nobody has finished for a minute goes, unless someone has locked it."""
    folder.mkdir()
    old, young, locked = (folder / f"{name}.new" for name in ("old", "young", "locked"))
    for path in (old, young, locked):
        path.touch()
    for path in (old, locked):
        os.utime(path, (1, 1))
    descriptor = lock_file(locked)
    assert descriptor is not None
    async with start():
        await until(lambda: not old.exists())

        assert young.exists()
        assert locked.exists()
    os.close(descriptor)


def test_segment_that_was_given_up_needs_no_sync(folder: Path) -> None:
    """The shipper may delete a segment while a thread is about to sync it, which is no failure of the disk."""
    given_up, lost = create_segment(folder), create_segment(folder)
    given_up.end += 1
    lost.end += 1
    given_up.delete()
    os.close(lost.descriptor)

    given_up.sync()
    with pytest.raises(OSError, match="Bad file descriptor"):
        lost.sync()
