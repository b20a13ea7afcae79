"""The click journal: what was recorded can be read, in one segment or in several."""

import asyncio
import os
import threading
import time
from pathlib import Path

from services.redirect.journal.segments import create_segment, draw_name, lock_file
from services.redirect.journal.writer import ClickJournal, open_journal
from shared.clicks import LARGEST_CLICK_BYTES, ClickParts, cut_parts
from shared.journal import HEADER, JournalDamaged, pack_record, split_records
from tests.redirect.intake_server import until
from tests.redirect.journals import GIB, click, read_folder


async def test_what_is_recorded_can_be_read(journal: ClickJournal, folder: Path) -> None:
    """The clicks of each tick come back as they were, also bytes that are no text."""
    ticks = [[click(1)], [click(2, b"\xff\xfe\x00"), click(3, b"")], [click(4, bytes(range(256)) * 40)]]
    for tick in ticks:
        journal.record(tick)

    assert read_folder(folder) == [each for tick in ticks for each in tick]
    assert journal.recorded == 4


async def test_tick_that_is_large_becomes_several_records(journal: ClickJournal, folder: Path) -> None:
    """No record is larger than what one request may carry; a click that alone is larger is dropped and counted."""
    clicks = [click(number, b"x" * 300_000) for number in range(10)]
    journal.record(clicks)
    journal.record([click(10, b"x" * 2**20)])
    (path,) = folder.glob("*.journal")
    records = list(split_records(path.read_bytes()[len(HEADER) :]))

    assert read_folder(folder) == clicks
    assert all(len(body) < 2**20 for _, body in records)
    assert journal.dropped == {"full": 0, "error": 1}


async def test_click_has_a_largest_size(journal: ClickJournal, folder: Path) -> None:
    """Whatever a client sends, its visit takes at most 3.1 KB of the folder."""
    journal.record([(1_800_000_000.25, 2**62, cut_parts((b"x" * 24_000,) * len(ClickParts._fields)))])
    (path,) = folder.glob("*.journal")

    assert path.stat().st_size - len(HEADER) == journal.written_bytes <= LARGEST_CLICK_BYTES <= 3100


async def test_hook_does_not_raise(journal: ClickJournal, folder: Path) -> None:
    """What cannot be packed is dropped and counted, and the next tick is recorded."""
    journal.record([(0.0, 2**70, (b"",))])
    journal.record([click(1)])

    assert read_folder(folder) == [click(1)]
    assert journal.dropped["error"] == 1


async def test_segment_is_locked_before_it_has_its_name(folder: Path) -> None:
    """Whoever finds a segment of a living process under its name finds it locked; its name is a UUID of version 7."""
    names = [draw_name() for _ in range(100)]
    segment = create_segment(folder)

    assert lock_file(segment.path) is None
    assert all(name[14] == "7" and name[19] in "89ab" for name in names)
    assert len(set(names)) == 100
    assert abs(int(names[0].replace("-", "")[:12], 16) / 1000 - time.time()) < 60
    segment.close()
    descriptor = lock_file(segment.path)
    assert descriptor is not None
    os.close(descriptor)


async def test_segment_that_goes_is_nobodys(folder: Path) -> None:
    """Who looks for orphans never gets a living process's segment, not even while it is being made or deleted."""
    folder.mkdir()
    is_over = threading.Event()
    watchers = [asyncio.create_task(asyncio.to_thread(lock_any, folder, is_over)) for _ in range(2)]
    try:
        await asyncio.to_thread(make_and_delete, folder, 500)
    finally:
        # The end of the event loop waits for its threads.
        is_over.set()

    assert await asyncio.gather(*watchers) == [0, 0]


def make_and_delete(folder: Path, times: int) -> None:
    for _ in range(times):
        create_segment(folder).delete()


def lock_any(folder: Path, is_over: threading.Event) -> int:
    """Try to lock whatever is there; how often that succeeded."""
    locked = 0
    while not is_over.is_set():
        for path in folder.glob("*.journal"):
            descriptor = lock_file(path)
            if descriptor is not None:
                locked += 1
                os.close(descriptor)
    return locked


def test_torn_tail_hides_nothing_before_it() -> None:
    """A last record that ends anywhere within itself is left out, and all before it are read."""
    records = [pack_record([click(number)]) for number in range(3)]
    whole = b"".join(records)
    for length in range(len(whole) - len(records[-1]), len(whole)):
        assert [body for _, body in split_records(whole[:length])] == [record[8:] for record in records[:2]]


def test_flipped_byte_is_noticed() -> None:
    """A record of which any byte is another is never taken for a record; those before it are read."""
    records = [pack_record([click(number)]) for number in range(3)]
    for place in range(len(records[1])):
        flipped = bytearray(b"".join(records))
        flipped[len(records[0]) + place] ^= 0x10
        seen = []
        try:
            for _, body in split_records(bytes(flipped)):
                seen.append(body)
        except JournalDamaged:
            pass
        assert seen == [records[0][8:]]


async def test_segment_is_complete_at_its_size(folder: Path) -> None:
    """A segment that has grown to its part of the limit is followed by a new one; no click is lost in between."""
    async with open_journal(folder, 2**20) as journal:
        for number in range(3000):
            journal.record([click(number)])
        await until(lambda: journal.complete)
        journal.record([click(3000)])

        assert journal.dropped["full"] == 0
        assert len(list(folder.glob("*.journal"))) == 2
        assert [link_id for _, link_id, _ in read_folder(folder)] == list(range(3001))


async def test_segment_is_complete_at_its_age(folder: Path) -> None:
    """An old segment is followed by a new one if there is anything in it, and goes on if not."""
    async with open_journal(folder, GIB, segment_age_s=0.0) as journal:
        first = journal.live
        await until(lambda: journal.folder_bytes)
        journal.record([click(1)])
        await until(lambda: journal.complete)
        second = journal.live
        passes = journal.passes
        await until(lambda: journal.passes > passes + 1)

        assert journal.complete == [first]
        assert journal.live is second


async def test_record_is_on_the_disk_within_seconds(journal: ClickJournal) -> None:
    """What was written is synced without being asked, and nothing is synced again."""
    journal.record([click(1)])
    live = journal.live
    assert live is not None
    await until(lambda: live.synced == live.end, 5)

    assert live.synced > len(HEADER)
