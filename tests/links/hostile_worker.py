"""`python -m tests.links.hostile_worker`: the click worker, with a parser that some user agents harm.

Everything but the parser is the real one: `run` of `services/links/clicks/worker.py`. A visitor who finds such an agent for the
real parser must not stop the clicks of others.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from services.links.clicks import reading as click_reading
from services.links.clicks import worker as click_worker
from services.links.clicks.enrichment import Enricher
from shared.api import Dimensions
from shared.clicks import ClickParts

COMMAND = (sys.executable, "-m", "tests.links.hostile_worker")

SHORT_TIMES = ("--statement-s=1", "--read-s=0.3", "--longest-s=3")
"""Arguments that shorten the worker's deadlines, so that tests need not wait for them."""

_kept: list[bytes] = []


def die_twice(agent: bytes) -> None:
    """Die at the first two readings; the file that the agent names counts them."""
    file = Path(agent.partition(b" ")[2].decode())
    file.write_bytes((file.read_bytes() if file.exists() else b"") + b".")
    if file.stat().st_size <= 2:
        os.kill(os.getpid(), signal.SIGKILL)


def recurse(agent: bytes) -> None:
    recurse(agent)


def eat(agent: bytes) -> None:
    """Take more than a worker may have, and then give it back."""
    sum(map(len, [bytes(2**24) for _ in range(64)]))


HARMS: dict[bytes, Callable[[bytes], object]] = {
    b"sleeps": lambda agent: time.sleep(600),
    b"loops": lambda agent: re.match(r"(a+)+$", "a" * 60 + "b"),
    b"exits": lambda agent: sys.exit("a parser that ends the process"),
    b"crashes": lambda agent: os.kill(os.getpid(), signal.SIGSEGV),
    b"eats": eat,
    b"recurses": recurse,
    b"raises": lambda agent: HARMS[b"a defect"],
    b"keeps": lambda agent: _kept.append(bytes(2**26)),
    b"slow": lambda agent: time.sleep(0.04),
    b"twice": die_twice,
    b"prints": lambda agent: os.write(1, b"a library's greeting\n"),
}


class HarmedEnricher(Enricher):
    """An enricher whose parser does what the first word of a user agent says."""

    def enrich(self, parts: ClickParts) -> tuple[bool, Dimensions]:
        agent = parts.agent or b""
        harm = HARMS.get(agent.partition(b" ")[0])
        if harm is not None:
            harm(agent)
        return super().enrich(parts)


def main(arguments: Sequence[str]) -> None:
    options = dict(argument.split("=") for argument in arguments)
    click_worker.STATEMENT_TIMEOUT_S = float(options.get("--statement-s", click_worker.STATEMENT_TIMEOUT_S))
    click_reading.READ_TIME_S = float(options.get("--read-s", click_reading.READ_TIME_S))
    click_worker.LONGEST_BATCH_S = float(options.get("--longest-s", click_worker.LONGEST_BATCH_S))
    click_worker.run(HarmedEnricher)


if __name__ == "__main__":
    main(sys.argv[1:])
