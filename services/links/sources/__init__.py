"""What other shorteners export, and how to read it: a module for each source, which turns its files into `found.py`.

`texts.py`, `tables.py`, `json_rows.py`, `sql.py`, `sqlite_files.py` and `times.py` read files of each kind, and `drafts.py`
makes links of their texts. Another source is one more module of the form of `found.Source`, in this tuple.
"""

from services.links.sources import (
    archive,
    bitly,
    bookmarks,
    chhoto,
    csv_lists,
    dub,
    firebase,
    golinks,
    kutt,
    polr,
    rebrandly,
    shlink,
    shortio,
    tinyurl,
    tinyurl_com,
    yourls,
)
from services.links.sources.found import Source

SOURCES: tuple[Source, ...] = (
    tinyurl,
    archive,
    shlink,
    yourls,
    bitly,
    kutt,
    polr,
    chhoto,
    dub,
    rebrandly,
    shortio,
    tinyurl_com,
    firebase,
    golinks,
    bookmarks,
    csv_lists,
)
"""One recognises a file at most, but for the last one, which takes any CSV that is left."""


def recognise(head: bytes, name: str) -> Source | None:
    """Find the source of a file by its beginning."""
    return next((source for source in SOURCES if source.recognise(head, name)), None)
