"""Joins requests. Those that arrive while a batch runs are the next batch, so many requests share one statement.

The redirect service looks up codes with it, and the write service creates links.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Waiting = tuple[Item, asyncio.Future[Result]]
"""A request, and the future of its result."""

BATCH_SIZE = 500
WAITING_LIMIT = 10_000


class TooManyWaiting(Exception):
    """No more requests may wait."""


class NoResult(Exception):
    """A batch ended without a result for this request."""


class Joiner(Generic[Item, Result]):
    """A queue of requests. A batch takes all that wait when it begins, at least those of one event-loop tick.

    Args:
        run_batch: Sets the result of each future of a batch. If it raises, the futures without a result fail with its error.
        batches_in_flight: How many batches run at once.
        batch_size: The most requests in a batch.
        waiting_limit: The most requests that wait for their batch.
    """

    def __init__(
        self,
        run_batch: Callable[[Sequence[Waiting[Item, Result]]], Awaitable[None]],
        *,
        batches_in_flight: int,
        batch_size: int = BATCH_SIZE,
        waiting_limit: int = WAITING_LIMIT,
    ) -> None:
        self._run_batch = run_batch
        self._batches_in_flight = batches_in_flight
        self._batch_size = batch_size
        self._waiting_limit = waiting_limit
        self._queue: list[Waiting[Item, Result]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def join(self, item: Item) -> asyncio.Future[Result]:
        """Put a request into the next batch.

        Raises:
            TooManyWaiting: There is no room for it.
        """
        if len(self._queue) >= self._waiting_limit:
            raise TooManyWaiting
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if not self._queue:
            loop.call_soon(self._start_batches)
        self._queue.append((item, future))
        return future

    async def run(self, batch: Sequence[Waiting[Item, Result]]) -> None:
        """Run a batch, or a part of one, until each of its futures is done."""
        failure: Exception = NoResult()
        try:
            await self._run_batch(batch)
        except Exception as error:
            failure = error
        finally:
            for _, future in batch:
                if not future.done():
                    future.set_exception(failure)
                    future.exception()  # It is no error if all who waited have gone.

    def _start_batches(self) -> None:
        while self._queue and len(self._tasks) < self._batches_in_flight:
            batch, self._queue = self._queue[: self._batch_size], self._queue[self._batch_size :]
            task = asyncio.create_task(self.run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._end_batch)

    def _end_batch(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._start_batches()
