"""A redirect process that records each click in a file, the way the click journal will: one checked record per tick."""

import os
import struct
import sys
import zlib
from collections.abc import Sequence

import msgpack

from services.redirect.app import create_app
from services.redirect.lane import LaneProtocol
from shared.clicks import Click, RecordClicks
from shared.server import run_server
from shared.settings import RedirectSettings, load_settings

_HEADER = struct.Struct("<II")


def write_clicks_to(path: str) -> RecordClicks:
    """Append the clicks of each tick to a file with one `write()`: length, CRC-32, msgpack."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    pack = msgpack.Packer().pack

    def record_clicks(clicks: Sequence[Click]) -> None:
        body = pack(clicks)
        os.write(descriptor, _HEADER.pack(len(body), zlib.crc32(body)) + body)

    return record_clicks


if __name__ == "__main__":
    settings = load_settings(RedirectSettings)
    run_server(create_app(settings, write_clicks_to(sys.argv[1])), settings, http=LaneProtocol)
