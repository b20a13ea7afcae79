"""What a new short URL or an edit of one has, turned into the fields of a link, and how a new one gets its code.

The fields are checked as those of the API are (`services/links/links/forms.py`), after Shlink's own spelling of tags, titles
and slugs.
"""

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from services.links.compat.shlink.calls import Call, named_domain
from services.links.compat.shlink.dates import read_date, write_date
from services.links.compat.shlink.rows import find_similar, has_segments
from services.links.links import actions
from services.links.links.creation import CODE_ATTEMPTS, NoFreeCode, Outcome, announce_links, store_links
from services.links.links.forms import LinkIn, LinkPatch
from services.links.links.rows import LinkDraft, LinkRow, lock_searches
from services.links.web.errors import FieldError, InvalidInput, invalid_input
from services.links.web.invisible import find_hidden
from shared.api import LONGEST_TITLE
from shared.codes import GENERATED_LENGTH
from shared.postgres import Connection, connection

FEWEST_CHARACTERS = 4
MOST_CHARACTERS = 64
"""Of a code that is drawn."""

_ALPHABET = string.digits + string.ascii_letters

_html = re.compile(r"<[^>]*>")
_blanks = re.compile(r"\s+")
_whole = re.compile(r"[+-]?[0-9]{1,12}").fullmatch

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class NewShortUrl:
    """What is asked for.

    Attributes:
        link: Without a code if one is drawn.
        prefix, length: Of a code that is drawn; `length` is None for the usual one.
        find: Whether one like it is as good.
    """

    link: LinkIn
    prefix: str = ""
    length: int | None = None
    find: bool = False

    @property
    def is_drawn_here(self) -> bool:
        return self.link.code is None and (bool(self.prefix) or self.length is not None)


async def read_new(call: Call, body: Body) -> NewShortUrl:
    """Read what a new short URL has.

    Raises:
        InvalidInput, ValidationError: A member is wrong.
    """
    slug, prefix, domain = (_text(body, name) for name in ("customSlug", "pathPrefix", "domain"))
    if domain is not None:
        domain = named_domain(domain, call.site)
    length = _number(body, "shortCodeLength")
    if length is not None and not FEWEST_CHARACTERS <= length <= MOST_CHARACTERS:
        raise InvalidInput(FieldError("shortCodeLength", f"must be {FEWEST_CHARACTERS} to {MOST_CHARACTERS}"))
    has_slashes = "/" in f"{slug}{prefix}" and await _allows_slashes(call, domain)
    slug, prefix = (_slug(text or "", has_slashes=has_slashes) for text in (slug, prefix))
    fields = _shared_fields(body, ())
    forwards = _flag(body, "forwardQuery", usual=True)
    link = LinkIn.model_validate(
        {
            **{name: value for name, value in fields.items() if value is not None},
            # Left out, the error would say so of another name.
            "url": fields.get("url") or "",
            "code": slug or None,
            "domain": domain,
            "forward_query": forwards,
            "visitor_query_wins": forwards,
        }
    )
    if link.code is None and prefix:
        try:
            LinkIn.model_validate({"url": link.url, "code": prefix + _draw(length or GENERATED_LENGTH)})
        except ValidationError as error:
            raise InvalidInput(FieldError("pathPrefix", invalid_input(error).errors[0].reason)) from None
    return NewShortUrl(link, prefix, length, _flag(body, "findIfExists", usual=False))


def read_edit(body: Body, row: LinkRow) -> LinkPatch:
    """Read what an edit changes of a link. What is as the link was shown is no change: its client sends all that it shows.

    Raises:
        InvalidInput, ValidationError: A member is wrong.
    """
    fields = row.fields
    changed = _shared_fields(body, fields.tags)
    shown: dict[str, object] = {
        "url": fields.url_as_given,
        "title": fields.title,
        "tags": list(fields.tags),
        "valid_from": write_date(fields.valid_from),
        "expires_at": write_date(fields.expires_at),
        "max_clicks": fields.max_clicks,
        "crawlable": fields.crawlable,
    }
    changed = {name: value for name, value in changed.items() if value != shown[name]}
    if "forwardQuery" in body:
        forwards = _flag(body, "forwardQuery", usual=True)
        if forwards != fields.forward_query:
            changed |= {"forward_query": forwards, "visitor_query_wins": forwards}
    return LinkPatch.model_validate(changed)


async def create(call: Call, asked: NewShortUrl) -> LinkRow:
    """Create a link, or find one like it. When this returns, it is committed.

    Raises:
        CodeTaken: Its slug is or was in use.
        NoFreeCode: All codes that were drawn are taken.
    """
    draft = await actions.draft_link(call.state, call.caller, asked.link)
    if not asked.find and not asked.is_drawn_here:
        return (await actions.create_link(call.state, call.caller, draft)).link
    async with actions.transaction(call.state, call.caller) as conn:
        if asked.find:
            await lock_searches(conn, draft.owner, {draft.fields.url})
            found = await find_similar(conn, draft)
            if found is not None:
                return found
        return await _store(conn, draft, asked)


async def _store(conn: Connection, draft: LinkDraft, asked: NewShortUrl) -> LinkRow:
    for _ in range(CODE_ATTEMPTS if asked.is_drawn_here else 1):
        if asked.is_drawn_here:
            draft = replace(draft, code=asked.prefix + _draw(asked.length or GENERATED_LENGTH))
        (outcome,) = await store_links(conn, draft.owner, [draft])
        if isinstance(outcome, Outcome):
            # A short code may have been asked for before, so it is announced like one that was chosen.
            await announce_links(conn, [draft], [outcome])
            return outcome.link
        if not asked.is_drawn_here:
            raise outcome
    raise NoFreeCode


def _draw(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _shared_fields(body: Body, known_tags: tuple[str, ...]) -> dict[str, object]:
    """The fields that a creation and an edit have in common, of the members that are there."""
    fields: dict[str, object] = {}
    if "longUrl" in body:
        fields["url"] = _text(body, "longUrl") or ""
    if "title" in body:
        fields["title"] = _title(_text(body, "title"))
    if "tags" in body:
        fields["tags"] = _tags(body, known_tags)
    for name, ours in (("validSince", "valid_from"), ("validUntil", "expires_at")):
        if name in body:
            fields[ours] = write_date(_date(body, name))
    if "maxVisits" in body:
        fields["max_clicks"] = _number(body, "maxVisits")
    if "crawlable" in body:
        fields["crawlable"] = _flag(body, "crawlable", usual=False)
    return fields


async def _allows_slashes(call: Call, domain: str | None) -> bool:
    async with call.state.shares.edits.turn(call.caller.owner), connection(call.state.pool) as conn:
        return await has_segments(conn, domain or call.site.default_domain)


def _slug(text: str, *, has_slashes: bool) -> str:
    """Spell a slug as Shlink does: blanks are dashes, and slashes, too, where no code has any."""
    spelled = _blanks.sub("-", text.strip())
    return spelled if has_slashes else spelled.replace("/", "-")


def _title(text: str | None) -> str | None:
    """Cut a title, which is never refused."""
    if text is None:
        return None
    cut = text.strip()[:LONGEST_TITLE]
    if find_hidden(cut) is not None:
        cut = "".join(character for character in cut if find_hidden(character) is None)
    return cut or None


def _tags(body: Body, known: tuple[str, ...]) -> list[str]:
    """Spell tags as Shlink does. Those that a link has stay as they are."""
    value = body["tags"]
    tags = [value] if isinstance(value, str) else value
    if tags is None:
        return []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidInput(FieldError("tags", "must be a list of texts"))
    spelled = (tag if tag in known else _blanks.sub("-", _html.sub("", tag).strip()).lower() for tag in tags)
    return [tag for tag in dict.fromkeys(spelled) if tag]


def _text(body: Body, name: str) -> str | None:
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise InvalidInput(FieldError(name, "must be a text"))


def _number(body: Body, name: str) -> int | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _whole(value.strip()):
        return int(value)
    raise InvalidInput(FieldError(name, "must be a whole number"))


def _flag(body: Body, name: str, *, usual: bool) -> bool:
    value = body.get(name)
    if value is None:
        return usual
    if isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False, "": False}.get(value.strip().lower())
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    raise InvalidInput(FieldError(name, "must be true or false"))


def _date(body: Body, name: str) -> datetime | None:
    text = _text(body, name)
    try:
        return read_date(text) if text else None
    except (TypeError, ValueError):
        raise InvalidInput(FieldError(name, "must be a date such as 2027-01-31T12:00:00+00:00")) from None
