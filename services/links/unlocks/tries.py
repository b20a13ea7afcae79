"""Limits the tries of passwords, before a password is hashed: a network may guess little, never at the cost of another one.

A network is an IPv4 address or a /64 of IPv6, as in nginx's own limits. A try is counted before its password is looked at, in
a transaction that stays open meanwhile. A right one rolls it back, so nobody ever sees its count. The others of its network
wait for the row, at whichever process they are. So many tries at once are no more than one after the other, and right ones
never count.
"""

import hmac
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from services.links.unlocks.rows import Count, add_tries, select_tries
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
    _refuse(keys, await select_tries(conn, keys, now))


async def begin_try(conn: Connection, keys: TryKeys, now: datetime) -> None:
    """Count a try of a network, which no other try of it does until the transaction ends.

    Args:
        conn: A connection in a transaction, which is rolled back if the try is refused or its password is right.
        keys: Of the try.
        now: The present moment.

    Raises:
        TooManyTries: It is one too many.
    """
    counts = await add_tries(conn, {keys.pair: now + SPAN, keys.network: _next_day(now)}, now)
    before = {key: count._replace(tries=count.tries - 1) for key, count in counts.items()}
    _refuse(keys, before | await select_tries(conn, [keys.link], now))


async def end_wrong_try(conn: Connection, keys: TryKeys, now: datetime) -> None:
    """Count a wrong try at its link, at the end of its transaction, so that no network waits for another one."""
    await add_tries(conn, {keys.link: _next_day(now)}, now)


def _refuse(keys: TryKeys, before: Mapping[bytes, Count]) -> None:
    """Refuse a try if there were too many before it."""
    none = Count(0, datetime.min.replace(tzinfo=UTC))
    pair, network, link = (before.get(key, none) for key in keys)
    if network.tries >= MOST_OF_A_NETWORK:
        raise TooManyTries(network.until)
    if pair.tries >= (MOST_AT_A_WATCHED_LINK if link.tries >= WATCHED_FROM else MOST_AT_A_LINK):
        raise TooManyTries(pair.until)


def _next_day(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)


def _digest(secret: bytes, part: bytes) -> bytes:
    return hmac.digest(secret, part, "sha256")[:16]
