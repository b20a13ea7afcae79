"""What is found in the files of other shorteners: links, single visits, and counts. Each tells the line that it came from.

A source is a module of this room. It turns a file into these and nothing else; `services/links/imports` decides what becomes of
them, with the checks of any other link. Nothing is looked up, changed silently or run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Protocol

from services.links.sources.archive_lines import Line

ROOT = "/"
"""The code of a link that the bare domain is."""


@dataclass(frozen=True, slots=True)
class FoundLink:
    """A link of another shortener.

    Attributes:
        line: Where in the file, from 1; of one without lines the number of the row or object.
        code: As visitors type it, decoded; `ROOT`; empty if one is to be drawn.
        url: The target as it was given.
        domain: Host in lower case, without port; None where the file names none.
        short_url: The whole short URL as it was given, if it was.
        clicks: All of them, as the source counted; visits and counts tell when some of these were.
        bots: Of these clicks; None where the source does not tell.
        password_hash: A hash that `services/links/web/hashing.py` can verify.
        fields: Other fields by their names in the API, as its JSON has them (times as RFC 3339).
        notices: What the source had and this shortener has not, a sentence each.
        owner: Whose it is, in an archive of this shortener; others than admins import it for themselves.
    """

    line: int
    code: str
    url: str
    domain: str | None = None
    short_url: str | None = None
    created_at: datetime | None = None
    clicks: int = 0
    bots: int | None = None
    password_hash: str | None = field(default=None, repr=False)
    fields: Mapping[str, object] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class FoundVisit:
    """A single visit of a link that has the same `domain` and `code`. None is what the source does not tell.

    Attributes:
        address: Of the visitor; it is hashed and never stored.
        country: ISO 3166-1, two letters.
        browser, os: Families, where the source has no agent.
        is_bot: None: to be told from the agent.
    """

    line: int
    code: str
    at: datetime
    domain: str | None = None
    user_agent: str | None = None
    referrer: str | None = None
    address: str | None = None
    country: str | None = None
    browser: str | None = None
    os: str | None = None
    is_bot: bool | None = None


@dataclass(frozen=True, slots=True)
class FoundCounts:
    """The clicks of a link in an hour or a day.

    Attributes:
        since: Its beginning.
        is_hour: Else it is a UTC day.
        clicks: All of them.
        bots: Of these.
        values: By dimension (`shared/api.py`), how many clicks had which value; the rest had unknown ones.
    """

    line: int
    code: str
    since: datetime
    clicks: int
    domain: str | None = None
    is_hour: bool = False
    bots: int = 0
    values: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """What only an archive of this shortener has, which `services/links/archive/restoring.py` stores as it is."""

    line: int
    record: Line


@dataclass(frozen=True, slots=True)
class Unusable:
    """A row that is none of these, and why. The next one follows.

    Attributes:
        text: The row, or its beginning.
    """

    line: int
    text: str
    reason: str


class UnusableFile(Exception):
    """The file cannot be read on. The text names the line, and says what it is not."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What a client says about a file, where the file does not.

    Attributes:
        zone: Of times without one.
        encoding: A name that Python knows; None: UTF-8, or UTF-16 with a byte order mark.
        day_first: How to read `3/4/2024`; None: such a date is refused.
    """

    zone: tzinfo
    encoding: str | None = None
    day_first: bool | None = None


class File(Protocol):
    """A file to read, uncompressed.

    Attributes:
        name: As the client has it, without folders; may be empty.
        hints: What the client says about it.
    """

    name: str
    hints: Hints

    def blocks(self) -> Iterator[bytes]:
        """Read it from the beginning, in blocks of any size; it can be called again."""


class Source(Protocol):
    """A module of this room. `NAME` is also the `--format`; `TITLE` is for people."""

    NAME: str
    TITLE: str

    def recognise(self, head: bytes, name: str) -> bool:
        """Tell whether a file is of this source, by its first 64 KiB and its name."""

    def read_links(self, file: File) -> Iterator[FoundLink | FoundRecord | Unusable]:
        """Read the links. A file that is cut or broken ends with `UnusableFile`."""

    def read_visits(self, file: File) -> Iterator[FoundVisit | FoundCounts | FoundRecord | Unusable]:
        """Read the visits and counts of the file; those of links that `read_links` does not find do not count."""
