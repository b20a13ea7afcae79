"""The format of an archive of this shortener: the members of a tar file, and what a line of each kind has.

`services/links/archive` writes it, `archive.py` beside this reads it. A release reads the archives of all before it: a new
field has a default, and what changes the meaning of a field is another `FORMAT`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from shared.api import FIRST_YEAR, LAST_YEAR

FORMAT = 1

MANIFEST, END = "manifest.json", "end.json"
"""The first member and the last one."""

LARGEST_MEMBER = 4 * 1024 * 1024
"""Bytes. Whoever reads has a member in memory; whoever writes begins another one after `MEMBER_BYTES`."""

MEMBER_BYTES = 256 * 1024

MOST_COUNTED = 2**53
MOST_EDITED = 2**30
MOST_SOURCES = 100

EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC)
"""What is outside is no time of a link; Postgres knows times that Python cannot read back."""

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_SLOTS = 96


def _refuse_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


def _check_moment(moment: datetime) -> datetime:
    if not EARLIEST <= moment < LATEST:
        raise ValueError(f"must lie between the years {EARLIEST.year} and {LAST_YEAR}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_check_moment)]
Day = Annotated[date, Field(ge=date(FIRST_YEAR, 1, 1), le=date(LAST_YEAR, 12, 31))]
Version = Annotated[int, Field(ge=1, le=MOST_EDITED)]
Count = Annotated[int, Field(ge=0, le=MOST_COUNTED)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_refuse_nul)]
Text = Annotated[str, StringConstraints(max_length=64 * 1024), AfterValidator(_refuse_nul)]
Value = Annotated[str, StringConstraints(max_length=256), AfterValidator(_refuse_nul)]
Sources = Annotated[
    list[tuple[Name, Annotated[str, StringConstraints(max_length=16 * 1024), AfterValidator(_refuse_nul)]]],
    Field(max_length=MOST_SOURCES),
]
Slot = tuple[Annotated[int, Field(ge=0, lt=_SLOTS)], Count, Count]
Dimension = Literal["country", "browser", "os", "device", "referrer", "language", "variant"]


class Manifest(BaseModel):
    """What the archive is.

    Attributes:
        owner: Whose links it has; None for those of all.
        passwords: Whether the hashes of passwords are in it.
        raw_clicks: Whether single clicks are in it.
    """

    model_config = _STRICT

    format: int
    release: str
    created_at: AwareDatetime
    owner: str | None
    passwords: bool
    raw_clicks: bool


class End(BaseModel):
    """What tells that the archive is whole.

    Attributes:
        lines: By kind, how many there are.
        sha256: Over the names and contents of all members before.
    """

    model_config = _STRICT

    lines: dict[str, int]
    sha256: str


class LinkLine(BaseModel):
    """A link.

    Attributes:
        url: As it was given.
        fields: What its owner decided besides, by the names of the API.
        sources: Where it came from, by the imports that found it: the name of a source, and its place there.
        clicks, humans: All of its clicks; they are made anew of the days and of what was imported.
        clicks_used: Of a limit.
    """

    model_config = _STRICT

    domain: Name
    code: Name
    owner: Name
    url: Text
    fields: dict[str, Any]
    password_hash: Annotated[str, StringConstraints(max_length=256)] | None = None
    folds_case: bool = False
    version: Version = 1
    created_at: Moment
    updated_at: Moment
    split_salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")] | None = None
    sources: Sources = []
    clicks_used: Count = 0
    clicks: Count = 0
    humans: Count = 0
    imported_clicks: Count = 0
    imported_humans: Count = 0


class TombstoneLine(BaseModel):
    """A deleted link, whose code stays taken."""

    model_config = _STRICT

    domain: Name
    code: Name
    owner: Name
    status_code: Literal[301, 302, 307, 308] = 302
    cache_control: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    valid_from: Moment | None = None
    expires_at: Moment | None = None
    expired_url: Text | None = None
    enabled: bool = True
    forward_query: bool = False
    folds_case: bool = False
    version: Version = 1
    created_at: Moment
    updated_at: Moment
    deleted_at: Moment
    sources: Sources = []
    imported_clicks: Count = 0
    imported_humans: Count = 0


class DayLine(BaseModel):
    """The clicks of a link on a UTC day.

    Attributes:
        imported: Whether they were counted elsewhere, before the link came here.
        slots: By quarter of an hour, from midnight: its number, people, bots.
        visitors: Unique people and bots.
        values: By dimension: a value, people, bots; the value None has those for which there was no room.
    """

    model_config = _STRICT

    domain: Name
    code: Name
    day: Day
    imported: bool = False
    slots: list[Slot] = []
    visitors: tuple[Count, Count] = (0, 0)
    values: Mapping[Dimension, list[tuple[Value | None, Count, Count]]] = {}


class VisitorsLine(BaseModel):
    """The unique visitors of all links of an owner on a UTC day, which no sum of those of links tells."""

    model_config = _STRICT

    owner: Name
    day: Day
    imported: bool = False
    visitors: tuple[Count, Count]


class ClickLine(BaseModel):
    """A single click, which is also among those of its day.

    Attributes:
        visitor: A keyed hash, whose key is gone.
        values: By dimension; what is not there is unknown.
    """

    model_config = _STRICT

    domain: Name
    code: Name
    at: Moment
    bot: bool = False
    imported: bool = False
    visitor: Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")] | None = None
    values: Mapping[Dimension, Value] = {}


class DomainLine(BaseModel):
    """What was decided about a domain, and its files."""

    model_config = _STRICT

    domain: Name
    decided: dict[str, Any]
    version: Annotated[int, Field(ge=0, lt=2**62)] = 0
    files: dict[str, Text] = {}


Line = LinkLine | TombstoneLine | DayLine | VisitorsLine | ClickLine | DomainLine

KINDS: Mapping[str, type[Line]] = MappingProxyType(
    {
        "domains": DomainLine,
        "links": LinkLine,
        "tombstones": TombstoneLine,
        "days": DayLine,
        "visitors": VisitorsLine,
        "clicks": ClickLine,
    }
)
"""The members are `KIND/NUMBER.ndjson`. Days come behind the links that they are of, single clicks behind all days."""

match_member = re.compile(rf"({'|'.join(KINDS)})/([0-9]{{8}})\.ndjson").fullmatch


def member_name(kind: str, number: int) -> str:
    return f"{kind}/{number:08}.ndjson"
