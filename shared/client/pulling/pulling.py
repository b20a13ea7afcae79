"""Chooses how an API is asked, and asks it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from . import lists, shlink
from .asking import Asker
from .file import Pulled, PullFailed, PullFile


class Kind(NamedTuple):
    """A shortener: how its links are pulled, the headers that it wants, and where its API is if it is everybody's."""

    pull: Callable[[Asker, str, PullFile, Callable[[Pulled], None]], None]
    headers: Callable[[str], dict[str, str]]
    hosts: tuple[str, ...] = ()
    api: str | None = None


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


KINDS = {
    "shlink": Kind(shlink.pull, shlink.headers),
    "yourls": Kind(lists.pull_yourls, lambda _key: {}),
    "kutt": Kind(lists.pull_kutt, lambda key: {"X-API-KEY": key}, ("kutt.it", "kutt.to")),
    "bitly": Kind(lists.pull_bitly, _bearer, ("bitly.com", "bit.ly"), "https://api-ssl.bitly.com"),
    "dub": Kind(lists.pull_dub, _bearer, ("dub.co", "dub.sh"), "https://api.dub.co"),
    "rebrandly": Kind(lists.pull_rebrandly, lambda key: {"apikey": key}, ("rebrandly.com", "rebrand.ly"), "https://api.rebrandly.com"),
    "shortio": Kind(lists.pull_shortio, lambda key: {"Authorization": key}, ("short.io",), "https://api.short.io"),
}  # fmt: skip
"""By the names of their sources, which are the values of `--format`."""

_PAGES = ("/yourls-api.php", "/admin", "/rest/v1", "/rest/v2", "/rest/v3", "/rest", "/api/v2/links", "/api/v2", "/api")
"""What people copy behind the address of an instance."""


def pull(
    url: str,
    key: str,
    path: Path,
    *,
    kind: str | None = None,
    tell: Callable[[Pulled], None] = lambda _pulled: None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Write all links of an instance to a file, or go on with one.

    Args:
        kind: One of `KINDS`; asked of the instance if left out.
        tell: Is called after each page.

    Returns:
        The kind.

    Raises:
        PullFailed: It cannot be done, or not now.
    """
    if not key.isascii() or not key.isprintable():
        raise PullFailed("the key has characters that no key has")
    base = _base_of(url)
    kind = kind or guess_kind(base)
    if kind not in KINDS:
        raise PullFailed(f"{kind} is none of {', '.join(KINDS)}")
    chosen = KINDS[kind]
    if chosen.api is not None and _is_host(base, chosen.hosts):
        base = chosen.api
    with PullFile(path, kind, base) as file, Asker(base, chosen.headers(key), sleep=sleep) as api:
        if not file.so_far.get("is_all"):
            chosen.pull(api, key, file, tell)
            file.mark(is_all=True)
    return kind


def guess_kind(base: str) -> str:
    """Find out which shortener is at an address, without showing it the key.

    Raises:
        PullFailed: It is none that is known.
    """
    for name, kind in KINDS.items():
        if _is_host(base, kind.hosts):
            return name
    with Asker(base) as api:
        health = api.get_text("/rest/health")
        if '"status"' in health and '"version"' in health:
            return "shlink"
        told = api.get_text("/yourls-api.php?action=version&format=json")
        if '"errorCode"' in told or '"statusCode"' in told or '"version"' in told:
            return "yourls"
        if api.get_text("/api/v2/health").strip().strip('"') == "OK":
            return "kutt"
    raise PullFailed(f"{base} does not look like {', '.join(KINDS)}; say which one it is with --format")


def _base_of(url: str) -> str:
    text = url.strip() if "://" in url else f"https://{url.strip()}"
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise PullFailed(f"{url} is no address of a shortener, such as https://s.example.com")
    path = parts.path.rstrip("/")
    ending = next((each for each in _PAGES if path.endswith(each)), "")
    return f"{parts.scheme}://{parts.netloc}{path.removesuffix(ending)}"


def _is_host(base: str, hosts: tuple[str, ...]) -> bool:
    host = urlsplit(base).hostname or ""
    return any(host == each or host.endswith(f".{each}") for each in hosts)
