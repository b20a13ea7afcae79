"""Go links: what Trotto answers, and the lines that tailscale's golink exports."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC

from services.links.sources.drafts import make_link, read_each, text_of
from services.links.sources.formats import is_json_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable
from services.links.sources.reading.json_rows import JsonRow, read_json

NAME = "golinks"
TITLE = "Trotto, golink"

_placeholder = re.compile(r"%s|\{\*\}|\{\{")


def recognise(head: bytes, name: str) -> bool:
    return is_json_of(NAME, head, frozenset({"shortpath", "destination_url"}), frozenset({"Short", "Long"}))


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    # Trotto's times are of UTC, without an offset.
    hints = replace(file.hints, zone=UTC)
    return read_each(read_json(file), lambda row: _link(row, hints))


def read_visits(_file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    return iter(())


def _link(row: JsonRow, hints: Hints) -> Iterable[FoundLink]:
    members = row.members
    code, target = text_of(members, "shortpath", "Short"), text_of(members, "destination_url", "Long")
    if not code:
        raise ValueError("has no short path")
    if _placeholder.search(code) or _placeholder.search(target):
        raise ValueError("has a placeholder, which has no meaning here")
    yield make_link(
        row.number,
        hints,
        code=code.strip("/"),
        url=target,
        created=text_of(members, "created", "Created"),
        clicks=members.get("visits_count"),
    )
