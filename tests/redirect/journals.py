"""What the tests of the click journal share."""

import os
import resource
from pathlib import Path

from pydantic import SecretStr

from services.redirect.journal.segments import create_segment
from shared.clicks import Click, ClickParts
from shared.journal import HEADER, split_records, unpack_clicks
from shared.settings import RedirectSettings
from tests.redirect.intake_server import TOKEN

GIB = 2**30


def click(number: int, agent: bytes = b"Mozilla/5.0") -> Click:
    return (1_800_000_000.25 + number, number, ClickParts(address=b"203.0.113.7", agent=agent))


def read_folder(folder: Path) -> list[tuple[float, int, ClickParts]]:
    """All clicks of all segments, in the order in which they were written; torn tails are left out."""
    found: list[tuple[float, int, ClickParts]] = []
    for path in sorted(folder.glob("*.journal")):
        data = path.read_bytes()
        assert data.startswith(HEADER)
        for _, body in split_records(data[len(HEADER) :]):
            found += unpack_clicks(body)
    return found


def limit_file_size(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def journaling(settings: RedirectSettings, folder: Path, address: str = "unix:/nonexistent") -> RedirectSettings:
    """The settings with a journal."""
    return settings.model_copy(
        update={"journal_dir": folder, "links_address": address, "internal_token": SecretStr(TOKEN)}
    )


def leave_segment(folder: Path, data: bytes) -> Path:
    """A segment of a process that has died."""
    segment = create_segment(folder)
    os.write(segment.descriptor, data)
    segment.close()
    return segment.path
