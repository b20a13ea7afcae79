"""The visits of Shlink: clicks as they are kept, one by one, and what they add up to. A list has the newest ones."""

from datetime import UTC, datetime

from starlette.responses import Response

from services.links.compat.shlink import objects
from services.links.compat.shlink.calls import Call, named_domain
from services.links.compat.shlink.errors import domain_not_found, tag_not_found
from services.links.compat.shlink.lists import read_page, write_page
from services.links.compat.shlink.objects import Json, address, summary
from services.links.compat.shlink.short_urls import listing
from services.links.compat.shlink.tag_rows import MOST_CLICKED, find_tagged, select_clicked, select_visited, sum_clicks
from services.links.links.checks import check_owner, check_seen
from services.links.links.rows import select_link
from services.links.stats.erasures import ask_erasure
from services.links.stats.routes import snapshot
from services.links.stats.scopes import Period
from services.links.stats.visits import Visit, VisitScope, select_visits
from services.links.web.errors import FieldError, InvalidInput
from shared.postgres import Connection

MOST_VISITS = 20_000
"""The newest visits, which a list has: two pages of "all", or the four that its client asks for at once. Every page reads all
of them to number them. Older ones are in the statistics of the API."""

ORPHAN_TYPES = ("base_url", "regular_404", "invalid_short_url")

_EVER = Period(datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))


async def sum_visits(call: Call) -> Json:
    """Add up the clicks of all links. Visits that led to no link are not kept."""
    async with listing(call) as conn:
        clicks, humans = await sum_clicks(conn, check_owner(None, call.caller))
    return {"visits": {"nonOrphanVisits": summary(clicks, humans), "orphanVisits": summary(0, 0)}}


async def list_visits_of_short_url(call: Call) -> Response:
    key = call.key()
    async with snapshot(call.request, call.caller) as conn:
        link = check_seen(await select_link(conn, key), call.caller)
        return await _list(call, conn, VisitScope(frozenset({link.id})))


async def list_visits_of_tag(call: Call) -> Response:
    """List the visits of the links with a tag, of the thousand most clicked ones if there are more."""
    tag = call.request.path_params["tag"]
    owner, domain = check_owner(None, call.caller), call.domain()
    async with snapshot(call.request, call.caller) as conn:
        ids = [] if "\0" in tag else await select_clicked(conn, owner, tag=tag, domain=domain)
        if not ids and ("\0" in tag or not await find_tagged(conn, owner, [tag], most=1)):
            raise tag_not_found(tag)
        return await _list(call, conn, VisitScope(frozenset(ids[:MOST_CLICKED])))


async def list_visits_of_domain(call: Call) -> Response:
    """List the visits of the links of a domain, of the thousand most clicked ones if there are more."""
    text = call.request.path_params["domain"]
    domain = named_domain(text, call.site)
    if domain not in call.site.own_domains:
        raise domain_not_found(text)
    async with snapshot(call.request, call.caller) as conn:
        ids = await select_clicked(conn, check_owner(None, call.caller), domain=domain)
        return await _list(call, conn, VisitScope(frozenset(ids[:MOST_CLICKED])))


async def list_visits(call: Call) -> Response:
    """List the visits of all links. With more than a thousand clicked ones, those of deleted links are among them."""
    owner, domain = check_owner(None, call.caller), call.domain()
    async with snapshot(call.request, call.caller) as conn:
        ids = await select_clicked(conn, owner, domain=domain)
        is_all = domain is None and len(ids) > MOST_CLICKED
        return await _list(call, conn, VisitScope(None, owner) if is_all else VisitScope(frozenset(ids[:MOST_CLICKED])))


async def list_orphan_visits(call: Call) -> Response:
    """List nothing: visits that led to no link are counted in no table."""
    kind = call.text("type")
    if kind is not None and kind not in ORPHAN_TYPES:
        raise InvalidInput(FieldError("type", f"must be one of {', '.join(ORPHAN_TYPES)}"))
    _period(call)
    return await write_page("visits", read_page(call), [], 0, str)


async def delete_orphan_visits(call: Call) -> Json:
    return {"deletedVisits": 0}


async def delete_visits_of_short_url(call: Call) -> Json:
    """Erase the clicks of a link; it takes some minutes until none is left."""
    link = await ask_erasure(call.state, call.caller, call.key())
    return {"deletedVisits": link.clicks}


async def _list(call: Call, conn: Connection, whose: VisitScope) -> Response:
    asked, period = read_page(call), _period(call)
    # Shlink asks whether it is there, not what it says.
    without_bots = "excludeBots" in call.lists
    found = await select_visits(conn, whose, period, without_bots=without_bots, most=MOST_VISITS)
    page = found[asked.start : asked.start + asked.size]
    links = await select_visited(conn, list({visit.link_id for visit in page}))

    def write(visit: Visit) -> Json:
        link = links.get(visit.link_id)
        if link is None:
            return objects.visit(visit, None, None)
        return objects.visit(visit, address(link.key, call.site), link.target)

    return await write_page("visits", asked, page, len(found), write)


def _period(call: Call) -> Period:
    since, until = call.date("startDate"), call.end()
    return Period(max(since or _EVER.since, _EVER.since), min(until or _EVER.until, _EVER.until))
