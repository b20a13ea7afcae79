"""What a click tells: of real user agents, hostile text, referrers, languages and addresses."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from services.links.clicks.enrichment import Enricher, VisitorHash
from shared.agents import Agent
from shared.api import UNKNOWN
from shared.clicks import ClickParts
from shared.countries import COUNTRIES

IPAD = (
    b"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    b"Version/16.6 Mobile/15E148 Safari/604.1"
)
PIXEL = (
    b"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/141.0.0.0 Mobile Safari/537.36"
)
GALAXY_TAB = (
    b"Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
)
CHROME = (
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
EDGE = CHROME + b" Edg/141.0.0.0"
SAFARI = (
    b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    b"Version/17.4 Safari/605.1.15"
)
FIREFOX = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROMEBOOK = (
    b"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
)
TELEVISION = (
    b"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/538.1 (KHTML, like Gecko) Version/6.0 TV Safari/538.1"
)


@pytest.fixture(scope="module")
def enricher() -> Enricher:
    return Enricher()


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (CHROME, Agent(False, "Chrome", "Windows", "desktop")),
        (EDGE, Agent(False, "Edge", "Windows", "desktop")),
        (SAFARI, Agent(False, "Safari", "Mac OS X", "desktop")),
        (FIREFOX, Agent(False, "Firefox", "Linux", "desktop")),
        (CHROMEBOOK, Agent(False, "Chrome", "Chrome OS", "desktop")),
        (PIXEL, Agent(False, "Chrome Mobile", "Android", "mobile")),
        (IPAD, Agent(False, "Mobile Safari", "iOS", "tablet")),
        (GALAXY_TAB, Agent(False, "Chrome", "Android", "tablet")),
        (TELEVISION, Agent(False, "Safari", "Tizen", "other")),
        (b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot)", Agent(True, "Googlebot", UNKNOWN, "other")),
        (b"curl/8.5.0", Agent(True, "curl", UNKNOWN, "other")),
        (b"Slackbot-LinkExpanding 1.0 (+https://api.slack.com)", Agent(True, "Slackbot-LinkExpanding", UNKNOWN, "other")),
        (b"python-requests/2.32.0", Agent(True, "Python Requests", UNKNOWN, "other")),
        (b"a browser that nobody knows", Agent(False, UNKNOWN, UNKNOWN, "other")),
        (b"", Agent(True, UNKNOWN, UNKNOWN, UNKNOWN)),
        (b"   ", Agent(True, UNKNOWN, UNKNOWN, UNKNOWN)),
    ],
)  # fmt: skip
def test_user_agents(enricher: Enricher, agent: bytes, expected: Agent) -> None:
    """Browser, system, class of device, and whether it is a program."""
    assert enricher.parse_agent(agent) == expected


@pytest.mark.parametrize(
    ("referrer", "expected"),
    [
        (b"https://www.example.com/a?b=c", "example.com"),
        (b"https://l.facebook.com/l.php?u=x", "facebook.com"),
        (b"HTTP://News.BBC.co.uk:8080/x", "bbc.co.uk"),
        (b"https://someone.github.io/", "someone.github.io"),
        (b"https://xn--bcher-kva.example.de./", "example.de"),
        (b"https://WWW.Example.CO.UK.:443?x=/y", "example.co.uk"),
        (b"https://example.org#http://other.example/", "example.org"),
        (b"http://user:secret@@evil.example@example.org/x@y", "example.org"),
        (b"https://example.org\\@evil.example/", "example.org"),
        (b"https://xn--bcher-kva.de:8443/", "xn--bcher-kva.de"),
        (b"https://" + b"a" * 63 + b".example.com/" + b"x" * 5000, "example.com"),
        (b"android-app://com.slack/", "com.slack"),
        (b"android-app://com.google.android.gm/", "com.google.android.gm"),
        (b"android-app://com.google.android.youtube/https/www.youtube.com", "com.google.android.youtube"),
        (b"Android-App://Org.Telegram.Messenger", "org.telegram.messenger"),
        (b"android-app://com.example.some_app:8/?x", "com.example.some_app"),
        (b"ios-app://544007664/vnd.youtube/www.youtube.com/watch", "544007664"),
        (b"ios-app://com.google.Gmail", "com.google.gmail"),
        (b"http://localhost:3000/", "localhost"),
        (b"http://192.0.2.1/", "192.0.2.1"),
        (b"http://co.uk/", "co.uk"),
        (b"http://user:secret@example.org/", "example.org"),
        *((wrong, UNKNOWN) for wrong in (
            b"", b"about:blank", b"example.com/x", b"https:///x", b"http://[::1]/", b"http://[::", b"http://a b/",
            b"android-app://", b"android-app:com.slack", b"android-app://com.<b>slack</b>/", b"android-app://" + b"a." * 200,
            b"ios-app:///x", b"chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai/", b"file:///home/", b"ftp://example.org/",
            b"javascript://example.org/%0aalert(1)", b"data:text/html,x", b"http://[2001:db8::1]:8080/", b"http://ex%41mple.org/",
            b"http://ex\x00ample.com/", b"http://\xc3\xa4.de/",
            b"http://" + b"a" * 64 + b".com/", b"http://" + b"a." * 200 + b"com/",
        )),
    ],
)  # fmt: skip
def test_referrers(enricher: Enricher, referrer: bytes, expected: str) -> None:
    """The registrable domain of the host and nothing else of the address."""
    assert enricher.parse_referrer(referrer) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"de", "de"),
        (b"en-GB,en;q=0.9,de;q=0.8", "en"),
        (b" PT_br;q=0.5", "pt"),
        (b"zh-Hant-TW", "zh"),
        (b"fil", "fil"),
        *((wrong, UNKNOWN) for wrong in (
            b"", b"*", b"x", b"*;q=0.1,de", b"123", b"toolonglanguage", b"de\x00", b"\xff\xfe", b"en=x",
        )),
    ],
)  # fmt: skip
def test_languages(enricher: Enricher, header: bytes, expected: str) -> None:
    """The primary subtag of the first language."""
    assert enricher.parse_language(header) == expected


@given(st.lists(st.one_of(st.none(), st.binary(max_size=3000), st.text(max_size=100).map(str.encode)), max_size=8))
def test_nothing_raises_and_all_text_can_be_stored(enricher: Enricher, request_fields: list[bytes | None]) -> None:
    """Whatever is sent, every value is text that Postgres takes, short and never empty."""
    _, dimensions = enricher.enrich(ClickParts(*request_fields))

    for value in dimensions:
        assert 0 < len(value) <= 253
        assert value.encode("utf-8").isascii() or len(value) <= 64
        assert value.isprintable() or "\ufffd" in value
        assert "\x00" not in value


def test_prefetch_is_no_human_click(enricher: Enricher) -> None:
    """A browser that fetched a link ahead is itself, and nobody clicked."""
    parts = ClickParts(address=b"203.0.113.9", agent=CHROME, language=b"de")
    is_bot, dimensions = enricher.enrich(parts)

    assert not is_bot
    assert enricher.enrich(parts._replace(purpose=b"prefetch")) == (True, dimensions)


def test_long_user_agents_are_cut(enricher: Enricher) -> None:
    """What is beyond 512 bytes cannot cost time or room."""
    parts = ClickParts(agent=b"Mozilla/5.0 " + b"x" * 600 + b" Googlebot/2.1")

    assert not enricher.enrich(parts)[0]
    assert enricher.parse_agent.cache_info().currsize <= 16_384


def test_countries_come_from_the_file(tmp_path: Path) -> None:
    """The country of an address, of both versions; what is not in the file or no address is unknown."""
    path = tmp_path / "countries.mmdb"
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test-Country")
    writer.insert_network(IPSet(["203.0.113.0/24"]), {"country": {"iso_code": "NZ"}})
    writer.insert_network(IPSet(["2001:db8::/32"]), {"country": {"iso_code": "DE"}})
    writer.insert_network(IPSet(["198.51.100.0/24"]), {"country": "FR"})
    writer.insert_network(IPSet(["192.0.2.0/24"]), {"country": {"iso_code": "nonsense"}})
    writer.insert_network(IPSet(["192.0.3.0/24"]), {"continent": {"code": "EU"}})
    writer.to_db_file(str(path))
    enricher = Enricher(path)
    found = {
        address: enricher.enrich(ClickParts(address=address.encode("latin-1"), agent=CHROME))[1].country
        for address in (
            "203.0.113.9",
            "2001:db8::9",
            "198.51.100.1",
            "192.0.2.1",
            "192.0.3.1",
            "10.0.0.1",
            "",
            "x",
            "\xff",
        )
    }

    assert found == {
        "203.0.113.9": "NZ",
        "2001:db8::9": "DE",
        "198.51.100.1": "FR",
        **dict.fromkeys(list(found)[3:], UNKNOWN),
    }


def test_every_release_knows_countries() -> None:
    """The database in the repository places well-known networks, of both versions, and no private address."""
    enricher = Enricher(COUNTRIES)
    found = {
        address: enricher.find_country(address.encode())
        for address in (
            "193.0.6.139",
            "2001:67c:2e8:22::c100:68b",
            "200.160.2.3",
            "133.11.0.1",
            "::ffff:8.8.8.8",
            "127.0.0.1",
        )
    }

    assert found == dict(zip(found, ["NL", "NL", "BR", "JP", "US", UNKNOWN], strict=True))


@pytest.mark.parametrize("content", [None, b"", b"this is no database"])
def test_unreadable_country_file_stops_nothing(tmp_path: Path, content: bytes | None) -> None:
    """Clicks are worth more than their countries."""
    path = tmp_path / "countries.mmdb"
    if content is not None:
        path.write_bytes(content)

    assert Enricher(path).find_country(b"203.0.113.9") == UNKNOWN


def test_visitors_are_told_apart_by_address_and_agent() -> None:
    """The same key, address and user agent make the same visitor; another one of these another."""

    def visitor(key: bytes, address: bytes | None, agent: bytes | None) -> bytes:
        return VisitorHash(key).digest(ClickParts(address=address, agent=agent))

    one, other = b"1" * 32, b"2" * 32
    address = ipaddress.ip_address("203.0.113.9").compressed.encode()
    visitors = {
        visitor(one, address, CHROME),
        visitor(other, address, CHROME),
        visitor(one, None, CHROME),
        visitor(one, address, None),
        visitor(one, address, EDGE),
    }

    assert visitor(one, address, CHROME) == visitor(one, address, CHROME)
    assert len(visitors) == 5


def test_visitor_is_the_same_whatever_release_cut_the_agent() -> None:
    """The release before recorded user agents in full: its clicks and this one's have the same visitor."""
    digest = VisitorHash(b"k" * 32).digest
    full, cut, shorter = (ClickParts(address=b"203.0.113.7", agent=b"x" * length) for length in (8000, 512, 511))

    assert digest(full) == digest(cut) != digest(shorter)
