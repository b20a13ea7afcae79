"""Batches of the click journal as a busy site would send them: 200 user agents, 5,000 links, 20,000 visitors a day."""

import itertools
import random
from collections.abc import Iterator, Sequence
from time import time

from shared.clicks import Click
from shared.journal import pack_record

CLICKS_A_BATCH = 2000
CLICKS_A_TICK = 8
VISITORS = 20_000
LINKS = 5000
SEED = 20260101

_WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
)
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{} Safari/605.1.15"
_IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4 Mobile/15E148 Safari/604.1"
)
_ANDROID = (
    "Mozilla/5.0 (Linux; Android 14; P{}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
)
_FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0"
_BOT = "Mozilla/5.0 (compatible; Googlebot/2.{}; +http://www.google.com/bot.html)"
AGENTS = [
    pattern.format(number).encode()
    for pattern, first, count in (
        (_WINDOWS, 100, 60),
        (_MAC, 0, 30),
        (_IPHONE, 0, 40),
        (_ANDROID, 1, 40),
        (_FIREFOX, 100, 20),
        (_BOT, 0, 10),
    )
    for number in range(first, first + count)
]
_REFERRERS = [None] * 40 + [f"https://www.site{n}.example.co.uk/page?id={n}".encode() for n in range(60)]
_LANGUAGES = [b"en-US,en;q=0.9", b"de-DE,de;q=0.9,en;q=0.8", b"fr", b"es-ES,es;q=0.9", b"pt-BR", b"ja", None]


def make_batches(link_ids: Sequence[int]) -> Iterator[bytes]:
    """Batches without end; links are drawn in proportion to one over their rank."""
    chance = random.Random(SEED)
    sums = list(itertools.accumulate(1 / rank for rank in range(1, len(link_ids) + 1)))
    visitors = [
        (f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}".encode(), chance.choice(AGENTS), chance.choice(_LANGUAGES))
        for n in range(VISITORS)
    ]
    while True:
        now = time()
        ticks = []
        for _ in range(CLICKS_A_BATCH // CLICKS_A_TICK):
            tick: list[Click] = []
            for link in chance.choices(link_ids, cum_weights=sums, k=CLICKS_A_TICK):
                address, agent, language = chance.choice(visitors)
                place = b"/b%06d HTTP/1.1\r\nHost: sho.rt" % link
                request_id = b"%032x" % chance.getrandbits(128)
                tick.append(
                    (now, link, (place, address, request_id, agent, chance.choice(_REFERRERS), language, b"html"))
                )
            ticks.append(pack_record(tick))
        yield b"".join(ticks)
