"""Hashes passwords with argon2id (RFC 9106) in threads, a few at once. A hash takes 19 MiB and some 20 ms of a processor.

Owners and visitors have gates of their own, so that neither take the slots of the others.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.links.web.errors import TooManyRequests

ROUNDS = 2
MEMORY_KIB = 19 * 1024
LANES = 1
"""What OWASP advises. The 64 MiB and three rounds of RFC 9106 are eight times the work, and visitors can ask for it."""

OWNER_SLOTS = 1
VISITOR_SLOTS = 2
"""Together they take 57 MiB at most."""

MOST_WAITING = 64
WAIT_S = 2.0

_hasher = PasswordHasher(time_cost=ROUNDS, memory_cost=MEMORY_KIB, parallelism=LANES)


def hash_password(password: str) -> str:
    """Return the hash of a password. It takes long, so call it in a thread."""
    return _hasher.hash(password)


def matches_password(password_hash: str, password: str) -> bool:
    """Tell whether a hash is that of a password. It takes long, so call it in a thread."""
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


class HashGate:
    """Slots for hashing, with a thread for each, and a queue before them.

    Args:
        slots: How many hashes are made at once.
        waiting: How many more may wait.
        wait_s: The longest wait.
    """

    def __init__(self, slots: int, *, waiting: int = MOST_WAITING, wait_s: float = WAIT_S) -> None:
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="argon2")
        self._slots = asyncio.Semaphore(slots)
        self._turns = WeakValueDictionary[bytes, asyncio.Lock]()
        self._most = slots + waiting
        self._inside = 0
        self._wait_s = wait_s

    @asynccontextmanager
    async def slot(self, whose: bytes | None = None) -> AsyncIterator[None]:
        """Wait for a slot.

        Args:
            whose: Has one slot at a time, and waits for it in the queue without taking another.

        Raises:
            TooManyRequests: The queue is full, or the wait takes too long.
        """
        if self._inside >= self._most:
            raise TooManyRequests("Too many passwords are being hashed. Try again in a moment.")
        turn = asyncio.Lock() if whose is None else self._turns.setdefault(whose, asyncio.Lock())
        self._inside += 1
        try:
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(self._wait_s):
                        await stack.enter_async_context(turn)
                        await stack.enter_async_context(self._slots)
                except TimeoutError:
                    message = "The passwords before this one take too long. Try again in a moment."
                    raise TooManyRequests(message) from None
                yield
        finally:
            self._inside -= 1

    async def hash(self, password: str) -> str:
        """Hash a password, in a slot of its own."""
        async with self.slot():
            return await asyncio.get_running_loop().run_in_executor(self._threads, hash_password, password)

    async def matches(self, password_hash: str, password: str) -> bool:
        """Verify a password. The caller has a slot."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, matches_password, password_hash, password)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
