"""Clicks as visitors make them: in batches as the shipper sends them to the intake, or as the requests that lead to them."""

import gzip
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import time

from services.redirect.journal.batches import COMPRESSION_LEVEL
from shared.clicks import Click, ClickParts, read_parts
from shared.journal import pack_record
from tests.bench.candidates import BROWSER, LANGUAGE, REFERER, USER_AGENT

CLICKS_PER_RECORD = 20
"""Of one event-loop tick under load."""

VISITORS = 100_000
BOTS = 0.05

_VERSIONS = range(120, 142)
_SYSTEMS = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android 10; K",
)
_AGENTS = [
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0{mobile} Safari/537.36{suffix}"
    for system in _SYSTEMS
    for mobile in ([" Mobile"] if "Android" in system else [""])
    for version in _VERSIONS
    for suffix in ("", f" Edg/{version}.0.0.0")
]
_BOTS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
]
# Browsers send the origin alone to other sites; what sends more, or nothing, is an app or a mail program.
_REFERRERS = [f"https://www.site-{number}.example/" for number in range(30)]
_LANGUAGES = ["en-US,en;q=0.9", "en-GB,en;q=0.9", "de-DE,de;q=0.9,en;q=0.8", "pt-BR,pt;q=0.9", "ja", "fr-FR,fr;q=0.9"]


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as it is sent.

    Attributes:
        body: With gzip.
        length: Bytes of journal in it.
        clicks: How many.
    """

    body: bytes
    length: int
    clicks: int


def make_batches(
    seed: int, link_ids: Sequence[int], count: int, clicks_per_batch: int, agents: Iterator[bytes] | None = None
) -> Iterator[Packed]:
    """Make clicks of now, by many visitors; the link of rank r is drawn in proportion to 1/r.

    Args:
        seed: Makes the clicks differ.
        link_ids: In the order of their ranks.
        count: Clicks.
        clicks_per_batch: At most.
        agents: A user agent for each click, instead of browsers' and crawlers'.
    """
    chance = random.Random(seed)
    weights = _zipf(len(link_ids))
    for first in range(0, count, clicks_per_batch):
        size = min(clicks_per_batch, count - first)
        drawn = chance.choices(link_ids, cum_weights=weights, k=size)
        clicks = [_click(chance, link_id, None if agents is None else next(agents)) for link_id in drawn]
        data = b"".join(
            pack_record(clicks[start : start + CLICKS_PER_RECORD]) for start in range(0, size, CLICKS_PER_RECORD)
        )
        yield Packed(gzip.compress(data, COMPRESSION_LEVEL, mtime=0), len(data), size)


def make_requests(seed: int, links: int, count: int) -> Iterator[bytes]:
    """Make the requests of many visitors' browsers, as a proxy before nginx sends them; links as in `make_batches`."""
    chance = random.Random(seed)
    for number in chance.choices(range(links), cum_weights=_zipf(links), k=count):
        _, _, parts = _click(chance, number, None)
        click = read_parts(parts)
        assert click.address is not None
        headers = BROWSER.encode().removesuffix(b"\r\n").replace(b"CODE", b"b%06d" % number, 1)
        headers = headers.replace(USER_AGENT.encode(), click.agent or b"", 1)
        headers = headers.replace(LANGUAGE.encode(), click.language or b"", 1)
        referer = b"Referer: %b\r\n" % click.referrer if click.referrer else b""
        headers = headers.replace(b"Referer: %b\r\n" % REFERER.encode(), referer, 1)
        yield b"%bX-Forwarded-For: %b\r\n\r\n" % (headers, click.address)


def _zipf(links: int) -> list[float]:
    """The sums of the weights of the ranks 1, 2, …"""
    return list(itertools.accumulate(1 / rank for rank in range(1, links + 1)))


def _click(chance: random.Random, link_id: int, agent: bytes | None) -> Click:
    visitor = chance.randrange(VISITORS)
    if agent is None:
        agent = (chance.choice(_BOTS) if chance.random() < BOTS else _AGENTS[visitor % len(_AGENTS)]).encode()
    address = f"198.{visitor >> 16}.{visitor >> 8 & 255}.{visitor & 255}"
    kind = chance.random()
    referrer = None if kind < 0.5 else chance.choice(_REFERRERS).encode()
    if kind > 0.9 and referrer is not None:
        referrer += b"articles/%d" % chance.randrange(1_000_000)
    language = _LANGUAGES[visitor % len(_LANGUAGES)].encode()
    return time(), link_id, ClickParts(address=address.encode(), agent=agent, referrer=referrer, language=language)
