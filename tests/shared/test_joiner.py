"""The joiner: requests share batches, and none of them suffers for another."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.joiner import Joiner, NoResult, TooManyWaiting, Waiting

Batch = Sequence[Waiting[int, int]]


class Doubler:
    """Doubles numbers, a batch at a time, when it is let.

    Attributes:
        batches: What was asked for together.
        gate: Open, unless a test closes it.
    """

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, batch: Batch) -> None:
        self.batches.append([number for number, _ in batch])
        await self.gate.wait()
        for number, future in batch:
            if number < 0:
                raise ZeroDivisionError
            if number and not future.done():
                future.set_result(2 * number)


@pytest.fixture
async def doubler() -> Doubler:
    return Doubler()


async def test_requests_of_one_tick_share_a_batch(doubler: Doubler) -> None:
    """Each gets its own result, and a batch has no more than its size."""
    joiner = Joiner(doubler.run, batches_in_flight=1, batch_size=3)
    results = await asyncio.gather(*(joiner.join(number) for number in range(1, 6)))

    assert results == [2, 4, 6, 8, 10]
    assert doubler.batches == [[1, 2, 3], [4, 5]]


async def test_what_comes_meanwhile_gathers_into_the_next_batch(doubler: Doubler) -> None:
    """No more batches run at once than may; whoever comes then goes with the next one, in the order of arrival."""
    joiner = Joiner(doubler.run, batches_in_flight=2)
    doubler.gate.clear()
    waiting = []
    for number in range(1, 7):
        waiting.append(joiner.join(number))
        # The batch of this tick begins, if there is room for one.
        for _ in range(3):
            await asyncio.sleep(0)
    under_way = doubler.batches[:]
    doubler.gate.set()

    assert await asyncio.gather(*waiting) == [2, 4, 6, 8, 10, 12]
    assert under_way == [[1], [2]]
    assert doubler.batches == [[1], [2], [3, 4, 5, 6]]


async def test_number_of_waiting_requests_is_bounded(doubler: Doubler) -> None:
    """No more requests wait for their batch than may; when a batch begins there is room again."""
    joiner = Joiner(doubler.run, batches_in_flight=1, waiting_limit=3)
    waiting = [joiner.join(number) for number in (1, 2, 3)]
    with pytest.raises(TooManyWaiting):
        joiner.join(4)
    results = await asyncio.gather(*waiting)

    assert results == [2, 4, 6]
    assert await joiner.join(4) == 8


async def test_batch_that_raises_fails_those_without_a_result(doubler: Doubler) -> None:
    """Who has a result keeps it, the others get the error, and later requests are as if nothing had been."""
    joiner = Joiner(doubler.run, batches_in_flight=1)
    results = await asyncio.gather(*map(joiner.join, (1, -1, 2)), return_exceptions=True)

    assert results[0] == 2
    assert [type(result) for result in results[1:]] == [ZeroDivisionError] * 2
    assert await joiner.join(3) == 6


async def test_request_that_a_batch_forgets_fails(doubler: Doubler) -> None:
    """Nobody waits for ever: without a result at the end of its batch a request fails."""
    joiner = Joiner(doubler.run, batches_in_flight=1)
    results = await asyncio.gather(*map(joiner.join, (0, 1)), return_exceptions=True)

    assert [type(results[0]), results[1]] == [NoResult, 2]


async def test_whoever_leaves_disturbs_nobody(doubler: Doubler) -> None:
    """A request that is given up leaves its batch to the others, and a failure that nobody waits for is no error of its own."""
    errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(repr(context)))
    joiner = Joiner(doubler.run, batches_in_flight=1)
    left, stays = joiner.join(1), joiner.join(2)
    left.cancel()

    assert await stays == 4
    lonely = joiner.join(-1)
    while not lonely.done():
        await asyncio.sleep(0)
    del lonely
    assert errors == []


async def test_part_of_a_batch_can_be_run_again() -> None:
    """A batch that fails as a whole may be run in parts: only the part that is to blame fails."""

    async def run(batch: Batch) -> None:
        if len(batch) > 1:
            for each in batch:
                await joiner.run([each])
        elif batch[0][0] < 0:
            raise ZeroDivisionError
        else:
            batch[0][1].set_result(batch[0][0])

    joiner: Joiner[int, int] = Joiner(run, batches_in_flight=1)
    results = await asyncio.gather(*map(joiner.join, (1, -1, 2)), return_exceptions=True)

    assert [results[0], type(results[1]), results[2]] == [1, ZeroDivisionError, 2]
