"""What a user agent tells: browser, system, class of device, and whether it is a program.

`enrichment.py` asks it for every user agent that it does not remember.
"""

import re
from typing import NamedTuple

from ua_parser import Parser, Result
from ua_parser.core import Matcher, Matchers, UserAgent
from ua_parser.lazy import UserAgentMatcher
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

from shared.api import UNKNOWN
from shared.bots import BotMatcher
from shared.clicks import LONGEST_AGENT

LONGEST_NAMES = 256
"""Browser and system are looked for in so many bytes: they stand in front. ua-parser takes up to 0.5 µs a byte."""

LONGEST_VALUE = 64
"""Characters of a browser's or a system's name."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_ANY_200 = "^.{0,200}?"
_TABLETS = ("ipad", "tablet", "kindle", "silk/", "playbook")
_PHONES = ("mobi", "iphone", "ipod", "windows phone", "opera mini", "kaios")
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


class Agent(NamedTuple):
    """What a user agent tells."""

    is_bot: bool
    browser: str
    os: str
    device: str


class AgentParser:
    """The lists of user agents, ready to be asked."""

    def __init__(self) -> None:
        self._parser = Parser(Resolver(load_matchers()))
        self._bots = BotMatcher()

    def parse(self, raw: bytes) -> Agent:
        """Read a user agent. The end of one that is too long is left out."""
        raw = raw[:LONGEST_AGENT]
        if not raw.strip():
            # Every browser sends one; what sends none is a program.
            return Agent(True, UNKNOWN, UNKNOWN, UNKNOWN)
        text = raw[:LONGEST_NAMES].decode("utf-8", "replace")
        parsed = self._parser.parse(text)
        is_spider = parsed.device is not None and parsed.device.family == "Spider"
        return Agent(
            self._bots.is_bot(raw, is_spider=is_spider),
            _clean(parsed.user_agent.family if parsed.user_agent else None),
            _clean(parsed.os.family if parsed.os else None),
            "other" if is_spider else _device(parsed, text),
        )


def load_matchers() -> Matchers:
    """Load ua-parser's expressions, and write the dearest ones in another way.

    The expressions for unknown crawlers begin with any 200 characters, for parsers that go back. The engine here does not go
    back, and counting to 200 costs it up to 0.2 ms a user agent. Without the count it finds the same name in a fifth of that.
    """
    agents, systems, devices = load_lazy_builtins()
    return [_uncounted(matcher) for matcher in agents], systems, devices


def _uncounted(matcher: Matcher[UserAgent]) -> Matcher[UserAgent]:
    if not matcher.regex.startswith(_ANY_200) or not isinstance(matcher, UserAgentMatcher):
        return matcher
    regex = matcher.regex.removeprefix(_ANY_200).replace("{0,50}", "*").replace("{1,50}", "+")
    return UserAgentMatcher(regex, matcher.family, matcher.major, matcher.minor, matcher.patch, matcher.patch_minor)


def _clean(text: str | None) -> str:
    """Text that Postgres takes: bounded, without controls; what is nothing is `unknown`."""
    if text is None or text == "Other":
        return UNKNOWN
    return _CONTROLS.sub(" ", text).strip()[:LONGEST_VALUE].strip() or UNKNOWN


def _device(parsed: Result, text: str) -> str:
    """Find the class of device. Android's own rule is that a phone says `Mobile` and a tablet does not."""
    system = parsed.os.family if parsed.os else None
    lowered = text.lower()
    is_phone = any(name in lowered for name in _PHONES)
    if any(name in lowered for name in _TABLETS) or (system == "Android" and not is_phone and "TV" not in text):
        return "tablet"
    if is_phone or system == "iOS":
        return "mobile"
    return "desktop" if system in _DESKTOPS else "other"
