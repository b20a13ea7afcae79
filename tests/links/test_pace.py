"""The pace of heavy work: who is alone does all of it at once; beside others an owner does one thing and rests."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from services.links.web.pace import LONGEST_REST_S, THERE_S, Pace
from services.links.web.shares import Share


class Clock:
    """Time that passes when it is told to, and what was slept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(round(seconds, 6))
            self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock, clock.sleep)


async def work(pace: Pace, clock: Clock, owner: str, seconds: float) -> None:
    async with pace.step(owner):
        clock.now += seconds


async def test_owner_who_is_alone_has_no_pace(pace: Pace, clock: Clock) -> None:
    """Its steps run at once and without a rest, also a second after someone else was there."""
    pace.note("bob")
    clock.now += THERE_S
    for _ in range(3):
        pace.note("alice")
        await work(pace, clock, "alice", 0.5)
    async with pace.step("alice"), pace.step("alice"):
        pass

    assert clock.slept == []


async def test_owner_rests_as_long_as_it_worked_while_others_are_there(pace: Pace, clock: Clock) -> None:
    """A step waits for the rest after the one before, which is as long as that took, and a second at most."""
    for seconds in (0.1, 0.2, 4.0, 0.1):
        pace.note("bob")
        pace.note("alice")
        await work(pace, clock, "alice", seconds)

    assert clock.slept == [0.1, 0.2, LONGEST_REST_S]
    clock.now += LONGEST_REST_S
    pace.note("bob")
    await work(pace, clock, "alice", 0.1)
    assert len(clock.slept) == 3


@pytest.mark.parametrize("before", [["bob", "alice"], ["alice", "bob"], ["bob", "alice", "alice"]])
async def test_others_are_who_asked_in_the_last_second(pace: Pace, clock: Clock, before: list[str]) -> None:
    """Whoever asked last, another owner is there for a second, and no owner is one of its own others."""
    assert not pace.has_others("alice")
    for owner in before:
        pace.note(owner)
    clock.now += THERE_S / 2

    assert pace.has_others("alice")
    clock.now += THERE_S / 2
    pace.note("alice")
    assert not pace.has_others("alice")
    assert pace.has_others("bob")


async def test_heavy_turns_come_one_after_the_other_while_others_are_there(pace: Pace, clock: Clock) -> None:
    """Of two kinds of heavy work of an owner one thing runs at once; what is light, and another owner's, runs beside it."""
    lists = Share("lists", pace, at_once=2, waiting=8, is_heavy=True)
    statistics = Share("statistics", pace, at_once=2, waiting=8, is_heavy=True)
    edits = Share("requests", pace, at_once=3)
    entered: list[str] = []

    async def ask(name: str, share: Share, owner: str) -> None:
        async with share.turn(owner):
            entered.append(name)

    pace.note("bob")
    async with AsyncExitStack() as running:
        await running.enter_async_context(lists.turn("alice"))
        waiting = asyncio.create_task(ask("statistics", statistics, "alice"))
        await ask("edit", edits, "alice")
        await ask("bob's list", lists, "bob")
        assert entered == ["edit", "bob's list"]
    await waiting

    assert entered[-1] == "statistics"
    clock.now += LONGEST_REST_S
    await ask("last", lists, "alice")
    assert set(pace._walks) <= {("alice", False)}


async def test_batches_do_not_wait_for_what_reads(pace: Pace) -> None:
    """Beside others an owner's batch runs while it reads, and a second batch waits for the first."""
    pace.note("bob")
    async with pace.step("alice"), pace.step("alice", stores=True):
        second = asyncio.create_task(pace.step("alice", stores=True).__aenter__())
        await asyncio.sleep(0)
        assert not second.done()
    await second
