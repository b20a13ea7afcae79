"""Shlink's own SDK, unchanged, through nginx: every method, and what its users rely on from one to the next."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.links.clicks.counts import EnrichedClick
from services.links.clicks.rows import insert_clicks
from services.links.compat.shlink.agents import typical_agent
from shared.api import Dimensions
from shared.postgres import Connection
from tests.compat.npm import BINARIES, node_environment, npm_clients, run_npm
from tests.dashboard.browser import ONE_BY_ONE
from tests.dashboard.site import DashboardSite

__all__ = ["npm_clients"]

pytestmark = ONE_BY_ONE
"""With the browser's tests, which need the same packages: they are installed once."""

URL = "https://example.com"
NOBODY = {"total": 0, "nonBots": 0, "bots": 0}

Sdk = Callable[..., Any]


class Refused(Exception):
    """The SDK threw this problem."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem)
        self.problem = problem


@contextmanager
def running_sdk(folder: Path, url: str, key: str, kind: str = "fetch") -> Iterator[Sdk]:
    """Run the SDK for the length of a block: `sdk("method", argument, …)` returns what the method gives."""
    command = [str(BINARIES / "node"), str(folder / "shlink" / "sdk.js"), kind, url, key]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=node_environment()
    ) as process:

        def call(method: str, *arguments: object) -> Any:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps([method, arguments]) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "error" in answer:
                raise Refused(answer["error"])
            return answer["value"]

        try:
            yield call
        finally:
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture
def sdk(npm_clients: Path, site: DashboardSite, request: pytest.FixtureRequest) -> Iterator[Sdk]:  # the fixture
    """The SDK with the key of an owner who has nothing yet."""
    key = site.key(f"sdk-{request.node.originalname}", "links:read", "links:write", "stats:read")
    with running_sdk(npm_clients, site.url, key) as call:
        yield call


def test_short_url_lives(sdk: Sdk) -> None:
    """A new link comes back as it was sent, is the only one of the list, keeps the order of its tags, and goes."""
    made = sdk("createShortUrl", {"longUrl": URL})
    listed = sdk("listShortUrls")

    assert made["longUrl"] == URL
    assert listed["data"] == [made]
    assert listed["pagination"]["totalItems"] == 1
    assert sdk("getShortUrl", made) == made
    assert sdk("updateShortUrl", made, {"tags": ["one", "two"]})["tags"] == ["one", "two"]
    assert sdk("deleteShortUrl", made) is None
    assert sdk("listShortUrls")["data"] == []
    with pytest.raises(Refused) as refused:
        sdk("getShortUrl", made)
    assert refused.value.problem["type"] == "https://shlink.io/api/error/short-url-not-found"
    assert refused.value.problem["shortCode"] == made["shortCode"]


def test_tags_live(sdk: Sdk) -> None:
    """Tags are listed by name, one is renamed with its capitals, and all go at once while the links stay."""
    for tags in (["foo", "bar"], ["bar", "baz"]):
        sdk("createShortUrl", {"longUrl": URL, "tags": tags})

    assert sdk("listTags")["data"] == ["bar", "baz", "foo"]
    sdk("editTag", {"oldName": "foo", "newName": "fooRenamed"})
    assert sdk("listTags")["data"] == ["bar", "baz", "fooRenamed"]
    stats = sdk("tagsStats")
    assert stats["data"][0] == {"tag": "bar", "shortUrlsCount": 2, "visitsSummary": NOBODY}
    sdk("deleteTags", ["bar", "baz", "fooRenamed", "none"])
    assert sdk("listTags")["data"] == []
    assert len(sdk("listShortUrls", {"itemsPerPage": 100})["data"]) == 2


def test_visits_are_read(sdk: Sdk, site: DashboardSite) -> None:
    """Each list of visits has the clicks of its links, and the overview adds them up."""
    made = sdk("createShortUrl", {"longUrl": URL, "tags": ["seen"]})
    sdk("createShortUrl", {"longUrl": URL})
    click_link(site, made["shortCode"])
    (visit, bot) = sdk("getShortUrlVisits", made, {"itemsPerPage": 5000})["data"]

    assert (bot["potentialBot"], visit["potentialBot"]) == (True, False)
    assert visit["visitedUrl"] == made["shortUrl"]
    assert visit["visitLocation"]["countryName"] == "Germany"
    assert (visit["referer"], bot["referer"]) == ("https://news.example", "")
    assert "Firefox/" in visit["userAgent"]
    assert sdk("getTagVisits", "seen", {"excludeBots": True})["data"] == [visit]
    assert sdk("getDomainVisits", "DEFAULT")["data"] == [visit, bot]
    assert sdk("getNonOrphanVisits", {"page": 2, "itemsPerPage": 1})["data"] == [bot]
    assert sdk("getOrphanVisits")["data"] == []
    two = {"total": 2, "nonBots": 1, "bots": 1}
    assert sdk("getVisitsOverview") == {"nonOrphanVisits": two, "orphanVisits": NOBODY}
    assert sdk("getShortUrl", made)["visitsSummary"] == two
    assert sdk("deleteShortUrlVisits", made) == {"deletedVisits": 2}
    assert sdk("deleteOrphanVisits") == {"deletedVisits": 0}


def test_rules_are_set(sdk: Sdk) -> None:
    """Rules come back as they were set, in their order."""
    made = sdk("createShortUrl", {"longUrl": URL})
    rules = [
        {"longUrl": f"{URL}/{value}", "conditions": [{"type": kind, "matchKey": key, "matchValue": value}]}
        for kind, key, value in (("device", None, "android"), ("query-param", "q", "x"), ("language", None, "en-GB"))
    ]
    found = sdk("setShortUrlRedirectRules", made, {"redirectRules": rules})

    assert found["defaultLongUrl"] == URL
    assert found["redirectRules"] == [{**rule, "priority": place} for place, rule in enumerate(rules, 1)]
    assert sdk("getShortUrlRedirectRules", made) == found
    assert sdk("getShortUrl", made)["hasRedirectRules"] is True
    assert sdk("setShortUrlRedirectRules", made, {"redirectRules": []})["redirectRules"] == []


def test_site_tells_of_itself(sdk: Sdk, site: DashboardSite, npm_clients: Path) -> None:  # the fixture
    """Health, domains and their redirects are there; Mercure is not, and says so by Shlink's own type."""
    health = sdk("health")
    domains = sdk("listDomains")["data"]

    assert (health["status"], health["version"]) == ("pass", "5.1.0")
    assert [each["isDefault"] for each in domains] == [True]
    assert sdk("health", {"domain": domains[0]["domain"]}) == health
    with pytest.raises(Refused) as refused:
        sdk("mercureInfo")
    assert refused.value.problem["type"] == "https://shlink.io/api/error/mercure-not-configured"
    with running_sdk(npm_clients, site.url, site.key("operator", "admin")) as admin:
        changed = {"domain": domains[0]["domain"], "invalidShortUrlRedirect": "https://www.example.com/gone"}
        assert admin("editDomainRedirects", changed)["invalidShortUrlRedirect"] == changed["invalidShortUrlRedirect"]
        assert admin("editDomainRedirects", {**changed, "invalidShortUrlRedirect": None})["baseUrlRedirect"] is None


def test_old_client_of_node_works(npm_clients: Path, site: DashboardSite) -> None:  # the fixture
    """The SDK's older client says that its body is JSON also where it has none."""
    with running_sdk(npm_clients, site.url, site.key("older", "links:read", "links:write"), "node") as call:
        made = call("createShortUrl", {"longUrl": URL, "customSlug": "a slug"})
        assert made["shortCode"] == "a-slug"
        assert call("listShortUrls")["data"] == [made]
        assert call("deleteShortUrl", made) is None
        assert call("listTags")["data"] == []


def click_link(site: DashboardSite, code: str) -> None:
    """Store a click of a person and, before it, one of a bot."""

    async def store(conn: Connection) -> None:
        row = await conn.fetchrow("SELECT id, owner FROM links WHERE code = $1", code)
        assert row is not None
        now = int(datetime.now(UTC).timestamp()) * 1_000_000
        person = Dimensions("DE", "Firefox", "Linux", "desktop", "news.example", "de")
        bot = Dimensions("unknown", "unknown", "unknown", "other", "unknown", "unknown")
        clicks = [
            EnrichedClick(now - 2_000_000, row["id"], row["owner"], b"b" * 16, True, bot),
            EnrichedClick(now, row["id"], row["owner"], b"a" * 16, False, person),
        ]
        async with conn.transaction():
            await insert_clicks(conn, clicks)

    site.query(store)


@pytest.mark.parametrize("device", ["desktop", "mobile", "tablet"])
def test_typical_agents_are_read_as_what_they_stand_for(npm_clients: Path, device: str) -> None:
    """What Shlink's client reads of a typical agent, by the library that it has, is that browser on that system, or a bot."""
    systems = {
        "Windows": "Windows",
        "Mac OS X": "macOS",
        "Linux": "Linux",
        "Android": "Android",
        "iOS": "iOS",
        "Chrome OS": "Chrome OS",
    }
    browsers = {
        "Chrome": "Chrome", "Chrome Mobile": "Chrome", "Chrome Mobile iOS": "Chrome", "Firefox": "Firefox",
        "Firefox Mobile": "Firefox", "Firefox iOS": "Firefox", "Safari": "Safari", "Mobile Safari": "Safari",
        "Edge": "Microsoft Edge", "Edge Mobile": "Microsoft Edge", "Opera": "Opera", "Opera Mobile": "Opera",
        "Samsung Internet": "Samsung Internet for Android", "Vivaldi": "Vivaldi", "Yandex Browser": "Yandex Browser",
        "UC Browser": "UC Browser", "IE": "Internet Explorer", "Android": "Android Browser",
    }  # fmt: skip
    kinds = [
        (browser, system)
        for browser in browsers
        for system in systems
        # Those that there are.
        if (browser == "Android" and system == "Android")
        or (browser not in ("Android", "Safari", "Mobile Safari"))
        or ("Safari" in browser and system != "Android")
    ]
    agents = [typical_agent(*kind, device, is_bot=False) for kind in kinds]
    sent = [
        *agents,
        typical_agent("unknown", "unknown", "other", is_bot=True),
        typical_agent("unknown", "Windows", "desktop", is_bot=False),
    ]
    answer = run_npm(
        "node", "shlink/agents.js", folder=npm_clients, sent="".join(f"{json.dumps(each)}\n" for each in sent)
    )
    *found, bot, nameless = [tuple(json.loads(line)) for line in answer.splitlines()]
    wrong = {
        kind: (seen, agent)
        for kind, seen, agent in zip(kinds, found, agents, strict=True)
        if seen != (browsers[kind[0]], systems[kind[1]])
    }

    assert wrong == {}
    assert bot[0] not in browsers.values()
    assert nameless[1] == "Windows"
