"""Turns Shlink's redirect rules into the rules of a link."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from services.links.sources.drafts import text_of
from services.links.sources.found import Hints
from services.links.sources.reading.times import read_time, spell_time

_SYSTEMS = frozenset({"android", "ios", "windows", "macos", "linux", "chromeos"})
_BROWSERS = frozenset({"chrome", "firefox", "edge", "safari", "opera"})


class ShlinkRule(NamedTuple):
    """A rule of Shlink: its target, and its conditions, each with `type`, `matchKey` and `matchValue`."""

    url: str
    conditions: Sequence[Mapping[str, Any]]


class _Unlike(ValueError):
    """This shortener has no such condition."""


def turn_rules(rules: Iterable[ShlinkRule], hints: Hints, notices: list[str]) -> list[dict[str, object]]:
    """Turn rules, in their order; those that cannot be turned are named in notices.

    A rule without conditions never holds in Shlink, and is left out.
    """
    turned: list[dict[str, object]] = []
    for number, rule in enumerate(rules, 1):
        if not rule.conditions:
            continue
        try:
            turned.append({"if": _turn(rule.conditions, hints), "url": rule.url})
        except ValueError as error:
            notices.append(f"Its redirect rule {number} is left out: {error}.")
    return turned


def _turn(conditions: Sequence[Mapping[str, Any]], hints: Hints) -> dict[str, object]:
    turned: dict[str, object] = {}
    for condition in conditions:
        kind, key, value = (text_of(condition, name) for name in ("type", "matchKey", "matchValue"))
        name, wanted = _turn_one(kind, key, value, hints)
        if turned.setdefault(name, wanted) != wanted:
            # Several values of a condition are alternatives here, and all of them have to hold there.
            raise _Unlike(f"it has two conditions {kind}, which would be alternatives here")
    return turned


def _turn_one(kind: str, key: str, value: str, hints: Hints) -> tuple[str, object]:
    match kind:
        case "device" if value in _SYSTEMS:
            return "os", [value]
        case "device" if value in ("mobile", "desktop"):
            return "device", [value]
        case "language":
            return "language", [value]
        case "query-param":
            return "query", [{"name": key, "value": value}]
        case "any-value-query-param":
            return "query", [{"name": key}]
        case "valueless-query-param":
            return "query", [{"name": key, "value": ""}]
        case "ip-address":
            return "address", [_network(value)]
        case "geolocation-country-code":
            return "country", [value.upper()]
        case "browser" if value in _BROWSERS:
            return "browser", [value]
        case "before-date" | "after-date":
            moment = read_time(value, hints)
            if moment is None:
                raise _Unlike("its date is empty")
            return kind.partition("-")[0], spell_time(moment)
    raise _Unlike(f"there is no condition {kind} {value} here".rstrip())


def _network(value: str) -> str:
    """Spell `1.2.3.*` as a network."""
    parts = value.split(".")
    known = next((place for place, part in enumerate(parts) if part == "*"), len(parts))
    if known == len(parts):
        return value
    if len(parts) != 4 or any(part != "*" for part in parts[known:]) or known == 0:
        raise _Unlike(f"{value} is no network")
    return f"{'.'.join(parts[:known] + ['0'] * (4 - known))}/{8 * known}"
