"""Reads single visits of another shortener as clicks: browser, system, device, country and referrer, as of own clicks.

The process of an import asks it, outside of any transaction; `storing.py` stores what comes out. An address leaves only as a
country and as a hash, whose key ends with the import.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b

from services.links.clicks.counts import EnrichedClick
from services.links.clicks.enrichment import VISITOR_BYTES, Enricher, origin_of
from services.links.imported.batches import ImportedBatch
from services.links.imported.counts import read_counts
from services.links.imported.keys import VisitorKey
from services.links.imported.values import read_country, read_value
from services.links.packed.days import DAY_US
from services.links.sources.found import FoundCounts, FoundVisit
from shared.agents import Agent
from shared.api import UNKNOWN, Dimensions
from shared.clicks import LONGEST_AGENT

REMEMBERED_DAYS = 1_000
REMEMBERED_ADDRESSES = 65_536

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class VisitReader:
    """Reads the visits of an import. Most of them share few agents, sites and addresses, which are remembered.

    Args:
        enricher: The parsers.
        key: Of the import; without one no visitors are told apart.
    """

    def __init__(self, enricher: Enricher, key: VisitorKey | None) -> None:
        self._find_country = lru_cache(REMEMBERED_ADDRESSES)(enricher.find_country)
        self._parse_agent = enricher.parse_agent
        self._parse_referrer = enricher.parse_referrer
        self._key = key
        self._hash_of = lru_cache(REMEMBERED_DAYS)(self._open_hash)

    def read_batch(self, owner: str, found: Iterable[tuple[int, FoundVisit | FoundCounts]]) -> ImportedBatch:
        """Read what was found of an owner's links, each with the link's id."""
        visits, counts = [], []
        for link_id, each in found:
            if isinstance(each, FoundVisit):
                visits.append(self.read(link_id, owner, each))
            else:
                counts.append(read_counts(link_id, owner, each))
        return ImportedBatch(visits=visits, counts=counts, key=self._key)

    def read(self, link_id: int, owner: str, visit: FoundVisit) -> EnrichedClick:
        """Read a visit of a link. What the source does not tell is unknown, and whoever tells no agent is no bot."""
        time_us = (visit.at - _EPOCH) // _MICROSECOND
        address = None if visit.address is None else visit.address.encode("utf-8", "replace")
        raw, agent = b"", _NO_AGENT
        if visit.user_agent is not None:
            raw = visit.user_agent.encode("utf-8", "replace")[:LONGEST_AGENT]
            agent = self._parse_agent(raw)
        country = read_country(visit.country)
        return EnrichedClick(
            time_us,
            link_id,
            owner,
            self._hash_of(time_us // DAY_US)(address + b"\0" + raw) if address and self._key else None,
            agent.is_bot if visit.is_bot is None else visit.is_bot,
            Dimensions(
                self._find_country(address) if country == UNKNOWN else country,
                read_value(visit.browser) if agent.browser == UNKNOWN else agent.browser,
                read_value(visit.os) if agent.os == UNKNOWN else agent.os,
                agent.device,
                UNKNOWN if visit.referrer is None else self._parse_referrer(origin_of(_url_of(visit.referrer))),
                UNKNOWN,
            ),
        )

    def _open_hash(self, day: int) -> Callable[[bytes], bytes]:
        """The hash of a UTC day: as with own clicks, nothing tells that visitors of two days are one."""
        key = b"" if self._key is None else self._key.key
        state = blake2b(day.to_bytes(8, "little", signed=True), key=key, digest_size=VISITOR_BYTES)

        def digest(visitor: bytes) -> bytes:
            copy = state.copy()
            copy.update(visitor)
            return copy.digest()

        return digest


def _url_of(referrer: str) -> bytes:
    """A referrer may be the host alone; a word without a dot is none (`direct`)."""
    text = referrer.strip()
    if "://" not in text and "." in text:
        text = f"https://{text}"
    return text.encode("utf-8", "replace")


_NO_AGENT = Agent(False, UNKNOWN, UNKNOWN, UNKNOWN)
