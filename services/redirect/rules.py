"""Decides where a link with rules or a split leads a visitor.

`app.py` asks it for the visits that the lane leaves. What it makes of a record stays beside the record in memory, where the
lane finds it. Parsers and the country database are loaded with the first link that needs them, off the event loop.
"""

import asyncio
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

import structlog

from services.redirect.answers import answer_visit
from services.redirect.memory import DecidingEntry, Memory, response_bytes
from shared.clicks import LONGEST_AGENT, Visit
from shared.records import LinkKey, Record

if TYPE_CHECKING:
    from shared.rules import Decision, Target
    from shared.visits import VisitReader

LOADING_TIMEOUT_S = 5.0

log = structlog.get_logger()


class Undecided(Exception):
    """The rules of the link cannot be read in time, or a newer release wrote them."""


class LinkDecider:
    """Decides for one link.

    Args:
        record: The link's.
        decision: What was compiled of it.
        reader: With all that the decision needs.
    """

    __slots__ = ("_decision", "_finished", "_reader", "record")

    def __init__(self, record: Record, decision: "Decision", reader: "VisitReader") -> None:
        self.record = record
        self._decision = decision
        self._reader = reader
        targets = [target for destination in decision.destinations for target in destination.targets]
        self._finished = {target: (_finish(record, target), target.variant.encode()) for target in targets}

    def choose(self, visit: Visit) -> "Target":
        """Choose a visitor's target."""
        visitor = (visit.address or b"") + b"\0" + (visit.agent or b"")[:LONGEST_AGENT]
        return self._decision.choose(self._reader.read(self._decision, visit)).choose(visitor)

    def answer(self, visit: Visit) -> tuple[bytes, bytes]:
        """Return the whole answer to a plain GET, and the click's variant."""
        return self._finished[self.choose(visit)]


class Rules:
    """What decides for links.

    Args:
        memory: Keeps it beside the records.
        country_database: An MMDB file; without one that of the release.
    """

    def __init__(self, memory: Memory, country_database: Path | None) -> None:
        self._memory = memory
        self._country_database = country_database
        self._reader: VisitReader | None = None
        self._lock = asyncio.Lock()

    async def choose(
        self, key: LinkKey, record: Record, headers: dict[bytes, bytes], query: bytes
    ) -> tuple[Record, bytes]:
        """Choose the target of a visit.

        Returns:
            The link's record with this target, and the click's variant.

        Raises:
            Undecided: Nobody can tell now.
        """
        decider = self._find(key) or await self._make(key, record)
        sent = headers.get
        address, agent, referrer = sent(b"x-forwarded-for"), sent(b"user-agent"), sent(b"referer")
        target = decider.choose(Visit(address, agent, referrer, sent(b"accept-language"), query, time()))
        return decider.record._replace(url=target.url), target.variant.encode()

    def _find(self, key: LinkKey) -> LinkDecider | None:
        entry = self._memory.find(key)
        return entry.decider if isinstance(entry, DecidingEntry) else None

    async def _make(self, key: LinkKey, record: Record) -> LinkDecider:
        """Make the decider of a link: one at a time, and each once, however many visits ask."""
        try:
            async with asyncio.timeout(LOADING_TIMEOUT_S), self._lock:
                decider = self._find(key)
                if decider is None:
                    decider = await asyncio.to_thread(self._compile, record)
        except (TimeoutError, ValueError) as error:
            log.warning("rules_unreadable", error=type(error).__name__)
            raise Undecided from error
        entry = self._memory.find(key)
        # The feed may have brought another record meanwhile.
        if isinstance(entry, DecidingEntry) and entry.decider is None and entry.record == record:
            self._memory.keep_decider(entry, decider, time())
        return decider

    def _compile(self, record: Record) -> LinkDecider:
        # A redirector whose links have no rules keeps its weight.
        from shared.countries import COUNTRIES  # noqa: PLC0415
        from shared.rules import Decision  # noqa: PLC0415
        from shared.visits import VisitReader  # noqa: PLC0415

        self._reader = self._reader or VisitReader(self._country_database or COUNTRIES)
        decision = Decision(record.url, record.rules, record.split, record.salt)
        self._reader.load(decision)
        return LinkDecider(record, decision, self._reader)


def _finish(record: Record, target: "Target") -> bytes:
    # The record of a link that is active; the lane does not answer for others.
    active = record._replace(url=target.url, enabled=True, valid_from=None, expires_at=None)
    return response_bytes(answer_visit(active, query=b"", now=0.0, error_format="html"))
