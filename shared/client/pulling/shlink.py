"""Pulls from Shlink's REST API, version 3: links with their redirect rules, and all visits, the oldest ones first."""

from collections.abc import Callable
from datetime import UTC, datetime
from math import ceil
from typing import Any
from urllib.parse import quote, urlsplit

from .asking import Asker, NotThere, list_of, number_of
from .file import Pulled, PullFile

LINKS_A_PAGE = 100
VISITS_A_PAGE = 1000

API = "/rest/v3"


def headers(key: str) -> dict[str, str]:
    return {"X-Api-Key": key}


def pull(api: Asker, _key: str, file: PullFile, tell: Callable[[Pulled], None]) -> None:
    """Write what there was when the pull began. Visits after that would move the pages."""
    so_far = file.so_far
    until = so_far.get("until") or datetime.now(UTC).isoformat(timespec="seconds")
    page, done = so_far.get("page", 1), so_far.get("done", 0)
    visits_page = so_far.get("visits")
    pulled = Pulled()
    while True:
        answer = api.get(
            f"{API}/short-urls", page=page, itemsPerPage=LINKS_A_PAGE, orderBy="dateCreated-ASC", endDate=until
        )
        links = list_of(answer, "shortUrls", "data")
        pulled.all_links = number_of(answer, "shortUrls", "pagination", "totalItems")
        for place in range(done, len(links)):
            link = links[place]
            if visits_page is None:
                file.write({"link": _with_rules(api, link)})
                pulled.links += 1
            last = _visits_pages(link) if visits_page is None else visits_page
            for number in _pages(api, link, last, until, is_first=visits_page is None):
                visits = _visits(api, link, number, until)
                file.write({"domain": _host(link), "code": link.get("shortCode"), "page": list(reversed(visits))})
                pulled.visits += len(visits)
                file.mark(until=until, page=page, done=place, visits=number - 1)
                tell(pulled)
            visits_page = None
            file.mark(until=until, page=page, done=place + 1)
            tell(pulled)
        if page >= number_of(answer, "shortUrls", "pagination", "pagesCount"):
            return
        page, done = page + 1, 0
        file.mark(until=until, page=page, done=0)


def _with_rules(api: Asker, link: dict[str, Any]) -> dict[str, Any]:
    if link.get("hasRedirectRules") is False:
        return link
    try:
        answer = api.get(f"{_path(link)}/redirect-rules", domain=link.get("domain"))
    except NotThere:
        # The server is too old for them.
        return link
    return link | {"redirectRules": list_of(answer, "redirectRules")}


def _visits_pages(link: dict[str, Any]) -> int:
    visits = link["visitsCount"] if "visitsCount" in link else number_of(link, "visitsSummary", "total")
    return ceil(visits / VISITS_A_PAGE)


def _pages(api: Asker, link: dict[str, Any], last: int, until: str, *, is_first: bool) -> range:
    """The numbers of the pages, from the last one down. Links count visits that the list may not have."""
    if last > 0 and is_first:
        answer = api.get(
            f"{_path(link)}/visits", page=1, itemsPerPage=VISITS_A_PAGE, endDate=until, domain=link.get("domain")
        )
        last = number_of(answer, "visits", "pagination", "pagesCount")
    return range(last, 0, -1)


def _visits(api: Asker, link: dict[str, Any], page: int, until: str) -> list[dict[str, Any]]:
    answer = api.get(
        f"{_path(link)}/visits", page=page, itemsPerPage=VISITS_A_PAGE, endDate=until, domain=link.get("domain")
    )
    return list_of(answer, "visits", "data")


def _path(link: dict[str, Any]) -> str:
    return f"{API}/short-urls/{quote(str(link.get('shortCode')), safe='/')}"


def _host(link: dict[str, Any]) -> str | None:
    """The host under which the link itself is found in the file."""
    host = link.get("domain") or urlsplit(str(link.get("shortUrl"))).hostname
    return None if host is None else str(host).lower().partition(":")[0]
