"""Splits visitors over weighted targets: the same visitor always gets the same one, and no cookie is needed.

This is weighted rendezvous hashing (Wang and Ravishankar, 1998; Schindelhauer and Schomaker, 2005): each target draws a number
from the visitor's hash, the highest one in the sense of its weight wins. Where a weight changes, only those visitors move who
have to, towards the target that gained or away from the one that lost.
"""

import math
from collections.abc import Sequence
from hashlib import blake2b

_HASH_BYTES = 8
_RANGE = 2.0 ** (8 * _HASH_BYTES)


class Split:
    """Targets by name and weight.

    Args:
        targets: Names, which are distinct, and weights. One of weight 0 gets nobody; at least one has more.
        salt: The key of the hash: nobody who does not know it can tell what a visitor gets.
    """

    def __init__(self, targets: Sequence[tuple[str, int]], salt: str) -> None:
        key = salt.encode()[:64]
        self._draws = [
            (place, weight, blake2b(name.encode() + b"\0", key=key, digest_size=_HASH_BYTES).copy)
            for place, (name, weight) in enumerate(targets)
            if weight
        ]

    def choose(self, visitor: bytes) -> int:
        """Choose a target for a visitor.

        Returns:
            Its place among the targets.
        """
        best, chosen = math.inf, 0
        for place, weight, copy in self._draws:
            draw = copy()
            draw.update(visitor)
            # Exponentially distributed, with the weight as the rate: each is the least as often as its weight says.
            drawn = -math.log((int.from_bytes(draw.digest(), "big") + 0.5) / _RANGE) / weight
            if drawn < best:
                best, chosen = drawn, place
        return chosen
