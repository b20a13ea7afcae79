"""The shapes of countries for the map, by their ISO 3166 code; no other host is asked for them.

The shapes are Natural Earth's 1:110m boundaries, which are in the public domain, from the package world-atlas 2.0.2 (ISC),
with codes in the place of numbers, without Antarctica, and with coordinates rounded to about 3 km. Countries too small for
that scale have no shape. The browser draws them from `world.json`.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


@cache
def world_shapes() -> dict[str, Any]:
    """Return a TopoJSON topology; the features of its object `countries` have the countries' codes as ids."""
    shapes: dict[str, Any] = json.loads((_FOLDER / "world.json").read_bytes())
    return shapes
