"""One module per shortener: what its files hold. `services/links/imports` decides what becomes of it."""

from services.links.sources import tinyurl
from services.links.sources.found import Source

SOURCES: tuple[Source, ...] = (tinyurl,)
"""In the order in which they are asked whether a file is theirs."""


def recognise(head: bytes, name: str) -> Source | None:
    """Find the source of a file by its first 64 KiB and its name."""
    return next((source for source in SOURCES if source.recognise(head, name)), None)
