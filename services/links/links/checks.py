"""The checks of a route before it uses the table: domains, targets, fields that depend on each other, and who may see what.

The forms check each field by itself before this, and the statements in `rows.py` come after it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import ada_url

from services.links.codes.segments import read_segment
from services.links.keys.authentication import Caller
from services.links.links.conditions import referrer_rules, repeated_variants, spell_models, stored_urls, targets_of
from services.links.links.forms import ExportQuery, LinkIn, LinkPatch, LinkQuery
from services.links.links.lists import LinkFilter
from services.links.links.rows import DECIDED, LinkDraft, LinkFields, LinkRow
from services.links.links.search import read_search
from services.links.links.targets import TargetRefused
from services.links.site import Site
from services.links.web.errors import FieldError, Forbidden, InvalidInput, NotFound
from shared.api import LONGEST_DECISION
from shared.codes import spell_code
from shared.records import LinkKey

DECIDING = ("rules", "split", "max_clicks", "password_hash")
"""The fields by which a link decides anew at each visit, so that no browser may keep its answer."""

_DECIDED = frozenset(DECIDED)

_UNHASHED = ""
"""Stands for the hash of a password until that is made. No password has it."""

_NO_LINK = "There is no such link."


def link_key(code: str, domain: str | None, site: Site) -> LinkKey:
    """Return the key of the link that a path names. A text that is no code, or has a NUL, names no link."""
    if "\0" in (domain or ""):
        raise NotFound(_NO_LINK)
    try:
        spelled = spell_code(read_segment(code))
    except ValueError:
        raise NotFound(_NO_LINK) from None
    return spell_domain(domain) if domain else site.default_domain, spelled


def check_domain(domain: str | None, site: Site) -> str:
    """Find the domain of a new link. Another site's domain is invalid input."""
    if domain is None:
        return site.default_domain
    spelled = spell_domain(domain)
    if spelled not in site.own_domains:
        raise InvalidInput(FieldError("domain", f"must be one of {', '.join(sorted(site.own_domains))}"))
    return spelled


def spell_domain(domain: str) -> str:
    """Return a domain in lower case and ASCII, without the dot at its end, as it is stored."""
    spelled = domain.strip().lower().rstrip(".")
    return spelled if spelled.isascii() or "\0" in spelled else ada_url.idna.encode(spelled).decode().rstrip(".")


def new_draft(body: LinkIn, owner: str, site: Site) -> LinkDraft:
    """Return the draft of a body, with its targets parsed. Wrong fields are invalid input."""
    domain = check_domain(body.domain, site)
    password_hash = None if body.password is None else _UNHASHED
    fields = _check_fields(LinkFields, body, site, password_hash, body.code or "")
    # A password is not compared, and of a limit some may be used up: a link with either is always new.
    find_existing = body.find_existing and body.password is None and body.max_clicks is None
    return LinkDraft(domain, owner, fields, body.code or "", find_existing, body.password)


def changed_fields(
    fields: LinkFields, body: LinkIn | LinkPatch, site: Site, password_hash: str | None = None, code: str = ""
) -> LinkFields:
    """Return the fields of a link with the checked changes of a body. The error names every wrong field.

    Args:
        fields: What the link has.
        body: The changes.
        site: This site.
        password_hash: The hash of the body's password.
        code: The link's.
    """
    return _check_fields(partial(replace, fields), body, site, password_hash, code)


def _check_fields(
    make: Callable[..., LinkFields], body: LinkIn | LinkPatch, site: Site, password_hash: str | None, code: str
) -> LinkFields:
    given = {name: getattr(body, name) for name in body.model_fields_set if name in _DECIDED}
    if "password" in body.model_fields_set:
        given["password_hash"] = password_hash
    if "tags" in given:
        given["tags"] = tuple(given["tags"])
    errors = []
    for name in ("url", "expired_url"):
        if (text := given.get(name)) is not None:
            try:
                given[name] = site.rules.parse(text)
            except TargetRefused as error:
                errors.append(FieldError(name, str(error)))
            if name == "url":
                # The parser takes no blanks around it for a part of it, and no list or table keeps them.
                spelled = text.strip(" ")
                given["given_url"] = spelled if spelled != given["url"] else None
    errors += _parse_targets(given, site)
    changed = make(**given)
    errors += _check_deciding(changed)
    if not errors and ("rules" in given or "split" in given):
        errors += [
            FieldError(place, f"makes the variant {variant!r} in statistics, which another target is called")
            for place, variant in repeated_variants(changed.url, changed.rules, changed.split)
        ]
    errors += _check_forwarding(changed, code)
    if changed.expires_at is not None:
        if "expires_at" in given and changed.expires_at <= datetime.now(UTC):
            errors.append(FieldError("expires_at", "must lie in the future"))
        if changed.valid_from is not None and changed.valid_from >= changed.expires_at:
            errors.append(FieldError("valid_from", "must lie before expires_at"))
    if errors:
        raise InvalidInput(*errors)
    return changed


def _check_forwarding(fields: LinkFields, code: str) -> list[FieldError]:
    if not fields.forward_path:
        return []
    errors = []
    if not all(url.startswith(("http://", "https://")) for url in _urls(fields)):
        errors.append(FieldError("forward_path", "needs a target that begins with http:// or https://"))
    if "/" in code:
        errors.append(
            FieldError("forward_path", "needs a code without slashes: only what follows its first one is passed on")
        )
    return errors


def _urls(fields: LinkFields) -> list[str]:
    return [fields.url, *stored_urls(fields.rules), *stored_urls(fields.split)]


def _parse_targets(given: dict[str, Any], site: Site) -> list[FieldError]:
    """Parse the targets of rules and splits, and spell both as they are stored."""
    errors = []
    for path, place in targets_of(given.get("rules") or (), given.get("split") or ()):
        try:
            place.url = site.rules.parse(place.url or "")
        except TargetRefused as error:
            errors.append(FieldError(path, str(error)))
    for name in ("rules", "split"):
        if name in given:
            given[name] = spell_models(given[name] or ())
    return errors


def _check_deciding(fields: LinkFields) -> list[FieldError]:
    """Find what lets a browser keep the answer of a link that decides, and what it cannot decide by."""
    deciding = " and ".join(name.removesuffix("_hash") for name in DECIDING if getattr(fields, name) is not None)
    errors = []
    if len(f"{fields.rules or ''}{fields.split or ''}".encode()) > LONGEST_DECISION:
        errors.append(FieldError("rules", f"and split must not be larger together than {LONGEST_DECISION} bytes"))
    if fields.password_hash is not None:
        reason = "must be left out beside password: visitors come from its form"
        errors += [FieldError(f"rules.{place}.if.referrer", reason) for place in referrer_rules(fields.rules)]
    if deciding and fields.cache_control is not None:
        errors.append(FieldError("cache_control", f"must be null beside {deciding}: browsers ask every time"))
    if deciding and fields.status_code not in (302, 307):
        errors.append(FieldError("status_code", f"must be 302 or 307 beside {deciding}: browsers keep the others"))
    return errors


def check_seen(row: LinkRow | None, caller: Caller) -> LinkRow:
    """Return a link that the caller may see. Another owner's link is not found, so nobody learns that it exists."""
    if row is None or not caller.may_see(row.owner):
        raise NotFound(_NO_LINK)
    return row


def check_filter(query: LinkQuery | ExportQuery, caller: Caller) -> LinkFilter:
    """Turn the parameters of a list or an export into a filter, of links that the caller may see."""
    return LinkFilter(
        owner=check_owner(query.owner, caller),
        domain=spell_domain(query.domain) if query.domain else None,
        tags=tuple(query.tag),
        tag_mode=query.tag_mode,
        state=query.state,
        search=read_search(query.q) if query.q else None,
        created_after=query.created_after,
        created_before=query.created_before,
    )


def check_owner(owner: str | None, caller: Caller) -> str | None:
    """Find out whose links are meant: the caller's, or for the scope `admin` those of one owner or, with None, of all."""
    if owner is not None and not caller.may_see(owner):
        raise Forbidden("Only a key with the scope admin lists the links of others.")
    return owner if caller.is_admin else caller.owner
