"""When a release has to go: three canaries, or more than a hundredth of at least a hundred answers."""

import json
from pathlib import Path

import pytest

from deploy.host.site import Site
from deploy.host.watch import Tally

SITE = Site(root=Path("/nonexistent"), values={}, tinyurl_name="x", repository="x", public_base_url="https://sho.rt")


def tally(good: int, bad: int, canaries: int = 0) -> Tally:
    found = Tally(canary_failures=canaries, last_failure="/openapi.json answered 500, not 200")
    for status, count in ((302, good), (503, bad)):
        for _ in range(count):
            found.count(json.dumps({"status": status}))
    return found


@pytest.mark.parametrize(
    ("good", "bad", "canaries", "stays"),
    [
        (0, 0, 0, True),
        (0, 0, 2, True),
        (0, 0, 3, False),
        (0, 99, 0, True),  # too few to judge
        (0, 100, 0, False),
        (99, 1, 0, True),  # one in a hundred is not more than that
        (98, 2, 0, False),
        (100_000, 1000, 0, True),
        (98_000, 1000, 0, False),
    ],
)
def test_verdict(good: int, bad: int, canaries: int, stays: bool) -> None:
    assert (tally(good, bad, canaries).verdict(SITE) == "") is stays


def test_verdict_says_why() -> None:
    assert "/openapi.json" in tally(0, 0, 3).verdict(SITE)
    assert "100 of 200" in tally(100, 100).verdict(SITE)


def test_other_lines_are_passed_over() -> None:
    """nginx's own messages are in the same log; a visitor's path cannot forge a status."""
    found = tally(1, 0)
    for line in (
        "nginx: [warn] something",
        "",
        "17",
        '{"path": "x"}',
        json.dumps({"path": '","status":503', "status": 302}),
    ):
        found.count(line)

    assert (found.answers, found.errors) == (2, 0)
