"""The domains of Shlink. Here they are a setting; where visitors without a short URL go can be changed."""

from typing import Any

from services.links.compat.shlink.calls import Call, named_domain
from services.links.compat.shlink.objects import Json, authority, redirects
from services.links.domains.forms import DomainPatch, changed_decisions
from services.links.domains.rows import lock_domain, select_domain, update_domain
from services.links.links import actions
from services.links.web.errors import FieldError, InvalidInput
from shared.changes import insert_change
from shared.postgres import connection

BASE, PATHS, CODES = "baseUrlRedirect", "regular404Redirect", "invalidShortUrlRedirect"


async def list_domains(call: Call) -> Json:
    """List the domains, the first one by name. Where they lead is told to the scope `admin`, as by the API."""
    state, site = call.state, call.site
    first, *others = site.own_domains
    rows = {}
    if call.caller.is_admin:
        async with state.shares.edits.turn(call.caller.owner), connection(state.pool) as conn:
            rows = {domain: await select_domain(conn, domain) for domain in site.own_domains}
    data = [
        {"domain": authority(domain, site), "isDefault": domain == first, "redirects": redirects(rows.get(domain))}
        for domain in (first, *sorted(others))
    ]
    return {"domains": {"data": data, "defaultRedirects": redirects(None)}}


async def edit_redirects(call: Call) -> Json:
    """Change where visitors of a domain go who follow no short URL. Absent keeps, null clears."""
    text = call.body.get("domain")
    domain = named_domain(text, call.site) if isinstance(text, str) else None
    if domain not in call.site.own_domains:
        raise InvalidInput(FieldError("domain", f"must be one of {', '.join(sorted(call.site.own_domains))}"))
    if call.body.get(PATHS) is not None:
        reason = f"must be null: here a path that is no short URL leads where one that does not exist leads ({CODES})"
        raise InvalidInput(FieldError(PATHS, reason))
    async with actions.transaction(call.state, call.caller) as conn:
        await lock_domain(conn, domain)
        row = await select_domain(conn, domain)
        shown, asked = redirects(row), {}
        if BASE in call.body and call.body[BASE] != shown[BASE]:
            asked["root_url"] = call.body[BASE]
        if CODES in call.body and call.body[CODES] != shown[CODES]:
            # In Shlink, links that have ended lead there, too.
            asked["not_found_url"] = asked["expired_url"] = call.body[CODES]
        changed: Any = changed_decisions(DomainPatch.model_validate(asked), call.site.rules)
        if any(getattr(row, name) != value for name, value in changed.items()):
            await update_domain(conn, domain, changed)
            row = await select_domain(conn, domain)
        await insert_change(conn, (domain, ""))
    return redirects(row)
