"""Limits the tries of passwords, before a password is hashed: a network may guess little, and never at the cost of another one.

A network is an IPv4 address or a /64 of IPv6, as in nginx's own limits. A try is counted before its password is looked at, and
taken back if that is right. So many tries at once, at several processes, are no more than one after the other.
"""

import hmac
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from services.links.unlocks.rows import Count, add_tries, select_tries, take_tries_back
from shared.postgres import Connection

MOST_AT_A_LINK = 5
MOST_AT_A_WATCHED_LINK = 1
SPAN = timedelta(minutes=1)
"""A network may try so many wrong passwords at a link in the minute that begins with the first one."""

MOST_OF_A_NETWORK = 100
WATCHED_FROM = 1000
"""The tries of a UTC day: of a network at all links, and those at a link after which each network has one try."""

_NAT64 = IPv6Network("64:ff9b::/96")


class TooManyTries(Exception):
    """The network has to wait until a moment."""

    def __init__(self, until: datetime) -> None:
        super().__init__()
        self.until = until


class TryKeys(NamedTuple):
    """The keys of the counts of a try: of the network at the link, of the network, and of the link."""

    pair: bytes
    network: bytes
    link: bytes


def try_keys(secret: bytes, link_id: int, address: str) -> TryKeys:
    """Return the keys of a try. Nobody who lacks the secret can tell an address from them."""
    link, network = b"%d" % link_id, network_of(address)
    return TryKeys(
        *(_digest(secret, part) for part in (b"pair " + link + b" " + network, b"net " + network, b"link " + link))
    )


def network_of(address: str) -> bytes:
    """Return the network that an address belongs to; all that are no addresses are one."""
    with suppress(ValueError):
        found: IPv4Address | IPv6Address = ip_address(address)
        if isinstance(found, IPv6Address):
            is_carried = found.ipv4_mapped is not None or found in _NAT64
            return found.packed[12:] if is_carried else found.packed[:8]
        return found.packed
    return b""


async def check_tries(conn: Connection, keys: TryKeys, now: datetime) -> None:
    """Refuse a try that is one too many, and write nothing.

    Raises:
        TooManyTries: It is.
    """
    _refuse(keys, await select_tries(conn, keys, now), others=0)


async def begin_try(conn: Connection, keys: TryKeys, now: datetime) -> None:
    """Count a try as a wrong one.

    Args:
        conn: A connection in a transaction, which is rolled back if the try is refused.
        keys: Of the try.
        now: The present moment.

    Raises:
        TooManyTries: It is one too many.
    """
    tomorrow = datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
    ends = {keys.pair: now + SPAN, keys.network: tomorrow, keys.link: tomorrow}
    _refuse(keys, await add_tries(conn, ends, now), others=1)


async def take_back(conn: Connection, keys: TryKeys) -> None:
    """Count a try no more, because its password was right."""
    await take_tries_back(conn, keys)


def _refuse(keys: TryKeys, counts: Mapping[bytes, Count], *, others: int) -> None:
    """Refuse a try if there are too many.

    Args:
        keys: Of the try.
        counts: The counts that are not over.
        others: How many of each count are this try itself.
    """
    now = datetime.min.replace(tzinfo=UTC)
    pair, network, link = (counts.get(key, Count(others, now)) for key in keys)
    if network.tries - others >= MOST_OF_A_NETWORK:
        raise TooManyTries(network.until)
    most = MOST_AT_A_WATCHED_LINK if link.tries - others >= WATCHED_FROM else MOST_AT_A_LINK
    if pair.tries - others >= most:
        raise TooManyTries(pair.until)


def _digest(secret: bytes, part: bytes) -> bytes:
    return hmac.digest(secret, part, "sha256")[:16]
