"""What a route checks before it touches the table: the domain, the targets, what fields say of each other, who may see what.

Stands between the forms, which check each field by itself, and the statements in `rows.py`.
"""

from dataclasses import replace
from datetime import UTC, datetime

import ada_url

from services.links.keys.authentication import Caller
from services.links.links.forms import ExportQuery, LinkIn, LinkPatch, LinkQuery
from services.links.links.lists import LinkFilter
from services.links.links.rows import LinkFields, LinkRow
from services.links.links.search import read_search
from services.links.links.targets import TargetRefused
from services.links.site import Site
from services.links.web.errors import FieldError, Forbidden, InvalidInput, NotFound
from shared.codes import is_code
from shared.records import LinkKey

_NO_LINK = "There is no such link."


def link_key(code: str, domain: str | None, site: Site) -> LinkKey:
    """The key of the link that a path names; what cannot be a code, or holds a NUL, names none."""
    if not is_code(code) or "\0" in (domain or ""):
        raise NotFound(_NO_LINK)
    return spell_domain(domain) if domain else site.default_domain, code


def check_domain(domain: str | None, site: Site) -> str:
    """Find the domain of a new link; one that is not of this site is invalid input."""
    if domain is None:
        return site.default_domain
    spelled = spell_domain(domain)
    if spelled not in site.own_domains:
        raise InvalidInput(FieldError("domain", f"must be one of {', '.join(sorted(site.own_domains))}"))
    return spelled


def spell_domain(domain: str) -> str:
    """A domain as it is stored: in lower case, in ASCII, and without the dot that ends a whole name."""
    spelled = domain.strip().lower().rstrip(".")
    return spelled if spelled.isascii() or "\0" in spelled else ada_url.idna.encode(spelled).decode().rstrip(".")


def new_fields(body: LinkIn, site: Site) -> LinkFields:
    """The fields of a link to create, with its targets parsed; what is wrong is invalid input."""
    return _checked(
        LinkFields(
            url=body.url,
            title=body.title,
            tags=tuple(body.tags),
            status_code=body.status_code,
            cache_control=body.cache_control,
            valid_from=body.valid_from,
            expires_at=body.expires_at,
            expired_url=body.expired_url,
            enabled=body.enabled,
            forward_query=body.forward_query,
        ),
        given=body.model_fields_set,
        site=site,
    )


def changed_fields(fields: LinkFields, body: LinkPatch, site: Site) -> LinkFields:
    """A link's fields as an edit leaves them; only what the edit gives is parsed and checked again."""
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    if "tags" in changes:
        changes["tags"] = tuple(changes["tags"])
    return _checked(replace(fields, **changes), given=body.model_fields_set, site=site)


def check_seen(row: LinkRow | None, caller: Caller) -> LinkRow:
    """Another owner's link looks like none: who may not see it cannot learn that it exists."""
    if row is None or not caller.may_see(row.owner):
        raise NotFound(_NO_LINK)
    return row


def check_filter(query: LinkQuery | ExportQuery, caller: Caller) -> LinkFilter:
    """Turn the parameters of a list or an export into a filter of what the caller may see."""
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


def _checked(fields: LinkFields, *, given: set[str], site: Site) -> LinkFields:
    """Parse the targets that were given, and check what fields say about each other; name every field that is wrong."""
    errors = []
    parsed: dict[str, str] = {}
    for name in ("url", "expired_url"):
        text = getattr(fields, name)
        if name in given and text is not None:
            try:
                parsed[name] = site.rules.parse(text)
            except TargetRefused as error:
                errors.append(FieldError(name, str(error)))
    if fields.expires_at is not None:
        if "expires_at" in given and fields.expires_at <= datetime.now(UTC):
            errors.append(FieldError("expires_at", "must lie in the future"))
        if fields.valid_from is not None and fields.valid_from >= fields.expires_at:
            errors.append(FieldError("valid_from", "must lie before expires_at"))
    if errors:
        raise InvalidInput(*errors)
    return replace(fields, **parsed)  # type: ignore[arg-type]  # both are texts
