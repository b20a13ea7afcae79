"""Reads single visits of another shortener as clicks: browser, system, device, country and referrer, as of own clicks.

The process of an import asks it, outside of any transaction; `storing.py` stores what comes out. An address leaves only as a
country and as a hash, whose key ends with the import.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from services.links.clicks.counts import EnrichedClick
from services.links.clicks.enrichment import Enricher, VisitorHash, origin_of
from services.links.imported.values import read_country, read_value
from services.links.packed.days import DAY_US
from services.links.sources.found import FoundVisit
from shared.agents import Agent
from shared.api import UNKNOWN, Dimensions
from shared.clicks import ClickParts

REMEMBERED_DAYS = 1_000
REMEMBERED_KINDS = 65_536

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Kind(NamedTuple):
    """What is read of a visit beside its time and its visitor: few, and so remembered."""

    user_agent: str | None
    referrer: str | None
    country: str | None
    browser: str | None
    os: str | None
    is_bot: bool | None


class VisitReader:
    """Reads the visits of an import. Most of them share few agents and referrers, which are remembered.

    Args:
        enricher: The parsers.
        key: Of the import (`keys.py`); without one no visitors are told apart.
    """

    def __init__(self, enricher: Enricher, key: bytes | None) -> None:
        self._find_country = enricher.find_country
        self._parse_agent = enricher.parse_agent
        self._parse_referrer = enricher.parse_referrer
        self._key = key
        self._hash_of = lru_cache(REMEMBERED_DAYS)(self._open_hash)
        self._read_kind = lru_cache(REMEMBERED_KINDS)(self._read_kind_anew)

    def read(self, link_id: int, owner: str, visit: FoundVisit) -> EnrichedClick:
        """Read a visit of a link. What the source does not tell is unknown, and whoever tells no agent is no bot."""
        time_us = (visit.at - _EPOCH) // _MICROSECOND
        is_bot, dimensions = self._read_kind(
            _Kind(visit.user_agent, visit.referrer, visit.country, visit.browser, visit.os, visit.is_bot)
        )
        if not visit.address:
            return EnrichedClick(time_us, link_id, owner, None, is_bot, dimensions)
        address = visit.address.encode("utf-8", "replace")
        if dimensions.country == UNKNOWN:
            dimensions = dimensions._replace(country=self._find_country(address))
        agent = None if visit.user_agent is None else visit.user_agent.encode("utf-8", "replace")
        hashed = self._hash_of(time_us // DAY_US)
        visitor = None if hashed is None else hashed.digest(ClickParts(address=address, agent=agent))
        return EnrichedClick(time_us, link_id, owner, visitor, is_bot, dimensions)

    def _open_hash(self, day: int) -> VisitorHash | None:
        """The hash of a UTC day: as with own clicks, nothing tells that visitors of two days are one."""
        if self._key is None:
            return None
        return VisitorHash(blake2b(day.to_bytes(8, "little", signed=True), key=self._key, digest_size=32).digest())

    def _read_kind_anew(self, kind: _Kind) -> tuple[bool, Dimensions]:
        agent = Agent(False, UNKNOWN, UNKNOWN, UNKNOWN)
        if kind.user_agent is not None:
            agent = self._parse_agent(kind.user_agent.encode("utf-8", "replace"))
        return agent.is_bot if kind.is_bot is None else kind.is_bot, Dimensions(
            read_country(kind.country),
            read_value(kind.browser) if agent.browser == UNKNOWN else agent.browser,
            read_value(kind.os) if agent.os == UNKNOWN else agent.os,
            agent.device,
            self._parse_referrer(origin_of(_url_of(kind.referrer).encode("utf-8", "replace"))),
            UNKNOWN,
        )


def _url_of(referrer: str | None) -> str:
    """A referrer may be the host alone; a word without a dot is none (`direct`)."""
    text = (referrer or "").strip()
    return text if "://" in text or "." not in text else f"https://{text}"
