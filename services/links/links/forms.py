"""The fields of a link that clients send and get."""

import json
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from services.links.links.conditions import Rule, Rules, Split, SplitTarget
from services.links.links.rows import DECIDED, KEPT, LinkRow
from services.links.web.texts import (
    AskedInstant,
    Instant,
    OptionalNotes,
    OptionalTitle,
    Password,
    Search,
    Tags,
    Wanted,
    empty_is_null,
)
from shared.api import (
    LONGEST_URL,
    MOST_CLICKS,
    MOST_LISTED,
    MOST_TAGS,
    LinkState,
    Sort,
    StatusCode,
    TagMode,
)
from shared.codes import LONGEST_CODE, is_reserved, spell_code

LONGEST_LIFETIME_S = 365 * 24 * 3600

SEARCH = (
    "Part of the code, target, title or notes, as one reads or types it; or the short URL, with or without `https://`."
)

_STRICT = ConfigDict(extra="forbid", strict=True)


def _spell_code(text: str) -> str:
    code = spell_code(text)
    if is_reserved(code):
        raise ValueError("is a reserved word")
    return code


Code = Annotated[
    str,
    AfterValidator(_spell_code),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_CODE}),
]
Url = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL)]
OptionalUrl = Annotated[
    Annotated[str, StringConstraints(max_length=LONGEST_URL)] | None, BeforeValidator(empty_is_null)
]
AskedTags = Annotated[list[Wanted], Field(max_length=MOST_TAGS)]
MaxClicks = Annotated[int, Field(ge=1, le=MOST_CLICKS)]
CacheControl = Annotated[int, Field(ge=0, le=LONGEST_LIFETIME_S)]


class LinkOptions(BaseModel):
    """The fields of a link, besides its targets, that a client can create and edit."""

    title: OptionalTitle = None
    tags: Annotated[Tags, Field(max_length=MOST_TAGS)] = []
    status_code: StatusCode = Field(302, description="Of the redirect.")
    cache_control: CacheControl | None = Field(
        None, description="Seconds for which a browser may keep the redirect; null: it asks every time."
    )
    valid_from: Instant | None = Field(None, description="The link answers 404 before.")
    expires_at: Instant | None = Field(None, description="The link answers 410 from then on, or goes to `expired_url`.")
    expired_url: OptionalUrl = Field(None, description="Where an expired, disabled or deleted link leads.")
    enabled: bool = True
    forward_query: bool = Field(False, description="Add the visitor's query parameters to the target; its own win.")
    forward_path: bool = Field(
        False, description="Add what follows the code, as in `/CODE/rest`, to the target's path."
    )
    crawlable: bool = Field(False, description="Let search engines follow the link and keep it.")
    preview: bool = Field(True, description="Show at `/CODE+` where the link leads.")
    notes: OptionalNotes = Field(None, description="A text for yourself; visitors never see it.")
    max_clicks: MaxClicks | None = Field(
        None,
        description="So many visitors get to the target; for the others the link has expired. HEAD, known bots, link previews "
        "and prefetches do not count. A larger number lets more through. Not with `cache_control` or the status 301 or 308.",
    )
    rules: Rules | None = Field(
        None, description="The first rule whose conditions all hold leads the visitor; if none does, `split` or `url`."
    )
    split: Split | None = Field(
        None,
        description="Targets that share the visitors, instead of `url`: the same visitor always gets the same one.",
    )
    password: Password | None = Field(
        None, description="Visitors have to know it. No answer shows it; `has_password` tells whether there is one."
    )
    visitor_query_wins: bool = Field(
        False, description="With `forward_query`, the visitor's parameters replace the target's of the same name."
    )


class NewPlace(BaseModel):
    """Where a new link leads from and to."""

    url: Url = Field(
        description="Where the link leads: an absolute URL, with http or https unless the site allows more.",
        examples=["https://www.python.org/"],
    )
    code: Code | None = Field(
        None,
        description="A code of your own: 1 to 255 letters, marks and digits of any script, emoji, and `-_.~+`; `/` between up "
        "to five segments where the domain allows it (`multi_segment`). One is generated if it is left out.",
    )
    domain: Annotated[str | None, BeforeValidator(empty_is_null)] = Field(
        None, description="One of the domains of this site; the first one if left out."
    )


class ChangedPlace(BaseModel):
    """Where an edited link leads to."""

    url: Url = ""


# pydantic puts the fields of the last base first.
class LinkIn(LinkOptions, NewPlace):
    """A link to create."""

    model_config = _STRICT

    find_existing: bool = Field(
        False,
        description="Answer 200 with your link of the same target and fields, if any. One with a password or a limit is always "
        "new.",
    )


def drop_defaults(schema: dict[str, Any]) -> None:
    """Remove the defaults from the schema of an edit. A generated client would send them for fields that are left out."""
    for field in schema["properties"].values():
        field.pop("default", None)


class LinkPatch(LinkOptions, ChangedPlace):
    """Fields of a link to change; what is left out stays, null takes away."""

    model_config = ConfigDict(**_STRICT, json_schema_extra=drop_defaults)


class LinkQuery(BaseModel):
    """Which links to list, and in which order."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=MOST_LISTED)
    cursor: Annotated[str, StringConstraints(max_length=2048)] | None = Field(
        None, description="`next_cursor` of the page before."
    )
    sort: Sort = "-created_at"
    q: Search | None = Field(None, description=SEARCH)
    tag: AskedTags = Field([], description="Can be repeated.")
    tag_mode: TagMode = Field("all", description="Whether a link has all of the tags, or at least one.")
    domain: Wanted | None = None
    state: LinkState | None = None
    owner: Wanted | None = Field(None, description="For the scope `admin`.")
    created_after: AskedInstant | None = None
    created_before: AskedInstant | None = None


class ExportQuery(BaseModel):
    """Which links to export."""

    model_config = ConfigDict(extra="forbid")

    q: Search | None = Field(None, description=SEARCH)
    tag: AskedTags = Field([], description="Can be repeated.")
    tag_mode: TagMode = Field("all", description="Whether a link has all of the tags, or at least one.")
    domain: Wanted | None = None
    state: LinkState | None = None
    owner: Wanted | None = Field(None, description="For the scope `admin`.")
    created_after: AskedInstant | None = None
    created_before: AskedInstant | None = None
    bom: bool = Field(
        False, description="Begin CSV with a byte order mark: Excel on Windows then reads its letters as UTF-8."
    )


class LinkOut(BaseModel):
    """A link."""

    short_url: str
    code: str
    domain: str
    url: str
    title: str | None
    tags: list[str]
    status_code: int
    cache_control: int | None
    valid_from: datetime | None
    expires_at: datetime | None
    expired_url: str | None
    enabled: bool
    forward_query: bool
    # What came later has a default: the answer that a release before stored for a repeated request does not have it.
    forward_path: bool = False
    crawlable: bool = False
    preview: bool = True
    notes: str | None = None
    max_clicks: int | None = None
    rules: list[Rule] | None = None
    split: list[SplitTarget] | None = None
    has_password: bool = False
    owner: str
    clicks: int = Field(description="All clicks that were answered, those of bots too; HEAD is none.")
    humans: int = Field(0, description="Clicks without those of known bots.")
    clicks_left: int | None = Field(None, description="How many visitors `max_clicks` still lets through.")
    version: int
    created_at: datetime
    updated_at: datetime
    imported_clicks: int = Field(
        0, description="Of `clicks`, those that were counted elsewhere and came with the link."
    )
    visitor_query_wins: bool = False
    folds_case: bool = Field(False, description="Whether visitors may write the code in any case.")


class LinkPage(BaseModel):
    """A page of a list; the last one has no `next_cursor`."""

    items: list[LinkOut]
    next_cursor: str | None


def link_out(row: LinkRow, short_url: str) -> LinkOut:
    """Return a stored link as clients get it."""
    kept = zip(_SHOWN, _shown(row), strict=True)
    told = dict(zip(_TOLD, _told(row.fields), strict=True))
    for name in ("rules", "split"):
        if told[name] is not None:
            told[name] = json.loads(told[name])
    has_password = row.fields.password_hash is not None
    return LinkOut(short_url=short_url, has_password=has_password, **dict(kept), **told)


_SHOWN = tuple(name for name in KEPT if name in LinkOut.model_fields)
_TOLD = tuple(name for name in DECIDED if name in LinkOut.model_fields)
_shown, _told = attrgetter(*_SHOWN), attrgetter(*_TOLD)
