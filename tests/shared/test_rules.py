"""Rules against a straightforward model: each condition as one would write it down, rule by rule."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.clicks import Visit
from shared.countries import COUNTRIES
from shared.facts import Facts, read_address, read_host, read_query
from shared.languages import Accepted, read_accepted
from shared.rules import CONDITIONS, WEEKDAYS, Decision, RulesUnreadable
from shared.visits import VisitReader

URL = "https://www.example.com/"
START = datetime(2030, 10, 26, tzinfo=UTC)
"""The day before summer time ends in Berlin."""

ZONES = ["UTC", "Europe/Berlin", "Pacific/Auckland", "America/St_Johns"]
ADDRESSES = ["192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8::1", "2001:db8:1::1"]
NETWORKS = ["192.0.2.0/25", "192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32", "2001:db8::/48"]
HOSTS = ["example.org", "m.example.org", "notexample.org", "org", "example.com"]


def some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3)


moments = st.integers(0, 3 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds))
clocks = st.sampled_from(["00:00", "02:30", "09:00", "17:30", "23:59"])
names = st.sampled_from(["a", "b", "é", ""])
facts = st.builds(
    Facts,
    now=moments.map(datetime.timestamp),
    device=st.sampled_from([None, "mobile", "tablet", "desktop"]),
    os=st.sampled_from([None, "ios", "android"]),
    browser=st.sampled_from([None, "safari", "chrome"]),
    language=st.lists(st.sampled_from(["de", "de-ch", "pt-br", "fr", "en-us"]), unique=True, max_size=3).map(
        lambda ranges: Accepted(tuple(ranges))
    ),
    country=st.sampled_from([None, "DE", "NZ"]),
    query=st.lists(st.tuples(names, names), max_size=3),
    referrer=st.sampled_from([None, *HOSTS]),
    address=st.sampled_from([None, *map(ip_address, ADDRESSES)]),
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "device": some(["mobile", "tablet", "desktop"]),
        "os": some(["ios", "android", "windows"]),
        "browser": some(["safari", "chrome", "edge"]),
        "language": some(["de", "de-ch", "pt", "pt-br", "fr"]),
        "country": some(["DE", "NZ", "FR"]),
        "query": st.lists(st.fixed_dictionaries({"name": names}, optional={"value": names}), min_size=1, max_size=2),
        "referrer": some(HOSTS),
        "after": moments.map(datetime.isoformat),
        "before": moments.map(datetime.isoformat),
        "weekday": some(["fri", "sat", "sun", "mon", "tue"]),
        "time": st.lists(
            st.tuples(clocks, clocks | st.just("24:00")).filter(lambda span: span[0] != span[1]).map("-".join),
            min_size=1,
            max_size=2,
        ),
        "time_zone": st.sampled_from(ZONES),
        "address": some(NETWORKS),
    },
)
all_rules = st.lists(conditions, max_size=5).map(
    lambda every: [{"if": each, "url": f"{URL}{number}"} for number, each in enumerate(every, 1)]
)


def holds(name: str, wanted: Any, visit: Facts, zone: ZoneInfo) -> bool:  # one for each condition
    """One condition, as its description says it."""
    local = datetime.fromtimestamp(visit.now, UTC).astimezone(zone)
    if name == "query":
        return any(
            each["name"] == key and ("value" not in each or each["value"] == value)
            for each in wanted
            for key, value in visit.query
        )
    if name == "referrer":
        labels = (visit.referrer or "").split(".")
        return any(labels[-len(domain.split(".")) :] == domain.split(".") for domain in wanted)
    if name == "after":
        return local >= datetime.fromisoformat(wanted)
    if name == "before":
        return local < datetime.fromisoformat(wanted)
    if name == "weekday":
        return local.strftime("%a").lower() in wanted
    if name == "time":
        clock = local.strftime("%H:%M")
        for span in wanted:
            begin, end = span.split("-")
            if (begin <= clock < end) if begin < end else (clock >= begin or clock < end):
                return True
        return False
    if name == "address":
        return visit.address is not None and any(visit.address in ip_network(each) for each in wanted)
    if name == "language":
        return any(shorter in wanted for each in visit.language.wanted for shorter in (each, each.split("-")[0]))
    return getattr(visit, name) in wanted


def holds_in_time(conditions: dict[str, Any], visit: Facts, zone: ZoneInfo) -> bool:
    """Weekday and time together: a span belongs to the day on which it begins."""
    local = datetime.fromtimestamp(visit.now, UTC).astimezone(zone)
    clock, today = local.strftime("%H:%M"), local.strftime("%a").lower()
    yesterday = WEEKDAYS[WEEKDAYS.index(today) - 1]
    for span in conditions["time"]:
        begin, end = span.split("-")
        if begin < end and begin <= clock < end and today in conditions["weekday"]:
            return True
        if begin > end and clock >= begin and today in conditions["weekday"]:
            return True
        if begin > end and clock < end and yesterday in conditions["weekday"]:
            return True
    return False


def winner(rules: list[dict[str, Any]], visit: Facts) -> str:
    """The target of the rule that wins: the first that names the visitor's best language, of those that can win."""
    can_win = []
    for rule in rules:
        zone = ZoneInfo(rule["if"].get("time_zone", "UTC"))
        others = {name: wanted for name, wanted in rule["if"].items() if name not in ("time_zone", "language")}
        together = {"weekday", "time"} <= others.keys()
        singly = {name: wanted for name, wanted in others.items() if not together or name not in ("weekday", "time")}
        if all(holds(name, wanted, visit, zone) for name, wanted in singly.items()) and (
            not together or holds_in_time(others, visit, zone)
        ):
            can_win.append(rule)
            if "language" not in rule["if"]:
                break
    for language in visit.language.wanted:
        for shorter in (language, language.split("-")[0]):
            for rule in can_win:
                if shorter in rule["if"].get("language", ()):
                    return str(rule["url"])
    return str(can_win[-1]["url"]) if can_win and "language" not in can_win[-1]["if"] else URL


@given(rules=all_rules, visit=facts)
@settings(max_examples=500, deadline=None)
def test_rules_are_the_model(rules: list[dict[str, Any]], visit: Facts) -> None:
    """The first rule whose conditions all hold wins, for every kind of condition, and else the link's own target."""
    decision = Decision(URL, json.dumps(rules), None, None)

    assert decision.choose(visit).choose(b"").url == winner(rules, visit)
    for rule, compiled in zip(rules, decision.rules, strict=True):
        zone = ZoneInfo(rule["if"].get("time_zone", "UTC"))
        for condition in compiled.conditions:
            if condition.name == "weekday" and "time" in rule["if"]:
                continue
            assert condition.holds(visit) == holds(condition.name, rule["if"][condition.name], visit, zone)


@pytest.mark.parametrize(
    ("rules", "header", "expected"),
    [
        # A rule that cannot win takes no visitor from another one.
        ([{"language": ["en"]}, {"language": ["en-us"], "query": [{"name": "x"}]}], "en-US,en;q=0.9", "1"),
        ([{"language": ["fr"], "country": ["FR"]}, {"language": ["de"]}], "fr, de;q=0.9", "2"),
        ([{"language": ["de"]}, {"before": "2040-01-01T00:00:00Z"}, {"language": ["en"]}], "en, de;q=0.5", "1"),
        # The visitor's best language wins, and of one language the whole tag.
        ([{"language": ["de"]}, {"language": ["en"]}], "en, de;q=0.5", "2"),
        ([{"language": ["en"]}, {"language": ["en-us"]}], "en-US,en;q=0.9", "2"),
        ([{"language": ["en"]}, {"language": ["en", "de"]}], "en", "1"),
        # Without any of their languages, the first rule that asks for none.
        ([{"language": ["de"]}, {"before": "2040-01-01T00:00:00Z"}], "en", "2"),
        ([{"language": ["de"]}, {"language": ["en-us"]}], "en", ""),
    ],
)
def test_language_is_chosen_among_rules_that_can_win(rules: list[dict[str, Any]], header: str, expected: str) -> None:
    """A visitor gets the best language that a rule can give him; rules whose other conditions fail do not count."""
    compiled = Decision(
        URL, json.dumps([{"if": each, "url": f"{URL}{n}"} for n, each in enumerate(rules, 1)]), None, None
    )
    visit = Facts(START.timestamp(), language=read_accepted(header))

    assert compiled.choose(visit).choose(b"").url == f"{URL}{expected}"


@pytest.mark.parametrize(
    ("network", "address", "expected"),
    [
        ("::ffff:127.0.0.0/104", b"127.1.2.3", True),
        ("::ffff:127.0.0.0/104", b"::ffff:127.1.2.3", True),
        ("::ffff:192.0.2.1", b"192.0.2.1", True),
        ("::ffff:192.0.2.1", b"192.0.2.2", False),
        ("::ffff:0:0/96", b"192.0.2.2", True),
        ("::/0", b"2001:db8::1", True),
    ],
)
def test_mapped_networks_are_those_of_ipv4(network: str, address: bytes, expected: bool) -> None:
    """A network of IPv4 addresses in a form of IPv6 has the visitors whose addresses are in it."""
    decision = Decision(URL, json.dumps([{"if": {"address": [network]}, "url": f"{URL}1"}]), None, None)

    assert (decision.choose(Facts(0.0, address=read_address(address))).choose(b"").url != URL) == expected


def test_model_knows_every_condition() -> None:
    """No condition is left out of the comparison."""
    drawn: set[str] = set()

    @given(each=conditions)
    @settings(database=None, derandomize=True, deadline=None)
    def draw(each: dict[str, Any]) -> None:
        drawn.update(each)

    draw()

    assert drawn == {*CONDITIONS, "time_zone"}


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        (b"https://www.Example.org/a?b", "www.example.org"),
        (b"http://example.org:8080", "example.org"),
        (b"https://user@example.org./", "example.org"),
        (b"https://evil.example\\.good.example/", "evil.example"),
        (b"https://evil.example/@good.example/", "evil.example"),
        (b"https://evil.example#good.example", "evil.example"),
        (b"android-app://com.example/", None),
        (b"https://[2001:db8::1]/", None),
        (b"https://" + b"a" * 400, None),
        (b"about:blank", None),
        (b"", None),
    ],
)
def test_host_of_a_page(raw: bytes, host: str | None) -> None:
    """The host is what a browser takes for it."""
    assert read_host(raw) == host


def test_query_is_read_as_forms_write_it() -> None:
    """Pluses are blanks, octets are UTF-8, and only so many parameters are read."""
    assert read_query(b"a=1&b&&c=%C3%A9+x&=y&d=%ff") == [
        ("a", "1"),
        ("b", ""),
        ("c", "é x"),
        ("", "y"),
        ("d", "\ufffd"),
    ]
    assert len(read_query(b"&".join([b"a=1"] * 5000))) == 100


@pytest.mark.parametrize(
    ("agent", "device", "system", "browser"),
    [
        (("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "
         "Mobile/15E148 Safari/604.1"), "mobile", "ios", "safari"),
        (("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 "
         "Mobile/15E148 Safari/604.1"), "mobile", "ios", "chrome"),
        (("Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile "
         "Safari/537.36"), "mobile", "android", "chrome"),
        (("Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 "
         "Chrome/120.0.0.0 Safari/537.36"), "tablet", "android", "samsung"),
        (("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 "
         "Safari/537.36 Edg/141.0.0.0"), "desktop", "windows", "edge"),
        ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "desktop", "linux", "firefox"),
        (("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 "
         "Safari/605.1.15"), "desktop", "macos", "safari"),
        ("curl/8.5.0", None, None, None),
        ("", None, None, None),
    ],
)  # fmt: skip
def test_facts_of_user_agents(agent: str, device: str | None, system: str | None, browser: str | None) -> None:
    """A browser has one name on phones and desks; what is no known one has none."""
    reader = VisitReader(COUNTRIES)
    decision = Decision(
        URL, '[{"if": {"device": ["mobile"], "country": ["NZ"]}, "url": "https://a.example/"}]', None, None
    )
    reader.load(decision)
    found = reader.read(decision, Visit(b"219.88.161.1", agent.encode(), None, None, b"", 0.0))

    assert (found.device, found.os, found.browser, found.country) == (device, system, browser, "NZ")


@pytest.mark.parametrize(
    "rules", ['[{"if": {"moon": []}, "url": ""}]', "[1]", "7", '[{"url": ""}]', '[{"if": {}}]', "["]
)
def test_what_is_not_known_is_refused(rules: str) -> None:
    """Rules that this release cannot read are no rules of another meaning."""
    with pytest.raises(RulesUnreadable):
        Decision(URL, rules, None, None)
