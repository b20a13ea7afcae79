"""The API's answers about links, keys and domains, as frozen dataclasses (`counts.py` has the clicks)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .words import Scope


@dataclass(frozen=True, slots=True)
class Link:
    """A link, at one of its versions."""

    short_url: str
    code: str
    domain: str
    url: str
    title: str | None
    tags: tuple[str, ...]
    status_code: int
    cache_control: int | None
    valid_from: datetime | None
    expires_at: datetime | None
    expired_url: str | None
    enabled: bool
    forward_query: bool
    owner: str
    clicks: int
    version: int
    created_at: datetime
    updated_at: datetime
    humans: int = 0
    forward_path: bool = False
    crawlable: bool = False
    preview: bool = True
    notes: str | None = None
    max_clicks: int | None = None
    clicks_left: int | None = None
    rules: list[dict[str, Any]] | None = None
    split: list[dict[str, Any]] | None = None
    has_password: bool = False
    imported_clicks: int = 0
    visitor_query_wins: bool = False

    @property
    def name(self) -> str:
        """The link's domain and code, as `stats/recent` takes them."""
        return f"{self.domain}/{self.code}"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of links; the last one has no cursor."""

    items: tuple[Link, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, without its secret."""

    id: str
    owner: str
    name: str | None
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key; `key` is its text, which the API shows only once."""

    id: str
    owner: str
    key: str


@dataclass(frozen=True, slots=True)
class Keys:
    items: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class FieldProblem:
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row of a batch was not created."""

    title: str
    detail: str = ""
    errors: tuple[FieldProblem, ...] = ()

    def __str__(self) -> str:
        return "; ".join(f"{each.field} {each.reason}" for each in self.errors) or self.detail or self.title


@dataclass(frozen=True, slots=True)
class RowResult:
    """The result of one row: a link, or a problem."""

    index: int
    status: int
    link: Link | None = None
    problem: RowProblem | None = None


@dataclass(frozen=True, slots=True)
class BatchResult:
    created: int
    found: int
    failed: int
    results: tuple[RowResult, ...]


@dataclass(frozen=True, slots=True)
class DecidedTarget:
    """A target that a visitor may get, and its share of the visitors."""

    variant: str
    url: str
    share: float


@dataclass(frozen=True, slots=True)
class DecidedCondition:
    condition: str
    holds: bool
    wanted: tuple[str, ...]
    found: str | None


@dataclass(frozen=True, slots=True)
class DecidedRule:
    number: int
    name: str
    holds: bool
    wins: bool
    conditions: tuple[DecidedCondition, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a link leads a visit, and why: the number of the rule that wins, if any."""

    rule: int | None
    targets: tuple[DecidedTarget, ...]
    rules: tuple[DecidedRule, ...]


@dataclass(frozen=True, slots=True)
class CodeAvailability:
    """Whether a code is available; if not, the reason says why."""

    code: str
    domain: str
    available: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Domains:
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DomainFile:
    """A file of a domain, without its content."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain, and what was decided about it."""

    domain: str
    root_url: str | None
    not_found_url: str | None
    expired_url: str | None
    page_title: str | None
    page_colour: str | None
    robots: str | None
    files: tuple[DomainFile, ...]
    version: int
    multi_segment: bool = False


@dataclass(frozen=True, slots=True)
class Tag:
    tag: str
    links: int


@dataclass(frozen=True, slots=True)
class Tags:
    items: tuple[Tag, ...]
