"""What rules ask of a visit, and how its simple parts are read: query, Referer, address.

`rules.py` tests facts. Redirect reads them from what nginx sends (`visits.py`, which has parsers, too); whoever asks the API
for an explanation names them.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from shared.languages import Accepted

MOST_PARAMETERS = 100
LONGEST_REFERRER = 320

MAPPED_BITS = 96
"""What all IPv4 addresses in a form of IPv6 begin with: `::ffff:0:0/96`."""

_match_host = re.compile(rb"https?://(?:[^/?#\\@]*@)?([0-9a-z_.-]{1,255})(?::[0-9]*)?(?:[/?#\\]|$)").match


class Facts(NamedTuple):
    """What conditions ask of a visit; None where it is not known.

    Attributes:
        now: Unix seconds.
        language: The languages that the visitor accepts.
        query: Names and values.
        referrer: The host of the page with the link, in lower case.
    """

    now: float
    device: str | None = None
    os: str | None = None
    browser: str | None = None
    language: Accepted = Accepted()
    country: str | None = None
    query: Sequence[tuple[str, str]] = ()
    referrer: str | None = None
    address: IPv4Address | IPv6Address | None = None


def read_query(query: bytes) -> list[tuple[str, str]]:
    """Read parameters as forms write them (WHATWG URL, application/x-www-form-urlencoded)."""
    pairs = [pair.partition(b"=") for pair in query.split(b"&", MOST_PARAMETERS)[:MOST_PARAMETERS] if pair]
    return [(_decode(name), _decode(value)) for name, _, value in pairs]


def read_host(referrer: bytes) -> str | None:
    """Find the host of a web page, in lower case."""
    found = _match_host(referrer[:LONGEST_REFERRER].lower())
    return None if found is None else found[1].decode("ascii").rstrip(".")


def read_address(raw: bytes) -> IPv4Address | IPv6Address | None:
    """Read an address; one of IPv4 in a form of IPv6 is what it stands for."""
    try:
        address = ip_address(raw.decode("ascii", "replace"))
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def read_network(text: str) -> IPv4Network | IPv6Network:
    """Read a network; one of IPv4 addresses in their form of IPv6 is what it stands for, as `read_address` says.

    Raises:
        ValueError: It is none, or has a zone (RFC 4007), which means nothing to others than its host.
    """
    if "%" in text:
        raise ValueError("a zone such as %eth0 is known to its host alone")
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - MAPPED_BITS))
    return network


def _decode(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "replace")
