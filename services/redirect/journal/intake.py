"""The shipper's client of the write service: it hands over a batch of the journal, and reads how far the service has come."""

import json
from dataclasses import dataclass

from services.redirect.owner.connection import LinksConnection
from shared.journal import FORMAT, FORMAT_HEADER

DEADLINE_S = 10.0


@dataclass(frozen=True)
class Receipt:
    """The write service's answer to a batch: the status, and the offset up to which it has the segment."""

    status: int
    offset: int | None


class IntakeClient(LinksConnection):
    """The shipper's connection; `deadline_s` is the time for a batch."""

    def __init__(self, address: str, token: str, *, deadline_s: float = DEADLINE_S) -> None:
        super().__init__(address, token, deadline_s=deadline_s)

    async def post(self, segment: str, offset: int, body: bytes, *, is_gzip: bool) -> Receipt:
        """Hand over whole records.

        Args:
            segment: Its UUID.
            offset: Where the first record begins, from the beginning of the segment.
            body: The records.
            is_gzip: Whether they are compressed.

        Raises:
            One of `FAILURES`.
        """
        headers = {FORMAT_HEADER: FORMAT, "Content-Type": "application/octet-stream"}
        if is_gzip:
            headers["Content-Encoding"] = "gzip"
        reply = await self.request(f"/internal/clicks?segment={segment}&offset={offset}", headers, body)
        return Receipt(reply.status, read_offset(reply.body))


def read_offset(body: bytes) -> int | None:
    """Return the offset in an answer; None without one."""
    try:
        offset = json.loads(body)["offset"]
    except (ValueError, KeyError, TypeError):
        return None
    return offset if type(offset) is int and offset >= 0 else None
