"""Finds out what a click tells beyond its link: browser, system, device, bot, country, referrer, language, and the visitor.

The click worker asks it for every click (`reading.py`). Nothing here touches the network, and the client's address leaves only
as a country and as a keyed hash. Whatever a click says, its cost is bounded: each text is cut before it is read, and the time
to read it is proportional to its length.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from publicsuffixlist import PublicSuffixList

from shared.agents import AgentParser
from shared.api import UNKNOWN, Dimensions
from shared.clicks import LONGEST_AGENT, LONGEST_LANGUAGE, LONGEST_VARIANT, ClickParts
from shared.countries import CountryFinder

REMEMBERED_AGENTS = 16_384
REMEMBERED_ORIGINS = 16_384
REMEMBERED_LANGUAGES = 4096
VISITOR_BYTES = 16

LONGEST_ORIGIN = 320
"""Scheme and host must end within so many bytes: a host has at most 253 (RFC 1035, 2.3.4)."""

_match_origin = re.compile(rb"([a-z-]{4,11})://(?:[^/?#\\]*@)?([0-9a-z_.-]{1,255})(?::[0-9]*)?(?:[/?#\\]|$)").match
_match_host = re.compile(r"(?:[0-9a-z_-]{1,63}\.)*[0-9a-z_-]{1,63}").fullmatch
_match_language = re.compile(r"\s*([A-Za-z]{2,8})(?=[-_,;\s]|$)").match

_APPS = frozenset({b"android-app", b"ios-app"})
"""The schemes by which apps name themselves: Android's by package, iOS's by number or bundle.

https://developer.android.com/reference/android/app/Activity#getReferrer() and
https://developers.google.com/search/docs/appearance (App Indexing) describe them.
"""


class Enricher:
    """The parsers of one process, which remember their last results.

    Args:
        country_database: An MMDB file. If it cannot be read, that is logged, and countries are unknown.
    """

    def __init__(self, country_database: Path | None = None) -> None:
        self.find_country = CountryFinder(country_database).find
        self.parse_agent = lru_cache(REMEMBERED_AGENTS)(AgentParser().parse)
        self.parse_referrer = lru_cache(REMEMBERED_ORIGINS)(ReferrerParser().parse)
        self.parse_language = lru_cache(REMEMBERED_LANGUAGES)(parse_language)

    def enrich(self, parts: ClickParts) -> tuple[bool, Dimensions]:
        """Find out whether a click is a program's, and its value of each dimension."""
        agent = self.parse_agent((parts.agent or b"")[:LONGEST_AGENT])
        is_prefetch = parts.purpose is not None
        return agent.is_bot or is_prefetch, Dimensions(
            self.find_country(parts.address),
            agent.browser,
            agent.os,
            agent.device,
            self.parse_referrer(origin_of(parts.referrer or b"")),
            self.parse_language((parts.language or b"")[:LONGEST_LANGUAGE]),
            UNKNOWN if parts.variant is None else read_variant(parts.variant),
        )


def parse_language(raw: bytes) -> str:
    """Returns the primary subtag of the first language of an Accept-Language (RFC 9110, 12.5.4; RFC 5646)."""
    match = _match_language(raw.decode("latin-1"))
    return UNKNOWN if match is None else match[1].lower()


def read_variant(raw: bytes) -> str:
    """Returns what the record of a link calls one of its rules or targets, as text that Postgres takes."""
    return raw[:LONGEST_VARIANT].decode("utf-8", "replace").replace("\0", " ").strip() or UNKNOWN


class ReferrerParser:
    """Mozilla's list of public suffixes, ready to be asked."""

    def __init__(self) -> None:
        self._suffixes = PublicSuffixList()

    def parse(self, raw: bytes) -> str:
        """Find the registrable domain of a web page (publicsuffix.org), or the name of an app.

        Returns:
            The domain or name; the host itself if it has no registrable domain; `unknown` for other schemes, for hosts in
            brackets, and for hosts that are not in ASCII, as browsers write them.
        """
        origin = _match_origin(raw[:LONGEST_ORIGIN].strip().lower())
        if origin is None:
            return UNKNOWN
        scheme, host = origin[1], origin[2].decode("ascii").rstrip(".")
        if len(host) > 253 or not _match_host(host):
            return UNKNOWN
        if scheme in _APPS:
            return host
        if scheme not in (b"http", b"https"):
            return UNKNOWN
        if host.rpartition(".")[2].isdecimal():
            return host
        return self._suffixes.privatesuffix(host) or host


def origin_of(raw: bytes) -> bytes:
    """Cut a Referer after its host, so that all pages of a site are remembered as one."""
    return b"/".join(raw[:LONGEST_ORIGIN].split(b"/", 3)[:3])


class VisitorHash:
    """Tells the visitors of one day apart, by address and user agent, for as long as the day's key exists."""

    def __init__(self, key: bytes) -> None:
        self._copy = blake2b(key=key, digest_size=VISITOR_BYTES).copy

    def digest(self, parts: ClickParts) -> bytes:
        """Returns a number for the visitor who made a click."""
        # A copy costs half of hashing the key anew.
        state = self._copy()
        # An older release recorded the agent uncut, and the visitor is the same.
        state.update((parts.address or b"") + b"\0" + (parts.agent or b"")[:LONGEST_AGENT])
        return state.digest()
