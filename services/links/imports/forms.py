"""What clients send and get of an import: its options, and how far it is."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from services.links.links.checks import spell_domain
from services.links.site import Site
from services.links.sources import SOURCES
from services.links.sources.found import Hints
from services.links.web.errors import FieldError, InvalidInput
from services.links.web.texts import TimeZone, refuse_nul

OnConflict = Literal["skip", "keep_both", "replace", "fail"]
State = Literal["receiving", "waiting", "reading", "importing", "done", "failed", "undoing", "undone"]

MOST_DOMAINS = 100
FORMATS = list(dict.fromkeys(source.NAME for source in SOURCES))


def _check_format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"must be one of {', '.join(FORMATS)}")
    return name


def _check_encoding(name: str) -> str:
    try:
        b"".decode(name)
    except (LookupError, ValueError):
        raise ValueError("must be an encoding of text, like windows-1252") from None
    return name


Text = Annotated[str, StringConstraints(max_length=255), AfterValidator(refuse_nul)]


class ImportQuery(BaseModel):
    """How to import a file."""

    model_config = ConfigDict(extra="forbid")

    id: UUID | None = Field(None, description="Of your own, so that the request can be repeated.")
    format: (
        Annotated[
            str,
            StringConstraints(max_length=64),
            AfterValidator(_check_format),
            Field(json_schema_extra={"enum": FORMATS}),
        ]
        | None
    ) = Field(None, description="Whose file it is; told by the file itself if left out.")
    filename: Text = Field("", description="As you have it.")
    on_conflict: OnConflict = Field(
        "skip",
        description="What becomes of a link whose code is in use: it is left out (`skip`), gets another code (`keep_both`), "
        "replaces your own link (`replace`), or nothing at all is imported (`fail`).",
    )
    dry_run: bool = Field(False, description="Read and check everything, and make nothing.")
    domain: Annotated[list[Text], Field(max_length=MOST_DOMAINS)] = Field(
        [],
        description="`FROM=TO` puts the links of the domain FROM on your domain TO; `TO` alone is for links without a domain.",
    )
    zone: TimeZone = Field("UTC", description="Of times without one.")
    encoding: Annotated[Text, AfterValidator(_check_encoding)] | None = Field(
        None, description="Of the file, if it is neither UTF-8 nor begins with a byte order mark."
    )
    day_first: bool | None = Field(
        None, description="Whether 3/4/2024 is in April; such dates are refused if left out."
    )
    fold_case: bool = Field(
        False, description="Codes lead to their targets in upper and lower case, as they did there."
    )
    scheme: Literal["https"] | None = Field(None, description="Of targets without one.")
    slashes: Literal["-"] | None = Field(None, description="What stands for each `/` in a code.")


class ImportOut(BaseModel):
    """An import, and how far it is. With `dry_run` the numbers are what they would be."""

    id: UUID
    state: State
    dry_run: bool
    format: str | None = Field(description="The source that reads the file, once that is known.")
    filename: str
    on_conflict: OnConflict
    bytes: int = Field(description="Received; an upload that broke off goes on from here.")
    rows_read: int
    made: int = Field(description="Links that are new, or back again.")
    found: int = Field(description="Links that were there already, as they are in the file or from an import before.")
    replaced: int
    refused: int = Field(description="Rows that were left out; `refused` of the import lists the first ones.")
    notices: int = Field(description="Rows that were imported with a change; they are in the same list.")
    visits: int = Field(
        description="Single visits and clicks of days that were taken over, beside the totals of links."
    )
    kept: int = Field(description="Links that an undoing has kept, as they were edited or clicked; in the same list.")
    rows_per_second: float | None
    seconds_left: float | None
    error: str | None
    created_at: datetime
    changed_at: datetime


class ImportList(BaseModel):
    """Your imports, the newest first."""

    items: list[ImportOut]


class DomainMap(BaseModel):
    """Where links go.

    Attributes:
        default: Of links without a domain.
        hosts: Domains of the source, and those of this site that stand for them.
    """

    default: str
    hosts: dict[str, str]


class ImportOptions(BaseModel):
    """The options of an import as they are stored."""

    filename: str
    on_conflict: OnConflict
    domains: DomainMap
    zone: str
    encoding: str | None
    day_first: bool | None
    fold_case: bool
    scheme: str | None
    slashes: str | None

    def hints(self) -> Hints:
        return Hints(ZoneInfo(self.zone), self.encoding, self.day_first)


def read_options(query: ImportQuery, site: Site) -> ImportOptions:
    """Check the options that need the settings.

    Raises:
        InvalidInput: A target of the map is no domain of this site, or a host is mapped twice.
    """
    return ImportOptions(domains=_read_domains(query.domain, site), **query.model_dump(exclude={"domain"}))


def _read_domains(texts: list[str], site: Site) -> DomainMap:
    hosts: dict[str, str] = {}
    for text in texts:
        source, _, own = (each.strip() for each in text.rpartition("="))
        try:
            source, own = spell_domain(source), spell_domain(own)
        except ValueError:
            raise InvalidInput(FieldError("domain", f"has a name that is none: {text}")) from None
        own = site.aliases.get(own, own)
        if own not in site.own_domains:
            raise InvalidInput(FieldError("domain", f"must lead to one of {', '.join(sorted(site.own_domains))}"))
        if hosts.setdefault(source, own) != own:
            raise InvalidInput(FieldError("domain", f"names {source or 'the default'} twice"))
    return DomainMap(default=hosts.pop("", site.default_domain), hosts=hosts)
