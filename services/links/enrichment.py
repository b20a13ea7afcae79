"""What a click tells beyond its link: browser, system, device, bot, country, referrer, language, and who it was.

The click worker asks it for every click (`services/links/click_batches.py`). Nothing here touches the network, and the client's
address leaves as a country and as a keyed hash alone.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import maxminddb
import structlog
from crawlerdetect.providers.crawlers import data as _crawlers
from crawlerdetect.providers.exclusions import data as _exclusions
from publicsuffixlist import PublicSuffixList
from ua_parser import Parser, Result
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

from shared.clicks import LONGEST_AGENT, LONGEST_LANGUAGE, LONGEST_REFERRER

UNKNOWN = "unknown"

LONGEST_VALUE = 64
"""Characters of a browser's or a system's name."""

REMEMBERED_AGENTS = 16_384
REMEMBERED_REFERRERS = 16_384
REMEMBERED_LANGUAGES = 4096
VISITOR_BYTES = 16

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_match_host = re.compile(r"(?:[0-9a-z_-]{1,63}\.)*[0-9a-z_-]{1,63}").fullmatch
_match_language = re.compile(r"\s*([A-Za-z]{2,8})(?=[-_,;\s]|$)").match
_match_country = re.compile(r"[A-Z]{2}").fullmatch
_TABLET = re.compile(r"iPad|Tablet|Kindle|Silk/|PlayBook", re.IGNORECASE)
_MOBILE = re.compile(r"Mobi|iPhone|iPod|Windows Phone|Opera Mini|IEMobile|KAIOS", re.IGNORECASE)
_DESKTOPS = frozenset(
    {
        "Windows",
        "Mac OS X",
        "Linux",
        "Ubuntu",
        "Debian",
        "Fedora",
        "Chrome OS",
        "FreeBSD",
        "OpenBSD",
        "NetBSD",
        "Solaris",
    }
)

log = structlog.get_logger()


class Agent(NamedTuple):
    """What a user agent tells."""

    is_bot: bool
    browser: str
    os: str
    device: str


class Dimensions(NamedTuple):
    """What clicks are counted by; the names are those of the columns and of `dimension` in the counts."""

    country: str
    browser: str
    os: str
    device: str
    referrer: str
    language: str


class Enricher:
    """The parsers of one process, with what they said last.

    Args:
        country_database: An MMDB file; one that cannot be read is logged, and countries are unknown.
    """

    def __init__(self, country_database: Path | None = None) -> None:
        self._agents = Parser(Resolver(load_lazy_builtins()))
        self._is_crawler = re.compile("|".join(_crawlers), re.IGNORECASE).search
        self._exclusions = re.compile("|".join(_exclusions), re.IGNORECASE)
        self._suffixes = PublicSuffixList()
        self._countries = _open_countries(country_database)
        self.parse_agent = lru_cache(REMEMBERED_AGENTS)(self._parse_agent)
        self.parse_referrer = lru_cache(REMEMBERED_REFERRERS)(self._parse_referrer)
        self.parse_language = lru_cache(REMEMBERED_LANGUAGES)(parse_language)

    def enrich(self, request: tuple[bytes | None, ...]) -> tuple[bool, Dimensions]:
        """Find out whether it is a bot, and the values of the dimensions.

        Args:
            request: Of a click, see `shared/clicks.py`.
        """
        agent = self.parse_agent((request[3] or b"")[:LONGEST_AGENT])
        return agent.is_bot, Dimensions(
            self.find_country(request[1]) if self._countries is not None else UNKNOWN,
            agent.browser,
            agent.os,
            agent.device,
            self.parse_referrer((request[4] or b"")[:LONGEST_REFERRER]),
            self.parse_language((request[5] or b"")[:LONGEST_LANGUAGE]),
        )

    def find_country(self, address: bytes | None) -> str:
        """The ISO 3166 code of an address's country."""
        if self._countries is None or not address:
            return UNKNOWN
        try:
            found = self._countries.get(address.decode("ascii", "replace"))
        except (ValueError, maxminddb.InvalidDatabaseError):
            return UNKNOWN
        country = found.get("country") if isinstance(found, dict) else None
        code = country.get("iso_code") if isinstance(country, dict) else country
        return code if isinstance(code, str) and _match_country(code) else UNKNOWN

    def _parse_agent(self, raw: bytes) -> Agent:
        text = raw.decode("utf-8", "replace")
        if not text.strip():
            # Every browser sends one; what sends none is a program.
            return Agent(True, UNKNOWN, UNKNOWN, UNKNOWN)
        parsed = self._agents.parse(text)
        is_spider = parsed.device is not None and parsed.device.family == "Spider"
        return Agent(
            is_spider or self._is_crawler(self._exclusions.sub("", text)) is not None,
            clean(parsed.user_agent.family if parsed.user_agent else None),
            clean(parsed.os.family if parsed.os else None),
            "other" if is_spider else _device(parsed, text),
        )

    def _parse_referrer(self, raw: bytes) -> str:
        """The registrable domain of a referrer's host (publicsuffix.org); the host itself where there is none."""
        try:
            host = (urlsplit(raw.decode("ascii").strip()).hostname or "").rstrip(".")
        except ValueError:
            return UNKNOWN
        if len(host) > 253 or not _match_host(host):
            return UNKNOWN
        if host.rpartition(".")[2].isdecimal():
            return host
        return self._suffixes.privatesuffix(host) or host


def parse_language(raw: bytes) -> str:
    """The primary subtag of the first language of an Accept-Language (RFC 9110, 12.5.4; RFC 5646)."""
    match = _match_language(raw.decode("latin-1"))
    return UNKNOWN if match is None else match[1].lower()


class VisitorHash:
    """Tells the visitors of one day apart, by address and user agent, for as long as the day's key exists."""

    def __init__(self, key: bytes) -> None:
        self._copy = blake2b(key=key, digest_size=VISITOR_BYTES).copy

    def digest(self, request: tuple[bytes | None, ...]) -> bytes:
        """The visitor who made a click (`shared/clicks.py`)."""
        # A copy costs half of hashing the key anew.
        state = self._copy()
        # An older release records the agent uncut: the visitor is the same.
        state.update((request[1] or b"") + b"\0" + (request[3] or b"")[:LONGEST_AGENT])
        return state.digest()


def clean(text: str | None) -> str:
    """Text that Postgres takes: bounded, without controls; what is nothing is `unknown`."""
    if text is None or text == "Other":
        return UNKNOWN
    return _CONTROLS.sub(" ", text).strip()[:LONGEST_VALUE].strip() or UNKNOWN


def _device(parsed: Result, text: str) -> str:
    """The class of device: Android's own rule is that a phone says `Mobile` and a tablet does not."""
    system = parsed.os.family if parsed.os else None
    is_phone = _MOBILE.search(text) is not None
    if _TABLET.search(text) or (system == "Android" and not is_phone and "TV" not in text):
        return "tablet"
    if is_phone or system == "iOS":
        return "mobile"
    return "desktop" if system in _DESKTOPS else "other"


def _open_countries(path: Path | None) -> maxminddb.Reader | None:
    if path is None:
        return None
    try:
        return maxminddb.open_database(path)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        log.error("country_database_unreadable", error=type(error).__name__)
        return None
