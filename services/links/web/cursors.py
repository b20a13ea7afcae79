"""Cursors of keyset pages: an opaque, signed text names the row after which the next page begins."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import msgpack

_SIGNATURE_BYTES = 16


class CursorRefused(ValueError):
    """The text is no cursor, or a cursor of another list."""


@dataclass(frozen=True, slots=True)
class Position:
    """The last row of a page: its value of the sort column, and its id, which tells equal values apart."""

    value: Any
    row_id: int


class Cursors:
    """Writes and reads cursors.

    Args:
        secret: Signs the cursors, so that an altered one is refused.
        previous: The secret before this one. Its cursors are still read.
    """

    def __init__(self, secret: bytes, previous: bytes | None = None) -> None:
        self._keys = [hashlib.sha256(b"cursor:" + each).digest() for each in (secret, previous) if each]

    def write(self, position: Position, made_for: str) -> str:
        """Write a cursor.

        Args:
            position: The last row of the page.
            made_for: The list and its order. It may have internal ids, because no answer shows it.
        """
        packed: bytes = msgpack.packb((made_for, position.value, position.row_id), datetime=True)
        return base64.urlsafe_b64encode(_sign(self._keys[0], packed) + packed).decode().rstrip("=")

    def read(self, text: str, asked_for: str) -> Position:
        """Read a cursor.

        Raises:
            CursorRefused: It was made by someone else, or for another list or order.
        """
        try:
            raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except (UnicodeEncodeError, binascii.Error):
            raise CursorRefused("is not a cursor of this server") from None
        signature, packed = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not any(hmac.compare_digest(signature, _sign(key, packed)) for key in self._keys):
            raise CursorRefused("is not a cursor of this server")
        made_for, value, row_id = msgpack.unpackb(packed, timestamp=3)
        if made_for != asked_for:
            raise CursorRefused("belongs to another list, or to this one in another order")
        return Position(value, row_id)


def _sign(key: bytes, packed: bytes) -> bytes:
    return hmac.digest(key, packed, "sha256")[:_SIGNATURE_BYTES]
