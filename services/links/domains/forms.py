"""The decisions about a domain that its operators send and get, and the checks of them."""

import re
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from services.links.domains.rows import DECIDED, DomainRow
from services.links.links.forms import OptionalUrl, drop_defaults
from services.links.links.targets import TargetRefused, TargetRules
from services.links.web.bodies import parse_json
from services.links.web.errors import FieldError, InvalidInput, MalformedJson
from services.links.web.texts import OptionalTitle, empty_is_null, refuse_nul
from shared.domains import CODE_PLACE, FILES

LONGEST_ROBOTS = 64 * 1024
"""Characters."""

FileName = Literal["apple-app-site-association", "assetlinks.json", "security.txt"]
Colour = Annotated[str, StringConstraints(pattern="^#[0-9A-Fa-f]{6}$", to_lower=True)]
RobotsText = Annotated[str, StringConstraints(max_length=LONGEST_ROBOTS), AfterValidator(refuse_nul)]

# The part of an address behind its host and before its fragment.
_match_address = re.compile(r"https?://[^/?#]*(?P<place>[^#]*)(?:#.*)?", re.DOTALL).fullmatch


class DomainPatch(BaseModel):
    """Decisions about a domain to change; what is left out stays, null takes away."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=drop_defaults)

    root_url: OptionalUrl = Field(None, description="Where `/` leads.")
    not_found_url: OptionalUrl = Field(
        None,
        description="Where a code leads that is no link. `{code}` in its path or query stands for the code.",
        examples=["https://www.example.com/missing?code={code}"],
    )
    expired_url: OptionalUrl = Field(
        None, description="Where links lead that have expired, or were disabled or deleted, and have none of their own."
    )
    page_title: OptionalTitle = Field(None, description="Stands on the error pages.")
    page_colour: Annotated[Colour | None, BeforeValidator(empty_is_null)] = Field(
        None, description="Of a bar on the error pages.", examples=["#0a7d4b"]
    )
    robots: RobotsText | None = Field(
        None, description="The text of `/robots.txt`; null: it allows the crawlable links and disallows all else."
    )
    multi_segment: bool = Field(
        False, description="Whether codes may have slashes in them. Without it those that have some lead nowhere."
    )


class FileOut(BaseModel):
    """A file of a domain."""

    name: FileName
    media_type: str
    bytes: int
    updated_at: datetime


class DomainOut(BaseModel):
    """A domain, and what was decided about it."""

    domain: str
    root_url: str | None
    not_found_url: str | None
    expired_url: str | None
    page_title: str | None
    page_colour: str | None
    robots: str | None
    files: list[FileOut] = Field(description="Those under `/.well-known/`.")
    version: int = Field(description="0 before the first decision.")
    multi_segment: bool = Field(False, description="Whether codes may have slashes in them.")


def changed_decisions(body: DomainPatch, rules: TargetRules) -> dict[str, str | bool | None]:
    """Return what a body changes, with its addresses parsed. The error names every wrong field."""
    changed: dict[str, str | bool | None] = {name: getattr(body, name) for name in body.model_fields_set}
    errors = []
    for name in ("root_url", "not_found_url", "expired_url"):
        text = changed.get(name)
        if isinstance(text, str):
            try:
                changed[name] = parse_not_found(text, rules) if name == "not_found_url" else rules.parse(text)
            except TargetRefused as error:
                errors.append(FieldError(name, str(error)))
    if errors:
        raise InvalidInput(*errors)
    return changed


def parse_not_found(text: str, rules: TargetRules) -> str:
    """Parse an address in which `{code}` may stand once, in its path or its query.

    A visitor chooses the code. It is percent-encoded, slashes too, and never decides whose address it is.

    Raises:
        TargetRefused: It is no such address.
    """
    if CODE_PLACE not in text:
        return rules.parse(text)
    if text.count(CODE_PLACE) > 1:
        raise TargetRefused(f"must not contain {CODE_PLACE} twice")
    # The parser would encode the braces. A code stands in for them that is nowhere else in the text.
    stand_in = "0code0"
    while stand_in in text.lower():
        stand_in += "0"
    href = rules.parse(text.replace(CODE_PLACE, stand_in))
    match = _match_address(href)
    if match is None or stand_in not in match["place"]:
        raise TargetRefused(f"must have {CODE_PLACE} in its path or its query")
    return href.replace(stand_in, CODE_PLACE)


def read_file(name: FileName, body: bytes) -> str:
    """Check the content of a file: UTF-8, and JSON where the name promises it."""
    try:
        text = body.decode()
        if FILES[name] == "application/json":
            parse_json(body)
    except UnicodeDecodeError:
        raise InvalidInput(FieldError("body", "must be UTF-8")) from None
    except MalformedJson as error:
        raise InvalidInput(FieldError("body", f"must be JSON: {error.detail}")) from None
    if "\0" in text or not text.strip():
        raise InvalidInput(FieldError("body", "must be a text without the character U+0000"))
    return text


def domain_out(row: DomainRow) -> DomainOut:
    files = [
        FileOut(name=each.name, media_type=FILES[each.name], bytes=each.bytes, updated_at=each.updated_at)  # type: ignore[arg-type]  # checked when it was stored
        for each in row.files
    ]
    decided = dict(zip(DECIDED, attrgetter(*DECIDED)(row), strict=True))
    return DomainOut(domain=row.domain, **decided, files=files, version=row.version)
