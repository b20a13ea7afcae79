"""Conditions of redirect rules both ways: Shlink's, of which all have to hold, and ours, of which each may have several values.

`rules.py` turns whole rules by these. What one side has no words for is `Inexpressible`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from services.links.compat.shlink.dates import read_date, write_date
from services.links.web.texts import parse_instant
from shared.api import MOST_RULES
from shared.facts import read_network

SYSTEMS = ("android", "ios", "windows", "macos", "linux", "chromeos")
BROWSERS = ("chrome", "firefox", "edge", "safari", "opera")
HANDHELD = ("mobile", "tablet")
"""What Shlink calls mobile."""

_wildcards = re.compile(r"((?:[0-9]{1,3}\.){1,3})\*(?:\.\*)*").fullmatch

Condition = dict[str, str | None]


class Inexpressible(ValueError):
    """The other side has no word for it; the text says for what."""


def write_rule(rule: Mapping[str, Any]) -> Iterator[tuple[str, list[Condition]]]:
    """Write a stored rule: as several if a condition has several values.

    Raises:
        Inexpressible: Shlink cannot say it.
    """
    if "split" in rule:
        raise Inexpressible("a split")
    alternatives = [list(_write_condition(name, wanted)) for name, wanted in rule["if"].items()]
    if prod(map(len, alternatives)) > MOST_RULES:
        raise Inexpressible(f"more than {MOST_RULES} combinations of values")
    for chosen in product(*alternatives):
        yield rule["url"], list(chosen)


def read_conditions(conditions: Sequence[object]) -> dict[str, object]:
    """Read the conditions of a rule of Shlink's.

    Raises:
        Inexpressible: One of them cannot be said here, or two of one kind.
    """
    found: dict[str, object] = {}
    for condition in conditions:
        if not isinstance(condition, dict):
            raise Inexpressible("what is no condition")
        kind, wanted = condition.get("type"), condition.get("matchValue")
        read = _READERS.get(str(kind))
        if read is None:
            raise Inexpressible(f"the condition {str(kind)[:40]!r}")
        name, value = read(condition.get("matchKey"), wanted)
        if found.get(name, value) != value:
            raise Inexpressible(f"two conditions of {name} that both have to hold")
        found[name] = value
    return found


def _write_condition(name: str, wanted: Any) -> Iterator[Condition]:
    """Write a condition of ours as those of which one has to hold.

    Raises:
        Inexpressible: Shlink has none like it.
    """
    write = _WRITERS.get(name)
    if write is None:
        raise Inexpressible(f"the condition {name!r}")
    yield from write(wanted)


def _write_device(wanted: Sequence[str]) -> Iterator[Condition]:
    if set(wanted) >= set(HANDHELD):
        yield _condition("device", "mobile")
    elif set(wanted) & set(HANDHELD):
        raise Inexpressible("phones without tablets, or tablets without phones")
    if "desktop" in wanted:
        yield _condition("device", "desktop")


def _write_browser(wanted: Sequence[str]) -> Iterator[Condition]:
    for browser in wanted:
        if browser not in BROWSERS:
            raise Inexpressible(f"the browser {browser!r}")
        yield _condition("browser", browser)


def _write_language(wanted: Sequence[str]) -> Iterator[Condition]:
    for tag in wanted:
        first, *rest = tag.split("-")
        yield _condition("language", "-".join((first, *(part.upper() if len(part) == 2 else part for part in rest))))


def _write_query(wanted: Sequence[Mapping[str, str]]) -> Iterator[Condition]:
    for each in wanted:
        value = each.get("value")
        if value is None:
            yield _condition("any-value-query-param", None, each["name"])
        elif value:
            yield _condition("query-param", value, each["name"])
        else:
            yield _condition("valueless-query-param", None, each["name"])


def _write_address(wanted: Sequence[str]) -> Iterator[Condition]:
    for text in wanted:
        network = read_network(text)
        is_one = network.prefixlen == network.max_prefixlen
        yield _condition("ip-address", str(network.network_address) if is_one else str(network))


def _condition(kind: str, value: str | None, key: str | None = None) -> Condition:
    return {"type": kind, "matchKey": key, "matchValue": value}


def _same(kind: str) -> Callable[[Sequence[str]], Iterator[Condition]]:
    return lambda wanted: (_condition(kind, value) for value in wanted)


def _moment(kind: str) -> Callable[[str], Iterator[Condition]]:
    return lambda wanted: iter([_condition(kind, write_date(parse_instant(wanted)))])  # type: ignore[arg-type]  # of a text


_WRITERS: Mapping[str, Callable[[Any], Iterator[Condition]]] = {
    "device": _write_device,
    "os": _same("device"),
    "browser": _write_browser,
    "language": _write_language,
    "country": _same("geolocation-country-code"),
    "query": _write_query,
    "address": _write_address,
    "before": _moment("before-date"),
    "after": _moment("after-date"),
}


def _read_device(_key: object, value: object) -> tuple[str, object]:
    if value in SYSTEMS:
        return "os", [value]
    if value == "mobile":
        return "device", list(HANDHELD)
    if value == "desktop":
        return "device", ["desktop"]
    raise Inexpressible(f"the device {_shown(value)}")


def _read_browser(_key: object, value: object) -> tuple[str, object]:
    if value not in BROWSERS:
        raise Inexpressible(f"the browser {_shown(value)}")
    return "browser", [value]


def _read_parameter(value_of: Callable[[object], Mapping[str, object]]) -> Callable[..., tuple[str, object]]:
    def read(key: object, value: object) -> tuple[str, object]:
        return "query", [{"name": key, **value_of(value)}]

    return read


def _read_address(_key: object, value: object) -> tuple[str, object]:
    """Read an address, a network, or an address of IPv4 whose last numbers are stars."""
    text = value.strip() if isinstance(value, str) else ""
    found = _wildcards(text)
    if found is not None:
        parts = found[1].rstrip(".").split(".")
        if text.count(".") != 3:
            raise Inexpressible(f"the address {_shown(value)}")
        text = f"{'.'.join((parts + ['0'] * 3)[:4])}/{8 * len(parts)}"
    return "address", [text]


def _read_date(name: str) -> Callable[..., tuple[str, object]]:
    def read(_key: object, value: object) -> tuple[str, object]:
        try:
            return name, write_date(read_date(str(value)))
        except (TypeError, ValueError):
            raise Inexpressible(f"the date {_shown(value)}") from None

    return read


def _plain(name: str) -> Callable[..., tuple[str, object]]:
    return lambda _key, value: (name, [value])


def _shown(value: object) -> str:
    return repr(value)[:80]


_READERS: Mapping[str, Callable[..., tuple[str, object]]] = {
    "device": _read_device,
    "language": _plain("language"),
    "query-param": _read_parameter(lambda value: {"value": value}),
    "any-value-query-param": _read_parameter(lambda _: {}),
    "valueless-query-param": _read_parameter(lambda _: {"value": ""}),
    "ip-address": _read_address,
    "geolocation-country-code": _plain("country"),
    "before-date": _read_date("before"),
    "after-date": _read_date("after"),
    "browser": _read_browser,
}
