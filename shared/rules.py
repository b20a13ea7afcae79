"""The rules of a link: compiled from the JSON of its record into tests of a visit.

Redirect decides by them (services/redirect/rules.py), and links explains them (services/links/decisions/), by this same code.
Both bring the facts (`facts.py`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from shared.facts import Facts, read_network
from shared.languages import look_up
from shared.splits import Split

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

ELSE = "url"
"""The variant of visitors to whom no rule applies, where the link has no split."""


Test = Callable[[Facts], bool]


class RulesUnreadable(ValueError):
    """The rules have something that this release does not know."""


class Target(NamedTuple):
    """Where a visitor goes, and what statistics call it."""

    variant: str
    url: str
    weight: int = 1


class Destination(NamedTuple):
    """One target, or the targets of a split."""

    targets: tuple[Target, ...]
    split: Split | None = None

    def choose(self, visitor: bytes) -> Target:
        """Return the target of a visitor, whom address and user agent tell from others."""
        return self.targets[0 if self.split is None else self.split.choose(visitor)]


class Condition(NamedTuple):
    """A condition of a rule: its name, the values of which one has to apply, the test, and where days begin for it.

    The test of a language tells whether it is acceptable. Which one is chosen depends on the other rules, too.
    """

    name: str
    wanted: Any
    holds: Test
    zone: ZoneInfo


class Rule(NamedTuple):
    """A rule: where all its conditions hold, it leads to its destination."""

    label: str
    conditions: tuple[Condition, ...]
    destination: Destination


class Decision:
    """All rules of a link, and where it leads if none applies.

    Attributes:
        needs: The names of all conditions.
    """

    def __init__(self, url: str, rules: str | None, split: str | None, salt: str | None) -> None:
        """Compile what a record has.

        Raises:
            RulesUnreadable: A newer release wrote it.
        """
        try:
            self.otherwise = _destination("", {"url": url} if split is None else {"split": json.loads(split)}, salt)
            self.rules = tuple(_rule(number, rule, salt) for number, rule in enumerate(json.loads(rules or "[]"), 1))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RulesUnreadable("the rules have something unknown") from error
        self.needs = frozenset(condition.name for rule in self.rules for condition in rule.conditions)
        self._tests = [(_tests_but_language(rule), _languages(rule), rule) for rule in self.rules]

    @property
    def destinations(self) -> list[Destination]:
        return [*(rule.destination for rule in self.rules), self.otherwise]

    def choose(self, facts: Facts) -> Destination:
        """Return the destination of the rule that wins."""
        winner, _ = self.find_winner(facts)
        return self.otherwise if winner is None else winner.destination

    def find_winner(self, facts: Facts) -> tuple[Rule | None, str | None]:
        """Find the first rule whose conditions all hold, and the language that was chosen.

        Only rules that can win take part in the choice of a language: those whose other conditions all hold, up to the first
        one that asks for no language. So a rule loses a visitor for the language only to a rule that gets him.
        """
        rule_of: dict[str, Rule] = {}
        last: Rule | None = None
        for tests, languages, rule in self._tests:
            for holds in tests:
                if not holds(facts):
                    break
            else:
                if not languages:
                    last = rule
                    break
                for tag in languages:
                    rule_of.setdefault(tag, rule)
        language = look_up(facts.language, rule_of) if rule_of else None
        return (last, None) if language is None else (rule_of[language], language)


def _tests_but_language(rule: Rule) -> tuple[Test, ...]:
    return tuple(each.holds for each in rule.conditions if each.name != "language")


def _languages(rule: Rule) -> Sequence[str]:
    return next((each.wanted for each in rule.conditions if each.name == "language"), ())


def _rule(number: int, rule: Mapping[str, Any], salt: str | None) -> Rule:
    label = rule.get("name") or f"rule {number}"
    conditions = rule["if"]
    zone = ZoneInfo(conditions.get("time_zone", "UTC"))
    compiled = tuple(
        Condition(name, wanted, _test(name, conditions, zone), zone)
        for name, wanted in conditions.items()
        if name != "time_zone"
    )
    return Rule(label, compiled, _destination(label, rule, salt))


def _test(name: str, conditions: Mapping[str, Any], zone: ZoneInfo) -> Test:
    if name == "weekday" and "time" in conditions:
        return _is_weekday_of_span(conditions[name], conditions["time"], zone)
    return _TESTS[name](conditions[name], zone)


def _destination(label: str, rule: Mapping[str, Any], salt: str | None) -> Destination:
    if "split" not in rule:
        return Destination((Target(label or ELSE, rule["url"]),))
    before = f"{label} / " if label else ""
    targets = tuple(Target(f"{before}{each['name']}", each["url"], each["weight"]) for each in rule["split"])
    return Destination(targets, Split([(each["name"], each["weight"]) for each in rule["split"]], salt or ""))


def _among(place: int, wanted: Sequence[str], _zone: ZoneInfo) -> Test:
    values = frozenset(wanted)
    return lambda facts: facts[place] in values


def _accepts(wanted: Sequence[str], _zone: ZoneInfo) -> Test:
    tags = frozenset(wanted)
    return lambda facts: look_up(facts.language, tags) is not None


def _has_parameter(wanted: Sequence[Mapping[str, str]], _zone: ZoneInfo) -> Test:
    pairs = [(each["name"], each.get("value")) for each in wanted]
    return lambda facts: any(
        name == given and (value is None or value == sent) for given, sent in facts.query for name, value in pairs
    )


def _comes_from(wanted: Sequence[str], _zone: ZoneInfo) -> Test:
    hosts, endings = frozenset(wanted), tuple(f".{domain}" for domain in wanted)
    return lambda facts: facts.referrer is not None and (facts.referrer in hosts or facts.referrer.endswith(endings))


def _is_after(wanted: str, _zone: ZoneInfo) -> Test:
    moment = datetime.fromisoformat(wanted).timestamp()
    return lambda facts: facts.now >= moment


def _is_before(wanted: str, _zone: ZoneInfo) -> Test:
    moment = datetime.fromisoformat(wanted).timestamp()
    return lambda facts: facts.now < moment


def _is_weekday(wanted: Sequence[str], zone: ZoneInfo) -> Test:
    days = frozenset(WEEKDAYS.index(day) for day in wanted)
    return lambda facts: datetime.fromtimestamp(facts.now, zone).weekday() in days


def _is_weekday_of_span(wanted: Sequence[str], spans_wanted: Sequence[str], zone: ZoneInfo) -> Test:
    """After midnight, a span that goes over it belongs to the day on which it began."""
    days = frozenset(WEEKDAYS.index(day) for day in wanted)
    spans = [read_span(text) for text in spans_wanted]

    def holds(facts: Facts) -> bool:
        local = datetime.fromtimestamp(facts.now, zone)
        minute = local.hour * 60 + local.minute
        today = local.weekday()
        begun = {today if span[0] <= minute else (today - 1) % 7 for span in spans if _covers(span, minute)}
        return not days.isdisjoint(begun or {today})

    return holds


def _is_time(wanted: Sequence[str], zone: ZoneInfo) -> Test:
    spans = [read_span(text) for text in wanted]

    def holds(facts: Facts) -> bool:
        local = datetime.fromtimestamp(facts.now, zone)
        minute = local.hour * 60 + local.minute
        return any(_covers(span, minute) for span in spans)

    return holds


def _is_address(wanted: Sequence[str], _zone: ZoneInfo) -> Test:
    networks = [read_network(text) for text in wanted]
    return lambda facts: facts.address is not None and any(facts.address in network for network in networks)


def _covers(span: tuple[int, int], minute: int) -> bool:
    """Tell whether a minute of the day is in a span. From a later to an earlier one it goes over midnight."""
    begin, end = span
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def read_span(text: str) -> tuple[int, int]:
    """Read a span of the day such as `09:00-17:30`, as minutes since midnight; its end may be `24:00`."""
    begin, end = (int(hours) * 60 + int(minutes) for hours, minutes in (part.split(":") for part in text.split("-")))
    return begin, end


_TESTS: dict[str, Callable[[Any, ZoneInfo], Test]] = {
    **{name: partial(_among, Facts._fields.index(name)) for name in ("device", "os", "browser", "country")},
    "language": _accepts,
    "query": _has_parameter,
    "referrer": _comes_from,
    "after": _is_after,
    "before": _is_before,
    "weekday": _is_weekday,
    "time": _is_time,
    "address": _is_address,
}

CONDITIONS = tuple(_TESTS)
"""The names of all conditions; `time_zone` is a part of `weekday` and `time`."""
