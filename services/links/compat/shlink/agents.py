"""Typical user agents of a browser on a system. The agents of visits are not kept, and Shlink's client reads both from one.

Names are those of ua-parser, which the click worker stores (`shared/agents.py`).
"""

from functools import lru_cache

from shared.api import UNKNOWN

BOT = "Mozilla/5.0 (compatible; bot)"

_SYSTEMS = {
    "Windows": "Windows NT 10.0; Win64; x64",
    "Mac OS X": "Macintosh; Intel Mac OS X 10_15_7",
    "Linux": "X11; Linux x86_64",
    "Ubuntu": "X11; Ubuntu; Linux x86_64",
    "Debian": "X11; Debian; Linux x86_64",
    "Fedora": "X11; Fedora; Linux x86_64",
    "FreeBSD": "X11; FreeBSD amd64",
    "Chrome OS": "X11; CrOS x86_64 14541.0.0",
    "Android": "Linux; Android 10; K",
    "iOS": "iPhone; CPU iPhone OS 17_5 like Mac OS X",
}
_TABLET = "iPad; CPU OS 17_5 like Mac OS X"

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"

_BROWSERS = {
    "Firefox": "Gecko/20100101 Firefox/140.0",
    "Safari": f"{_APPLE} Version/17.5 Safari/605.1.15",
    "Mobile Safari": f"{_APPLE} Version/17.5 Mobile/15E148 Safari/604.1",
    "Chrome": f"{_WEBKIT} Chrome/142.0.0.0 Safari/537.36",
    "Chrome Mobile": f"{_WEBKIT} Chrome/142.0.0.0 Mobile Safari/537.36",
    "Chrome Mobile iOS": f"{_APPLE} CriOS/142.0.0.0 Mobile/15E148 Safari/604.1",
    "Edge": f"{_WEBKIT} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    "Edge Mobile": f"{_WEBKIT} Chrome/142.0.0.0 Mobile Safari/537.36 EdgA/142.0.0.0",
    "Opera": f"{_WEBKIT} Chrome/142.0.0.0 Safari/537.36 OPR/125.0.0.0",
    "Opera Mobile": f"{_WEBKIT} Chrome/142.0.0.0 Mobile Safari/537.36 OPR/92.0.0.0",
    "Samsung Internet": f"{_WEBKIT} SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36",
    "Vivaldi": f"{_WEBKIT} Chrome/142.0.0.0 Safari/537.36 Vivaldi/7.6",
    "Yandex Browser": f"{_WEBKIT} Chrome/142.0.0.0 YaBrowser/25.10 Safari/537.36",
    "UC Browser": f"{_WEBKIT} Chrome/100.0.0.0 UCBrowser/13.4 Mobile Safari/537.36",
    "IE": "Trident/7.0; rv:11.0",
    "Android": f"{_WEBKIT} Version/4.0 Mobile Safari/537.36",
}
_ALIASES = {
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Chromium": "Chrome",
    "Chrome Mobile WebView": "Chrome Mobile",
    "Mobile Safari UI/WKWebView": "Mobile Safari",
    "Chrome WebView": "Chrome Mobile",
}


@lru_cache(maxsize=1024)
def typical_agent(browser: str, system: str, device: str, *, is_bot: bool) -> str:
    """Return an agent that readers take for this browser on this system, or for a bot.

    Of what has no typical one the name is given, and nothing for what is unknown.
    """
    if is_bot:
        return BOT
    name = _ALIASES.get(browser, browser)
    engine = _BROWSERS.get(name)
    where = _TABLET if system == "iOS" and device == "tablet" else _SYSTEMS.get(system)
    if engine is None:
        named = "" if browser == UNKNOWN else f"{browser}/1.0".replace(" ", "")
        return " ".join(filter(None, (named, f"({where or system})" if system != UNKNOWN else "")))
    if name == "IE":
        return f"Mozilla/5.0 ({where or 'Windows NT 10.0'}; Trident/7.0; rv:11.0) like Gecko"
    if name == "Firefox":
        return f"Mozilla/5.0 ({where or 'compatible'}; rv:140.0) {engine}"
    return f"Mozilla/5.0 ({where or 'compatible'}) {engine}"
