"""Asks the write service for each visitor of a limited link whether the visitor may pass. The claims of a tick travel together.

The app asks before it sends a visitor to the target. Who visits without a person is told so and uses nothing up. Without an
answer of the write service nobody passes.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Literal

import structlog

from services.redirect.lookup.breaker import Breaker
from services.redirect.owner.connection import FAILURES, LinksConnection
from shared.claims import MOST_CLAIMS, PATH, Claim, is_request_id, read_verdicts, write_claims
from shared.clicks import LONGEST_AGENT
from shared.joiner import Joiner, NoResult, TooManyWaiting, Waiting

BATCHES_IN_FLIGHT = 2
WAITING_LIMIT = 2_000

DEADLINE_S = 2.0
"""The longest wait of a visitor. nginx tries other redirectors for 4 s."""

REMEMBERED_AGENTS = 4096

HEADERS = {"Content-Type": "text/plain"}

Verdict = Literal["granted", "refused", "spared", "unavailable", "busy"]
"""Whether a visitor passes; `spared` is a visit that must not count."""

log = structlog.get_logger()


class ClaimsUnavailable(Exception):
    """The write service cannot be asked now."""


class Claims:
    """The claims of a redirect process.

    Args:
        connections: To the write service: one for each batch that is under way.
        breaker: Keeps visitors from waiting for a write service that is away.

    Attributes:
        by_verdict: The visits of limited links.
        failures: The batches that were not answered.
    """

    def __init__(self, connections: Sequence[LinksConnection], breaker: Breaker) -> None:
        self._idle = list(connections)
        self._breaker = breaker
        self._joiner: Joiner[Claim, bool] = Joiner(
            self._ask, batches_in_flight=len(connections), batch_size=MOST_CLAIMS, waiting_limit=WAITING_LIMIT
        )
        self._is_program: Callable[[bytes], bool] | None = None
        self._loading: asyncio.Task[Callable[[bytes], bool]] | None = None
        self.by_verdict: Counter[Verdict] = Counter()
        self.failures = 0

    async def admit(self, link_id: int, method: str, headers: Mapping[bytes, bytes]) -> Verdict:
        """Decide about a visit of a limited link.

        Args:
            link_id: The link's id.
            method: GET or HEAD.
            headers: Of the visit, as nginx sends them.
        """
        verdict = await self._admit(link_id, method, headers)
        self.by_verdict[verdict] += 1
        return verdict

    def close(self) -> None:
        for connection in self._idle:
            connection.close()

    async def _admit(self, link_id: int, method: str, headers: Mapping[bytes, bytes]) -> Verdict:
        agent = headers.get(b"user-agent", b"")[:LONGEST_AGENT]
        # Every browser says what it is.
        if method == "HEAD" or b"x-purpose" in headers or not agent.strip():
            return "spared"
        request_id = headers.get(b"x-request-id", b"").decode("latin-1")
        claim = Claim(link_id, request_id if is_request_id(request_id) else secrets.token_hex(16))
        try:
            # What is cancelled by the deadline is not sent any more.
            async with asyncio.timeout(DEADLINE_S):
                is_program = self._is_program or await self._load()
                if is_program(agent):
                    return "spared"
                return "granted" if await self._joiner.join(claim) else "refused"
        except TooManyWaiting:
            return "busy"
        except (TimeoutError, ClaimsUnavailable, NoResult):
            return "unavailable"

    async def _load(self) -> Callable[[bytes], bool]:
        """Load the lists of programs, in a thread: it takes 0.1 s, once, when the first limited link is visited."""
        if self._loading is None or (self._loading.done() and self._loading.exception() is not None):
            self._loading = asyncio.create_task(asyncio.to_thread(_load_programs))
        self._is_program = await asyncio.shield(self._loading)
        return self._is_program

    async def _ask(self, batch: Sequence[Waiting[Claim, bool]]) -> None:
        # A visitor whose time is over must not use up a click.
        awaited = [(claim, future) for claim, future in batch if not future.done()]
        if not awaited:
            return
        if not self._breaker.allows():
            raise ClaimsUnavailable
        connection = self._idle.pop()
        try:
            verdicts = await _post(connection, [claim for claim, _ in awaited])
        except FAILURES as error:
            self.failures += 1
            if not self._breaker.is_open:
                log.warning("claims_unanswered", error=type(error).__name__)
            self._breaker.record_failure()
            raise ClaimsUnavailable from error
        finally:
            self._idle.append(connection)
        self._breaker.record_success()
        for (_, future), verdict in zip(awaited, verdicts, strict=True):
            if not future.done():
                future.set_result(verdict)


def open_claims(address: str, token: str) -> Claims:
    """Prepare the connections to the write service, which open on first use."""
    connections = [LinksConnection(address, token, deadline_s=DEADLINE_S) for _ in range(BATCHES_IN_FLIGHT)]
    return Claims(connections, Breaker())


async def _post(connection: LinksConnection, claims: Sequence[Claim]) -> list[bool]:
    """Ask about claims, and once more if the connection was lost.

    Raises:
        One of `FAILURES`.
    """
    body = write_claims(claims)
    try:
        status, _, answer = await connection.request(PATH, HEADERS, body)
    except TimeoutError:
        raise
    except FAILURES:
        # Only its use tells that the write service has closed a connection. A claim can be repeated.
        status, _, answer = await connection.request(PATH, HEADERS, body)
    if status != HTTPStatus.OK:
        # Another process may be able to answer.
        connection.close()
        raise ValueError(f"answered {status}")
    return read_verdicts(answer, len(claims))


def _load_programs() -> Callable[[bytes], bool]:
    from shared.bots import BotMatcher  # noqa: PLC0415  # only limited links need RE2 and the lists

    return lru_cache(REMEMBERED_AGENTS)(BotMatcher().is_bot)
