"""Where a visitor came from: the site or the app of a Referer, and nothing else of the address.

`enrichment.py` asks it for every origin that it does not remember.
"""

import re

from publicsuffixlist import PublicSuffixList

from services.links.clicks.dimensions import UNKNOWN

LONGEST_ORIGIN = 320
"""Bytes in which scheme and host must end: a host has at most 253 (RFC 1035, 2.3.4)."""

_match_origin = re.compile(rb"([a-z-]{4,11})://(?:[^/?#\\]*@)?([0-9a-z_.-]{1,255})(?::[0-9]*)?(?:[/?#\\]|$)").match
_match_host = re.compile(r"(?:[0-9a-z_-]{1,63}\.)*[0-9a-z_-]{1,63}").fullmatch

_APPS = frozenset({b"android-app", b"ios-app"})
"""Apps name themselves: Android's by its package, iOS's by its number or bundle.

https://developer.android.com/reference/android/app/Activity#getReferrer() and
https://developers.google.com/search/docs/appearance (App Indexing) describe them.
"""


class ReferrerParser:
    """Mozilla's list of public suffixes, ready to be asked."""

    def __init__(self) -> None:
        self._suffixes = PublicSuffixList()

    def parse(self, raw: bytes) -> str:
        """Tell the registrable domain of a web page (publicsuffix.org), or the name of an app.

        Returns:
            The host itself where there is no registrable domain; `unknown` for other schemes, hosts in brackets and hosts
            that are not written in ASCII, as browsers write them.
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
    """Cut a Referer after its host, so that the pages of a site are remembered as one."""
    return b"/".join(raw[:LONGEST_ORIGIN].split(b"/", 3)[:3])
