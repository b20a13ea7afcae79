"""Links with rules and splits: what a visitor gets, in the lane and beside it, and what the click tells."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from services.redirect.app import create_app
from services.redirect.lane import LaneProtocol
from services.redirect.memory import DecidingEntry, Memory
from services.redirect.protocol import VisitProtocol
from services.redirect.rules import Rules, Undecided
from shared.clicks import Click, ClickParts
from shared.records import LinkKey, Record, VersionedRecord
from shared.settings import RedirectSettings
from tests.conftest import Database
from tests.redirect.conftest import AddLink
from tests.redirect.test_answers import NOW, PLAIN
from tests.serving import client_of, serve

URL = "https://www.example.com/"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "
    "Mobile/15E148 Safari/604.1"
)
DESK = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
RULES = [
    {"name": "phones", "if": {"device": ["mobile"], "os": ["ios"]}, "url": f"{URL}phone"},
    {"if": {"language": ["de", "de-ch"]}, "url": f"{URL}de?own=1"},
    {"if": {"country": ["NZ"]}, "url": f"{URL}nz"},
    {"if": {"query": [{"name": "campaign", "value": "é"}]}, "url": f"{URL}campaign"},
    {"if": {"referrer": ["news.example"]}, "url": f"{URL}news"},
    {"if": {"address": ["198.51.100.0/24", "2001:db8::/32"]}, "url": f"{URL}office"},
    {"if": {"before": "2020-01-01T00:00:00Z"}, "url": f"{URL}once"},
]  # fmt: skip
SPLIT = [{"name": name, "url": f"{URL}{name}", "weight": 1} for name in ("a", "b", "c", "d")]
SALT = "01234567-89ab-cdef-0123-456789abcdef"
BOTH = {"rules": json.dumps(RULES), "split": json.dumps(SPLIT), "split_salt": SALT}

VISITS: list[tuple[dict[str, str], str, str, str]] = [
    ({"User-Agent": PHONE}, "", "phone", "phones"),
    ({"User-Agent": PHONE, "Accept-Language": "de"}, "", "phone", "phones"),
    ({"User-Agent": DESK, "Accept-Language": "fr, de-DE;q=0.5"}, "", "de?own=1", "rule 2"),
    ({"X-Forwarded-For": "219.88.161.1"}, "", "nz", "rule 3"),
    ({}, "?x=1&campaign=%C3%A9", "campaign", "rule 4"),
    ({"Referer": "https://m.news.example:443/a?b"}, "", "news", "rule 5"),
    ({"X-Forwarded-For": "198.51.100.7"}, "", "office", "rule 6"),
    ({"X-Forwarded-For": "2001:db8::1"}, "", "office", "rule 6"),
]


def record(**fields: object) -> Record:
    deciding = {"rules": json.dumps(RULES), "split": json.dumps(SPLIT), "salt": SALT, "min_reader": 3}
    return PLAIN._replace(**{**deciding, **fields})  # type: ignore[arg-type]  # fields of the record


@pytest.fixture(params=[LaneProtocol, VisitProtocol])
async def visitor(
    request: pytest.FixtureRequest, redirect_settings: RedirectSettings, socket: Path, clicks: list[Click]
) -> AsyncIterator[httpx.AsyncClient]:
    """A visitor of a service with the lane, and of one without."""
    app = create_app(redirect_settings, clicks.extend)
    async with serve(app, socket, http=request.param), client_of(socket) as client:
        yield client


async def visit(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> httpx.Response:
    """Send what nginx would, and nothing else."""
    order = ("Host", "X-Forwarded-For", "User-Agent", "Referer", "Accept-Language")
    sent = {"Host": "sho.rt", **headers}
    return await client.send(
        httpx.Request("GET", f"http://sho.rt{path}", headers=[(name, sent[name]) for name in order if name in sent])
    )


async def test_first_rule_that_holds_wins(visitor: httpx.AsyncClient, add_link: AddLink, clicks: list[Click]) -> None:
    """Each visitor goes where the first rule says whose conditions all hold, each time; the click names the rule."""
    await add_link("a", URL, **BOTH)
    for _ in range(2):
        for headers, query, target, variant in VISITS:
            clicks.clear()
            answer = await visit(visitor, f"/a{query}", headers)

            assert (answer.status_code, answer.headers["location"]) == (302, f"{URL}{target}"), headers
            assert answer.headers["cache-control"] == "private, no-store"
            assert [ClickParts(*parts).variant for _, _, parts in clicks] == [variant.encode()]


async def test_split_keeps_its_visitors(visitor: httpx.AsyncClient, add_link: AddLink, clicks: list[Click]) -> None:
    """Visitors to whom no rule applies share the targets of the split, and get the same one each time."""
    await add_link("a", URL, **BOTH)
    got: dict[str, str] = {}
    for _ in range(2):
        for n in range(40):
            headers = {"X-Forwarded-For": f"203.0.113.{n}", "User-Agent": DESK}
            answer = await visit(visitor, "/a", headers)
            assert got.setdefault(headers["X-Forwarded-For"], answer.headers["location"]) == answer.headers["location"]

    assert set(got.values()) == {target["url"] for target in SPLIT}
    assert [f"{URL}{(ClickParts(*parts).variant or b'').decode()}" for _, _, parts in clicks] == [*got.values()] * 2


async def test_query_and_path_go_to_the_chosen_target(visitor: httpx.AsyncClient, add_link: AddLink) -> None:
    """What a link passes on, it passes to the target of the rule."""
    await add_link("a", URL, **BOTH, forward_query=True, forward_path=True)
    answer = await visit(visitor, "/a/b/../c?own=2&x=1", {"Accept-Language": "de"})

    assert answer.headers["location"] == f"{URL}de/c?own=1&x=1"


async def test_rules_hold_for_an_active_link_alone(
    visitor: httpx.AsyncClient, add_link: AddLink, clicks: list[Click]
) -> None:
    """A link that is off, or over, answers as without rules, with nothing counted; without a split, the rest goes to `url`."""
    await add_link("off", URL, **BOTH, enabled=False)
    await add_link("rules", URL, rules=BOTH["rules"])
    answers = [await visit(visitor, path, {"Accept-Language": "xx"}) for path in ("/off", "/off", "/rules", "/rules")]

    assert [answer.status_code for answer in answers] == [410, 410, 302, 302]
    assert answers[3].headers["location"] == URL
    assert [ClickParts(*parts).variant for _, _, parts in clicks] == [b"url"] * 2


async def test_edit_is_seen_by_the_lane(visitor: httpx.AsyncClient, add_link: AddLink, database: Database) -> None:
    """What was made of a record goes with it."""
    await add_link("a", URL, **BOTH)
    headers = {"Accept-Language": "de"}
    for _ in range(3):
        await visit(visitor, "/a", headers)
    conn = await asyncpg.connect(database.owner_url)
    await conn.execute("UPDATE links SET rules = NULL, split = NULL WHERE code = 'a'")
    await conn.execute("INSERT INTO link_changes (domain, code) VALUES ('sho.rt', 'a')")
    await conn.close()
    while (await visit(visitor, "/a", headers)).headers["location"] != URL:
        pass


async def test_rules_of_a_newer_release_are_not_guessed() -> None:
    """A condition that is not known is no reason to follow another rule."""
    rules = Rules(Memory(2**20), None)
    for newer in ('[{"if": {"moon": ["full"]}, "url": "https://a.example/"}]', '[{"if": {}}]', '{"a": 1}', "[1]", "x"):
        with pytest.raises(Undecided):
            await rules.choose(("sho.rt", "a"), record(rules=newer), {}, b"")


async def test_what_was_compiled_stays_with_its_record() -> None:
    """Reading the same record again compiles nothing; another record is compiled anew."""
    memory = Memory(2**20)
    rules = Rules(memory, None)
    key: LinkKey = ("sho.rt", "a")
    first = record(rules=BOTH["rules"])
    deciders = []
    for version, each in enumerate((first, first, first._replace(url=f"{URL}new"))):
        memory.store(key, VersionedRecord(version, each), NOW)
        entry = memory.find(key)
        assert isinstance(entry, DecidingEntry)
        deciders.append(entry.decider)
        await rules.choose(key, each, {}, b"")
        if version == 0:
            made = entry.decider

    assert made is not None
    assert deciders == [None, made, None]


async def test_memory_counts_what_rules_take() -> None:
    """However many rules links have, what is made of them is within what memory counts for them."""
    wide = [{"if": {"language": ["de"], "os": ["ios"]}, "url": f"{URL}{n}"} for n in range(50)]
    long = [{"if": {"query": [{"name": f"{m}"} for m in range(50)]}, "url": f"{URL}{n}"} for n in range(9)]
    many = [{"if": {name: ["a"] for name in ("device", "os", "browser", "country")}, "url": URL} for _ in range(50)]
    small = [{"if": {"weekday": ["mon"]}, "url": URL}]
    for chosen in (wide, long, many, small):
        memory = Memory(2**26)
        rules = Rules(memory, None)
        records = [record(link_id=2**40 + n, rules=json.dumps(chosen)) for n in range(40)]
        await rules.choose(("sho.rt", "first"), records[0], {}, b"")
        tracemalloc.start()
        try:
            for n, each in enumerate(records):
                key: LinkKey = ("sho.rt", f"c{n}")
                memory.store(key, VersionedRecord(n, each), NOW)
                await rules.choose(key, each, {}, b"")
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert all(isinstance(entry, DecidingEntry) and entry.decider for entry in memory.entries.values())
        assert taken < 1.05 * memory.bytes, len(chosen)


def test_plain_redirector_loads_no_parser() -> None:
    """A redirector whose links have no rules has none of the code for them."""
    program = (
        "import sys, services.redirect.app, services.redirect.lane\n"
        "print([name for name in sys.modules if name in ('ua_parser', 'maxminddb', 're2', 'shared.rules', 'shared.visits')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"
