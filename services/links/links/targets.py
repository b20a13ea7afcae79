"""What a short link may lead to: the target is parsed once, as browsers do, and its `href` is stored, checked and sent.

Stands between the API's input and the links table; the attacks it answers are listed in tests/links/test_targets.py.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote

import ada_url

from shared.api import LONGEST_URL
from shared.setting_types import FORBIDDEN_SCHEMES

_ATTRIBUTES = ("href", "protocol", "username", "password", "hostname", "host_type")
_WEB = ("http", "https")
_NO_SCHEME = re.compile(r"[^0-9A-Za-z+.-]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class TargetRefused(ValueError):
    """The text cannot be the target of a link; the message says why."""


class OwnLinkRefused(TargetRefused):
    """It is a short link of this site."""


class TargetRules:
    """The rules of one installation.

    Args:
        own_domains: The hosts of our short links, which may not lead to each other.
        allow_private: Whether a link may lead into a private network.
        schemes: That a target may have; those of `FORBIDDEN_SCHEMES` are not among them.
    """

    def __init__(self, *, own_domains: Iterable[str], allow_private: bool, schemes: Iterable[str] = _WEB) -> None:
        self._own_domains = frozenset(own_domains)
        self._allow_private = allow_private
        self._schemes = tuple(dict.fromkeys(schemes))

    def parse(self, text: str) -> str:
        """Parse a target as the WHATWG URL standard says.

        Returns:
            The URL's `href`: ASCII, printable, at most 8 KiB.

        Raises:
            TargetRefused: It is no absolute URL of an allowed scheme, or it leads where no link may lead.
        """
        if _CONTROLS.search(text):
            raise TargetRefused("must not contain control characters")
        try:
            url = ada_url.parse_url(text, attributes=_ATTRIBUTES)
        except ValueError:
            raise TargetRefused("is not an absolute URL") from None
        # The parser leaves a blank in a path that has no slashes, as in `sms:`.
        href = str(url["href"]).replace(" ", "%20")
        scheme = str(url["protocol"]).removesuffix(":")
        if scheme not in self._schemes:
            raise TargetRefused(f"must begin with {' or '.join(map(_beginning, self._schemes))}")
        if url["username"] or url["password"]:
            raise TargetRefused("must not contain a user name or password")
        if len(href) > LONGEST_URL:
            raise TargetRefused(f"must not be longer than {LONGEST_URL} bytes")
        if scheme not in _WEB:
            self._check_wrapped(scheme, href)
            return href
        host = str(url["hostname"]).rstrip(".")
        if host in self._own_domains:
            raise OwnLinkRefused("must not be a short link of this site")
        if not self._allow_private and is_private(host, is_name=url["host_type"] == ada_url.HostType.DEFAULT):
            raise TargetRefused("must not lead to a private, loopback or link-local host")
        return href

    def _check_wrapped(self, scheme: str, href: str) -> None:
        """Refuse an address of an app that carries another address, which no link may lead to."""
        rest = unquote(href).partition(":")[2].lstrip("/").lower()
        wrapped = [rest]
        if scheme == "intent":
            # https://developer.chrome.com/docs/android/intents: `#Intent;scheme=…;S.browser_fallback_url=…;end`.
            extras = [part.partition("=") for part in href.rpartition("#")[2].split(";")]
            wrapped += [f"{value}:" for name, _, value in extras if name.lower() == "scheme"]
            fallbacks = [unquote(value) for name, _, value in extras if name.lower() == "s.browser_fallback_url"]
            for fallback in fallbacks:
                self.parse(fallback)
        for address in wrapped:
            inner = _NO_SCHEME.sub("", unquote(address).partition(":")[0]).lower()
            if ":" in address and inner in FORBIDDEN_SCHEMES:
                raise TargetRefused(f"must not carry an address that begins with {inner}:")


def _beginning(scheme: str) -> str:
    return f"{scheme}://" if scheme in _WEB else f"{scheme}:"


# Which hosts are of this machine, a private network or nobody's is a table of our own: what the standard library calls
# global changes from one Python to the next (gh-113171, gh-124217), and it knows of no names.

IPV4_PRIVATE = tuple(
    IPv4Network(text)
    for text in (
        # IANA, IPv4 Special-Purpose Address Registry: what is not globally reachable there.
        "0.0.0.0/8",  # This network (RFC 791).
        "10.0.0.0/8",  # Private use (RFC 1918).
        "100.64.0.0/10",  # Carriers' own, and the metadata of Alibaba Cloud (RFC 6598).
        "127.0.0.0/8",  # Loopback (RFC 1122).
        "169.254.0.0/16",  # Link-local, and the metadata of most clouds (RFC 3927).
        "172.16.0.0/12",  # Private use (RFC 1918).
        "192.0.0.0/24",  # Protocol assignments, and the metadata of Oracle Cloud (RFC 6890).
        "192.0.2.0/24",  # Documentation (RFC 5737).
        "192.88.99.0/24",  # Relays of 6to4, given up (RFC 7526).
        "192.168.0.0/16",  # Private use (RFC 1918).
        "198.18.0.0/15",  # Benchmarks (RFC 2544).
        "198.51.100.0/24",  # Documentation (RFC 5737).
        "203.0.113.0/24",  # Documentation (RFC 5737).
        "224.0.0.0/4",  # Multicast (RFC 1112).
        "240.0.0.0/4",  # Reserved, and broadcast (RFC 1112, RFC 919).
        # Of no registry: the virtual host of every machine in Azure.
        "168.63.129.16/32",
    )
)

IPV6_GLOBAL = IPv6Network("2000::/3")
"""All that IANA gives out; what lies outside is loopback, local, multicast or free, a translator's form at best."""

IPV6_PRIVATE = tuple(
    IPv6Network(text)
    for text in (
        # IANA, IPv6 Special-Purpose Address Registry: what within 2000::/3 is not globally reachable.
        "2001::/23",  # Protocol assignments (RFC 2928); Teredo's are looked into, below.
        "2001:db8::/32",  # Documentation (RFC 3849).
        "3fff::/20",  # Documentation (RFC 9637).
    )
)

# Forms that carry an IPv4 address, by which they are judged.
_MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291.
_NAT64 = IPv6Network(
    "64:ff9b::/96"
)  # RFC 6052. The local 64:ff9b:1::/48 (RFC 8215) is whatever an operator makes of it.
_TEREDO = IPv6Network("2001::/32")  # RFC 4380.
_6TO4 = IPv6Network("2002::/16")  # RFC 3056.

PRIVATE_NAMES = frozenset(
    {
        # IANA, Special-Use Domain Names; but for `example`, which is for documentation and no network's.
        "alt",  # RFC 9476.
        "arpa",  # `home.arpa` (RFC 8375), reverse look-ups, and others for machines alone.
        "invalid",  # RFC 6761.
        "local",  # RFC 6762.
        "localhost",  # RFC 6761.
        "onion",  # RFC 7686.
        "test",  # RFC 6761.
        # What networks use within (RFC 6762, appendix G), and what ICANN will for that reason never give out.
        "corp",
        "home",
        "internal",  # ICANN, 2024; the metadata of Google Cloud, and Docker's own host.
        "intranet",
        "lan",
        "mail",
        "private",
        # `localhost.localdomain` of many a hosts file.
        "localdomain",
        # The metadata of a cloud, under names of public domains.
        "metadata.goog",
        "metadata.tencentyun.com",
    }
)
"""They and all that is below them; so is every name of one label."""


def is_private(host: str, *, is_name: bool) -> bool:
    """Tell whether a parsed host is of this machine or a private network, whatever notation or tunnel hides it.

    Args:
        host: In lower case and ASCII, without a dot at its end; IPv6 in brackets.
        is_name: Whether it is a name, and not an address.
    """
    if is_name:
        labels = host.split(".")
        return len(labels) == 1 or any(".".join(labels[place:]) in PRIVATE_NAMES for place in range(len(labels)))
    address = ip_address(host.strip("[]"))
    if isinstance(address, IPv4Address):
        return _is_private_ipv4(address)
    carried = list(_carried(address))
    if carried:
        return any(map(_is_private_ipv4, carried))
    return address not in IPV6_GLOBAL or any(address in network for network in IPV6_PRIVATE)


def _is_private_ipv4(address: IPv4Address) -> bool:
    return any(address in network for network in IPV4_PRIVATE)


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address carries through a tunnel or translator."""
    bits = int(address)
    if address in _MAPPED or address in _NAT64:
        yield IPv4Address(bits & 0xFFFF_FFFF)
    elif address in _6TO4:
        yield IPv4Address(bits >> 80 & 0xFFFF_FFFF)
    elif address in _TEREDO:
        yield IPv4Address(bits >> 64 & 0xFFFF_FFFF)  # The server.
        yield IPv4Address(~bits & 0xFFFF_FFFF)  # The client, which is written inverted.
