"""Hashes passwords with argon2id (RFC 9106) in threads, a few at once. A hash takes 19 MiB and some 20 ms of a processor.

An imported link may have a hash of bcrypt, which is verified and never made. Owners and visitors have gates of their own, so
that neither take the slots of the others.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

import bcrypt
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

MOST_BCRYPT_COST = 12
"""What Kutt has: a quarter of a second of a processor. Each more is twice the work."""

LONGEST_BCRYPT_PASSWORD = 72
"""Bytes. bcrypt never looked at the rest (Provos and Mazieres, 1999)."""

MOST_WAITING = 64
WAIT_S = 2.0

_hasher = PasswordHasher(time_cost=ROUNDS, memory_cost=MEMORY_KIB, parallelism=LANES)
# `2x` marks hashes of a defect, by which other passwords open, too.
_match_bcrypt = re.compile(r"\$2[aby]\$([0-9]{2})\$[./0-9A-Za-z]{53}").fullmatch
_match_argon2id = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,6}),t=([0-9]{1,3}),p=([0-9])\$[0-9A-Za-z+/]{11,86}\$[0-9A-Za-z+/]{22,86}"
).fullmatch


def hash_password(password: str) -> str:
    """Return the hash of a password. It takes long, so call it in a thread."""
    return _hasher.hash(password)


def matches_password(password_hash: str, password: str) -> bool:
    """Tell whether a hash is that of a password. It takes long, so call it in a thread."""
    try:
        if _match_bcrypt(password_hash):
            return bcrypt.checkpw(password.encode()[:LONGEST_BCRYPT_PASSWORD], password_hash.encode())
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError, ValueError):
        return False


def check_password_hash(text: str) -> str:
    """Return a hash from elsewhere if a link may have it: of argon2id that costs no more than one of ours, or of bcrypt.

    An import alone brings hashes. The API takes passwords.

    Raises:
        ValueError: It is none. The message does not quote it.
    """
    if found := _match_bcrypt(text):
        if not 4 <= int(found[1]) <= MOST_BCRYPT_COST:
            raise ValueError(f"is of bcrypt with a cost beyond {MOST_BCRYPT_COST}")
        return text
    if not (found := _match_argon2id(text)):
        raise ValueError("is no hash of argon2id or bcrypt")
    memory, rounds, lanes = map(int, found.groups())
    if memory > MEMORY_KIB or memory * rounds > MEMORY_KIB * ROUNDS or lanes > LANES:
        raise ValueError(f"is of argon2id with more than {MEMORY_KIB} KiB, {ROUNDS} rounds and {LANES} lane")
    return text


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
