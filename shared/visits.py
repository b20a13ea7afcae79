"""Reads the facts of a visit that rules ask for: from the headers and the query that nginx sends.

Redirect asks it for links with rules. Each kind of text costs a bounded time, and what was read last is remembered, but for
addresses.
"""

from functools import lru_cache
from pathlib import Path
from typing import get_args

import structlog

from shared.agents import AgentParser
from shared.api import Browser, Device
from shared.clicks import LONGEST_AGENT, Visit
from shared.countries import CountryFinder
from shared.facts import Facts, read_address, read_host, read_query
from shared.languages import LONGEST_ACCEPTED, Accepted, read_accepted
from shared.rules import Decision

REMEMBERED = 4096
"""User agents, and headers with languages, that a process remembers, each with at most 512 bytes. Addresses are not kept."""

_OF_AGENTS = frozenset({"device", "os", "browser"})
_SYSTEMS = {
    "Android": "android",
    "iOS": "ios",
    "Windows": "windows",
    "Mac OS X": "macos",
    "Chrome OS": "chromeos",
    **dict.fromkeys(("Linux", "Ubuntu", "Debian", "Fedora", "Red Hat", "Gentoo", "SUSE", "CentOS", "Mint"), "linux"),
}
_OTHER_NAMES = {"Chromium": "chrome", "Mobile Safari": "safari"}
_NOTHING = Accepted()
_DEVICES = frozenset(get_args(Device))
_BROWSERS = frozenset(get_args(Browser))

log = structlog.get_logger()


class VisitReader:
    """Reads visits. It loads what some rules need with the first link that has such rules, which takes up to a second.

    Args:
        country_database: An MMDB file.
    """

    def __init__(self, country_database: Path | None) -> None:
        self._country_database = country_database
        self._parse_agent = lru_cache(REMEMBERED)(self._agent)
        self._parse_language = lru_cache(REMEMBERED)(lambda raw: read_accepted(raw.decode("latin-1")))
        self._agents: AgentParser | None = None
        self._countries: CountryFinder | None = None

    def load(self, decision: Decision) -> None:
        """Load what a link's rules need. This takes time, so call it in a thread."""
        if self._agents is None and decision.needs & _OF_AGENTS:
            self._agents = AgentParser()
        if self._countries is None and "country" in decision.needs:
            self._countries = CountryFinder(self._country_database)

    def read(self, decision: Decision, visit: Visit) -> Facts:
        """Read what a link's rules ask for; they were loaded before."""
        needs = decision.needs
        address, agent, referrer, language, query, now = visit
        device = system = browser = None
        if agent and self._agents is not None and needs & _OF_AGENTS:
            device, system, browser = self._parse_agent(agent[:LONGEST_AGENT])
        accepted = _NOTHING
        if language and "language" in needs:
            accepted = self._parse_language(language[:LONGEST_ACCEPTED])
        return Facts(
            now,
            device,
            system,
            browser,
            accepted,
            self._countries.find(address) if self._countries is not None and "country" in needs else None,
            read_query(query) if query and "query" in needs else (),
            read_host(referrer) if referrer and "referrer" in needs else None,
            read_address(address) if address and "address" in needs else None,
        )

    def _agent(self, raw: bytes) -> tuple[str | None, str | None, str | None]:
        assert self._agents is not None
        try:
            agent = self._agents.parse(raw)
        except Exception as error:
            # A visitor wrote it, and gets an answer whatever it is.
            log.warning("agent_unreadable", error=type(error).__name__)
            return None, None, None
        return (
            agent.device if agent.device in _DEVICES else None,
            _SYSTEMS.get(agent.os),
            _browser(agent.browser),
        )


def _browser(family: str) -> str | None:
    """Give a browser one name, whatever its list calls it on a phone or inside of an app."""
    for name, kind in _OTHER_NAMES.items():
        if family.startswith(name):
            return kind
    name = family.partition(" ")[0].lower()
    return name if name in _BROWSERS else None
