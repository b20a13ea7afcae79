"""User agents: the table of `tests/data/agents.tsv`, and those that somebody sends to make parsing dear."""

import random
import string
from collections.abc import Iterator
from pathlib import Path

TABLE = Path(__file__).parent / "data" / "agents.tsv"

LONGEST = 512

_DEAR = (
    # What makes ua-parser try many of its expressions to their ends.
    "htccn_chs--hiptop",
    "CECCBot ",
    "mc21",
    # Exclusions of crawlerdetect, which are taken out one by one, and beginnings of crawlers' names, which are none.
    "x64z",
    "Mac OS X 1",
    "CPU OS 1_",
    "Java outbrai",
    "NewsBlur Finde",
    "Go 1.2 packag",
    "Android 4; ",
)


def read_agents() -> list[tuple[str, bool]]:
    """User agents, and whether each is a program's."""
    lines = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()]
    return [(agent, whose == "bot") for whose, agent in lines]


def hostile_agents(seed: int) -> Iterator[bytes]:
    """Make user agents of which no two are the same: letters, signs and digits at random, and what is dear again and again."""
    chance = random.Random(seed)
    while True:
        yield _draw(chance, string.ascii_lowercase)
        yield _draw(chance, string.ascii_letters + string.digits + string.punctuation + " ")
        yield _draw(chance, string.digits)
        yield _draw(chance, string.digits + "._")
        # The end of what ua-parser is given, where it looks for the names of unknown crawlers.
        yield _draw(chance, string.ascii_lowercase)[:248] + b"spider" + _draw(chance, string.ascii_letters)[:200]
        dear = chance.choice(_DEAR)
        yield (_draw(chance, string.ascii_lowercase)[:12].decode() + dear * LONGEST).encode()[:LONGEST]


def _draw(chance: random.Random, letters: str) -> bytes:
    return "".join(chance.choices(letters, k=LONGEST)).encode()
