"""The names of countries in English, by their ISO 3166 code."""

import json
from functools import cache
from pathlib import Path


def country_name(code: str) -> str:
    """Return the name of a country; for an unknown code, the code itself."""
    return _names().get(code, code)


@cache
def _names() -> dict[str, str]:
    names: dict[str, str] = json.loads(Path(__file__).with_suffix(".json").read_bytes())
    return names
