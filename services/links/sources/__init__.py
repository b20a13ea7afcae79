"""What other shorteners export, and how to read it: a module for each source, which turns its files into `found.py`.

`reading/` reads files of each kind, `formats.py` tells whose a file is, and `drafts.py` makes links of texts. Another source is
one more module of the form of `found.Source`, in this tuple.
"""

from services.links.sources import archive, bookmarks, chhoto, csv_lists, golinks, kutt, polr, tinyurl, yourls
from services.links.sources.found import Source
from services.links.sources.hosted import bitly, dub, firebase, rebrandly, shortio, tinyurl_com
from services.links.sources.shlink import source as shlink

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
