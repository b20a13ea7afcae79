"""The actions of YOURLS that count: of one link, of a list, of all."""

import random
import re
from collections.abc import Mapping

from services.links.compat.yourls.answers import NEED_FORMAT, Fields
from services.links.compat.yourls.calls import UNKNOWN, Call, write_date
from services.links.links import actions
from services.links.links.checks import check_owner
from services.links.links.lists import LAST_OFFSET, LinkFilter, select_link_counts, select_links
from services.links.links.rows import LinkRow
from services.links.site import Site
from services.links.web.cursors import Position
from services.links.web.errors import FieldError, InvalidInput, NotFound, refuse_costly
from shared.api import Sort
from shared.postgres import Connection, connection

MOST_LINKS = 1000

_ORDERS: Mapping[str, Sort] = {"top": "-clicks", "bottom": "clicks", "last": "-created_at"}

_whole = re.compile(r"\s*[+-]?[0-9]{1,18}").match


async def count_link(call: Call) -> Fields:
    """Tell of a link how often it was clicked."""
    try:
        link = await actions.read_link(call.state, call.caller, call.key())
    except NotFound:
        return {"statusCode": "404", "message": UNKNOWN, "simple": NEED_FORMAT}
    return {"statusCode": "200", "message": "success", "link": _counted(link, call.site), "simple": NEED_FORMAT}


async def list_links(call: Call) -> Fields:
    """List links by their clicks or age, and count all of them."""
    order, limit, start = (
        call.sent.get("filter", ""),
        _number(call.sent.get("limit", "")),
        _number(call.sent.get("start", "")),
    )
    for name, number, most in (("limit", limit, MOST_LINKS), ("start", start, LAST_OFFSET)):
        if number > most:
            raise InvalidInput(FieldError(name, f"must not be greater than {most}"))
    wanted = LinkFilter(owner=check_owner(None, call.caller))
    async with call.state.shares.lists.turn(call.caller.owner), connection(call.state.list_pool) as conn:
        with refuse_costly():
            if limit <= 0:
                rows = []
            elif order in ("rand", "random"):
                rows = await _draw(conn, wanted, limit)
            else:
                sort = _ORDERS.get(order, "-clicks")
                rows = await select_links(conn, wanted, sort=sort, after=None, limit=limit, offset=max(start, 0))
            counts = await select_link_counts(conn, owner=wanted.owner)
    links = {f"link_{number}": _counted(link, call.site) for number, link in enumerate(rows, 1)}
    stats = {"total_links": counts.links, "total_clicks": counts.clicks}
    listed: Fields = {"links": links} if links else {}
    return listed | {"stats": stats, "statusCode": "200", "simple": NEED_FORMAT, "message": "success"}


async def count_all(call: Call) -> Fields:
    """Count the links, and their clicks."""
    async with call.state.shares.lists.turn(call.caller.owner), connection(call.state.list_pool) as conn:
        with refuse_costly():
            counts = await select_link_counts(conn, owner=check_owner(None, call.caller))
    stats = {"total_links": counts.links, "total_clicks": counts.clicks}
    return {"db-stats": stats, "statusCode": "200", "simple": NEED_FORMAT, "message": "success"}


async def _draw(conn: Connection, wanted: LinkFilter, limit: int) -> list[LinkRow]:
    """Choose links at random: those that were made after a time that is drawn, so that no more of them are read."""
    oldest = await select_links(conn, wanted, sort="created_at", after=None, limit=1)
    newest = await select_links(conn, wanted, sort="-created_at", after=None, limit=1)
    if not oldest or not newest:
        return []
    drawn = random.randint(oldest[0].id - 1, newest[0].id)
    rows = await select_links(conn, wanted, sort="created_at", after=Position(drawn, drawn), limit=limit)
    if len(rows) < limit:
        first = await select_links(conn, wanted, sort="created_at", after=None, limit=limit - len(rows))
        rows += [link for link in first if link.id <= drawn]
    random.shuffle(rows)
    return rows


def _counted(link: LinkRow, site: Site) -> dict[str, object]:
    url = link.fields.url_as_given
    return {
        "shorturl": site.short_url(link.key),
        "url": url,
        "title": link.fields.title or url,
        "timestamp": write_date(link.created_at),
        "ip": "",
        "clicks": link.clicks,
    }


def _number(text: str) -> int:
    """Read a number as PHP does: what is none is 0."""
    found = _whole(text)
    return int(found[0]) if found else 0
