"""Files of other shorteners, from end to end: what they hold becomes links and clicks here."""

import httpx
import pytest

from tests.links.import_client import bring, numbers
from tests.links.source_samples import SAMPLES

MOVES = {
    "short_urls.csv": {"rows_read": 3, "made": 3},
    "pulled.ndjson": {"rows_read": 3, "made": 1, "notices": 1, "visits": 2},
    "yourls.sql": {"rows_read": 6, "made": 4, "notices": 2, "visits": 2},
    "kutt.sqlite": {"rows_read": 2, "made": 1, "visits": 3},
    "bookmarks.html": {"rows_read": 3, "made": 2, "refused": 1},
}
"""A file for each way of reading, and what an import tells of it."""


@pytest.mark.parametrize("name", MOVES)
async def test_a_file_moves_in(alice: httpx.AsyncClient, name: str) -> None:
    """A file is recognised by the import, and its links, visits and counts are stored."""
    sample = next(each for each in SAMPLES if each.name == name)
    done = await bring(alice, sample.data, filename=name, domain="go.example.org=sho.rt")

    assert (done["state"], done["format"]) == ("done", sample.source)
    assert numbers(done) == MOVES[name]
