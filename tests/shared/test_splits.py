"""Splits: shares as the weights say, the same target for the same visitor, and few who move."""

import subprocess
import sys

from shared.splits import Split

VISITORS = [b"203.0.%d.%d\0Mozilla/5.0 (%d)" % (n >> 8 & 255, n & 255, n) for n in range(100_000)]
TARGETS = [("a", 50), ("b", 30), ("c", 15), ("d", 5)]
SALT = "01234567-89ab-cdef-0123-456789abcdef"


def counted(chosen: list[int]) -> list[int]:
    return [chosen.count(place) for place in range(len(TARGETS))]


def choose(targets: list[tuple[str, int]], salt: str = SALT) -> list[int]:
    split = Split(targets, salt)
    return [split.choose(visitor) for visitor in VISITORS]


def chi_square(found: list[int], weights: list[int]) -> float:
    expected = [sum(found) * weight / sum(weights) for weight in weights]
    return sum((count - wanted) ** 2 / wanted for count, wanted in zip(found, expected, strict=True))


def test_shares_are_those_of_the_weights() -> None:
    """Over 100,000 visitors the shares fit the weights (chi-square, 3 degrees of freedom: 16.3 is exceeded once in 1,000)."""
    weights = [weight for _, weight in TARGETS]

    assert chi_square(counted(choose(TARGETS)), weights) < 16.3
    assert chi_square(counted(choose([(name, 1) for name, _ in TARGETS], "another")), [1] * 4) < 16.3
    # The control: a share that is off by a thirtieth is noticed.
    off = [weight * (1.033 if place == 0 else 1) for place, weight in enumerate(weights)]
    assert chi_square([round(100_000 * each / sum(off)) for each in off], weights) > 16.3


def test_targets_are_independent_of_another_links() -> None:
    """With another salt, who got one target gets any of them, as often as the weights say."""
    first, second = choose(TARGETS), choose(TARGETS, "another")
    of_first = [now for before, now in zip(first, second, strict=True) if before == 0]

    assert chi_square(counted(of_first), [weight for _, weight in TARGETS]) < 16.3


def test_all_processes_choose_alike() -> None:
    """A visitor gets the same target at every replica and after every restart."""
    program = (
        "from tests.shared.test_splits import *\n"
        "split = Split(TARGETS, SALT)\nprint([split.choose(visitor) for visitor in VISITORS[:2000]])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == f"{choose(TARGETS)[:2000]}\n"
    assert choose(TARGETS) == choose(TARGETS)


def test_few_move_when_a_weight_changes() -> None:
    """Only as many visitors move as have to, all of them to the target that gained, or away from the one that lost."""
    before = choose(TARGETS)
    gained = choose([("a", 50), ("b", 30), ("c", 15), ("d", 10)])
    lost = choose([("a", 50), ("b", 0), ("c", 15), ("d", 5)])
    moved = {(old, new) for old, new in zip(before, gained, strict=True) if old != new}
    left = {(old, new) for old, new in zip(before, lost, strict=True) if old != new}

    assert {new for _, new in moved} == {3}
    assert {old for old, _ in left} == {1}
    # Its share grows from 5 of 100 to 10 of 105.
    share = sum(old != new for old, new in zip(before, gained, strict=True)) / len(VISITORS)
    assert abs(share - (10 / 105 - 5 / 100)) < 0.005


def test_order_and_doubled_weights_move_nobody() -> None:
    """Who gets what depends on names and on the proportion of weights."""
    before = choose(TARGETS)
    turned = choose(TARGETS[::-1])
    doubled = choose([(name, 2 * weight) for name, weight in TARGETS])

    assert before == doubled == [len(TARGETS) - 1 - place for place in turned]
