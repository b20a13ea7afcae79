"""What a short link may lead to: the target is parsed once, as browsers do, and its `href` is stored, checked and sent.

Stands between the API's input and the links table; the attacks it answers are listed in tests/links/test_targets.py.
"""

import re
from collections.abc import Iterable

import ada_url

from services.links.links.private_hosts import is_private
from shared.api import LONGEST_URL

_ATTRIBUTES = ("href", "protocol", "username", "password", "hostname", "host_type")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class TargetRefused(ValueError):
    """The text cannot be the target of a link; the message says why."""


class TargetRules:
    """The rules of one installation.

    Args:
        own_domains: The hosts of our short links, which may not lead to each other.
        allow_private: Whether a link may lead into a private network.
    """

    def __init__(self, *, own_domains: Iterable[str], allow_private: bool) -> None:
        self._own_domains = frozenset(own_domains)
        self._allow_private = allow_private

    def parse(self, text: str) -> str:
        """Parse a target as the WHATWG URL standard says.

        Returns:
            The URL's `href`: ASCII, printable, at most 8 KiB.

        Raises:
            TargetRefused: It is no absolute http(s) URL, or it leads where no link may lead.
        """
        if _CONTROLS.search(text):
            raise TargetRefused("must not contain control characters")
        try:
            url = ada_url.parse_url(text, attributes=_ATTRIBUTES)
        except ValueError:
            raise TargetRefused("is not an absolute URL") from None
        href = str(url["href"])
        if url["protocol"] not in ("http:", "https:"):
            raise TargetRefused("must begin with http:// or https://")
        if url["username"] or url["password"]:
            raise TargetRefused("must not contain a user name or password")
        if len(href) > LONGEST_URL:
            raise TargetRefused(f"must not be longer than {LONGEST_URL} bytes")
        host = str(url["hostname"]).rstrip(".")
        if host in self._own_domains:
            raise TargetRefused("must not be a short link of this site")
        if not self._allow_private and is_private(host, is_name=url["host_type"] == ada_url.HostType.DEFAULT):
            raise TargetRefused("must not lead to a private, loopback or link-local host")
        return href
