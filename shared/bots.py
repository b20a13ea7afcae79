"""Tells programs from people by the user agent: crawlers, link previews, monitors, the defaults of HTTP libraries.

Intake asks it of every click, and redirect before a visitor uses up a limited link. crawlerdetect's list and the short ones
below are matched by RE2, which takes time in proportion to the text: with Python's `re`, one agent of 512 letters costs 20 ms,
with RE2 5 µs.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import re2
from crawlerdetect.providers.crawlers import data as _crawlers
from crawlerdetect.providers.exclusions import data as _exclusions

PROGRAMS = (
    # What HTTP libraries send by default: one product and its version (RFC 9110, 10.1.5). What a person looks at a page with
    # says `Mozilla/5.0` (https://html.spec.whatwg.org/#dom-navigator-useragent), or is in `PEOPLE`.
    r"^[a-z][\w.+-]*/v?\d[\w.+-]*$",
    # Some leave out the version: https://github.com/nodejs/undici (`defaultUserAgent`), https://bun.sh, https://axios-http.com.
    r"^(?:node|node\.?js|undici|bun|axios|superagent|aiohttp|httpx|python)$",
    r"(?:http|rest|ktor)[ -]?client",
    # Where to ask about it, as Google's crawlers say it first and Bluesky's cards, fediverse servers and Cloudflare's
    # monitors do: https://developers.google.com/search/docs/crawling-indexing/overview-google-crawlers
    r"[+(](?:https?:|mailto:)|; https:",
    # https://learn.microsoft.com/powershell/module/microsoft.powershell.utility/invoke-webrequest, `-UserAgent`
    r"powershell/\d",
    # Office asks first itself, then opens the browser:
    # https://learn.microsoft.com/office/troubleshoot/office-suite-issues/click-hyperlink-to-sso-website
    r"\bms-?office\b",
    # Windows itself: https://learn.microsoft.com/windows/win32/bits/background-intelligent-transfer-service-portal
    r"^microsoft[ -](?:bits|cryptoapi)/",
    # Apps' own requests; what they show to people is a browser's: https://developer.apple.com/documentation/cfnetwork
    r"^[^(]*\bcfnetwork/",
    # Messengers' previews: https://github.com/zulip/zulip (`ZulipURLPreview`), https://github.com/RocketChat/Rocket.Chat
    # (`API_Embed_UserAgent`), https://github.com/nextcloud/server, https://bsky.app (cardyb), Viber.
    r"(?:link|ur[il]|site|web|page)[-_ ]?preview",
    r"\brocket\.?chat\b",
    r"\bnextcloud\b",
    r"\bcardyb\b",
    r"^viber\b",
    # Mail scanners: https://www.mimecast.com, https://www.proofpoint.com
    r"\b(?:mimecast|proofpoint)\b",
    # https://developer.chrome.com/blog/private-prefetch-proxy
    r"prefetch proxy",
    # https://github.com/prometheus/blackbox_exporter (`userAgentDefaultHeader`), https://github.com/elastic/beats,
    # https://github.com/influxdata/telegraf
    r"\b(?:blackbox[ -]exporter|heartbeat|telegraf)\b",
    # Checks say what their configuration tells them (https://docs.haproxy.org, `http-check send`): HAProxy, Consul, nginx Plus,
    # AWS, PRTG, Azure's Traffic Manager, https://github.com/cloudprober/cloudprober, https://www.solarwinds.com.
    r"\bhaproxy\b",
    r"health[-_ ]?check",
    r"\bmonitor\b",
    r"^(?:cloudprober|solarwinds)\b",
    # https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/health_checking
    r"^envoy/",
    # https://learn.microsoft.com/azure/frontdoor/health-probes, Azure's load balancer and App Service
    r"^(?:edge health probe|load balancer agent|alwayson)$",
    # https://docs.datadoghq.com/synthetics/guide/identify_synthetics_bots
    r"^datadog/",
    # https://cwiki.apache.org/confluence/display/HTTPD/InternalDummyConnection
    r"\(internal dummy connection\)",
    # https://docs.thunderclient.com
    r"^thunder client\b",
)
"""Programs that crawlerdetect's list does not know (RE2 syntax, in any case)."""

NAMES_OF_THINGS = (
    # A phone's model (https://developer.chrome.com/docs/privacy-security/user-agent): Cubot, `M bot 60`, Hisense's readers.
    r"android [\d.]+; (?:[a-z]{2}[-_][a-z]{2}; )?[^;()/]{1,64}(?=\)| build/|; wv\))",
    # Slack's apps; its servers say `Slackbot` and `Slack-ImgProxy`: https://api.slack.com/robots
    r" slack/[\d.]+",
)
"""Names that look like a program's and are none, beside crawlerdetect's own list (Python syntax, lower case)."""

PEOPLE = (
    # Browsers for text, and the oldest. Lynx names libwww, which programs use too: https://lynx.invisible-island.net
    r"(?:lynx|w3m|e?links2?|dillo|netsurf|edbrowse|retawq|chawan|ncsa_mosaic|amaya)[/ ]\(?\d.*",
    # Apps that are a browser in a window: https://www.electronjs.org/docs/latest/api/app#appuseragentfallback. A link inside
    # of Slack, Mattermost or WhatsApp is followed by a person; their servers' previews do not say so.
    (
        r"mozilla/5\.0 \([^()]*\) applewebkit/[\d.]+ \(khtml, like gecko\) (?:[\w. -]+/[\w.-]+ ){1,3}electron/[\d.]+"
        r" safari/[\d.]+(?: sonic| macappstore/[\d.]+| slack_ssb/[\d.]+)*"
    ),
)
"""People whom one of the lists takes for programs (Python syntax, lower case, of the whole user agent)."""

HAND_WRITTEN = {
    # RE2 does not look ahead.
    r"Yandex(?!Search)": (r"Yandex(?:$|[^s]|s(?:$|[^e])|se(?:$|[^a])|sea(?:$|[^r])|sear(?:$|[^c])|searc(?:$|[^h]))",),
    # `_join_by_first_letter` wants one.
    r"(like )?Gecko(.[\d\.]*)?": (r"like Gecko(.[\d\.]*)?", r"Gecko(.[\d\.]*)?"),
    r"[ ]Intel": (r" Intel",),
}
"""crawlerdetect's expressions that cannot be used as they are, and others that match the same."""

AUTOMATON_BYTES = 32 * 2**20
"""The memory that RE2 may use for the automaton that it builds while it reads texts. The list needs about 8 MiB."""


class BotMatcher:
    """The lists, compiled."""

    def __init__(self) -> None:
        patterns = _hand_written(_crawlers) + list(PROGRAMS)
        # Apart, because a repetition multiplies the states of all that stands beside it.
        self._is_named = _compile([pattern for pattern in patterns if not _REPEATS.search(pattern)])
        self._is_described = _compile([pattern for pattern in patterns if _REPEATS.search(pattern)])
        self._exclusions = re.compile(_join_by_first_letter([*NAMES_OF_THINGS, *_hand_written(_exclusions)]))
        self._match_person = re.compile("|".join(PEOPLE)).fullmatch

    def is_bot(self, agent: bytes, *, is_spider: bool = False) -> bool:
        """Tell whether a user agent is a program's.

        Args:
            agent: As sent, of bounded length.
            is_spider: Another list says so.
        """
        text = agent.lower().decode("utf-8", "replace")
        if self._match_person(text):
            return False
        if is_spider:
            return True
        rest = self._exclusions.sub("", text).encode()
        return self._is_named(rest) is not None or self._is_described(rest) is not None


_REPEATS = re.compile(r"(?<!\\)[*+{]")


def _hand_written(patterns: Iterable[str]) -> list[str]:
    return [each for pattern in patterns for each in HAND_WRITTEN.get(pattern, (pattern,))]


def _compile(patterns: Sequence[str]) -> Callable[[bytes], object | None]:
    """A search for any of them, in any case."""
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.max_mem = AUTOMATON_BYTES
    search: Callable[[bytes], object | None] = re2.compile("|".join(patterns).encode(), options).search
    return search


def _join_by_first_letter(patterns: Iterable[str]) -> str:
    """Join alternatives, in lower case, so that Python's `re` tries those alone that begin with the letter at hand.

    It stays `re`, because taking out many matches costs more with RE2; none of these repeats what repeats.
    """
    rests: dict[str, list[str]] = {}
    for pattern in patterns:
        literal = pattern.lower().removeprefix("\\")
        rests.setdefault(literal[0], []).append(literal[1:])
    return "|".join(f"{re.escape(letter)}(?:{'|'.join(alternatives)})" for letter, alternatives in rests.items())
