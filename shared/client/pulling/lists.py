"""Pulls from APIs that have a list of links, page by page: YOURLS, Kutt, Dub, Rebrandly, Short.io, Bitly."""

from collections.abc import Callable, Iterable
from typing import Any

from .asking import Asker, list_of, number_of
from .file import Pulled, PullFailed, PullFile

Tell = Callable[[Pulled], None]

YOURLS_PAGE, KUTT_PAGE, DUB_PAGE, REBRANDLY_PAGE, SHORTIO_PAGE, BITLY_PAGE = 500, 50, 100, 25, 150, 100


def pull_yourls(api: Asker, key: str, file: PullFile, tell: Tell) -> None:
    """Pull the links of `stats`, the newest one first. `key` is a signature, or user:password.

    New links push the others back: then some come twice, and none is missed.
    """
    user, colon, password = key.partition(":")
    who = {"username": user, "password": password} if colon else {"signature": key}
    start, pulled = file.so_far.get("start", 0), Pulled()
    while True:
        answer = api.post(
            "/yourls-api.php", action="stats", filter="last", limit=YOURLS_PAGE, start=start, format="json", **who
        )
        links = answer.get("links") if isinstance(answer, dict) else None
        if not isinstance(links, dict) and number_of(answer, "statusCode") != 200:
            raise PullFailed(f"{api.base} answers without links: {str(answer)[:200]}")
        rows = [each for each in (links or {}).values() if isinstance(each, dict)]
        start += len(rows)
        pulled.all_links = number_of(answer, "stats", "total_links")
        _write(file, rows, pulled, tell, start=start)
        if not rows or start >= pulled.all_links:
            return


def pull_kutt(api: Asker, _key: str, file: PullFile, tell: Tell) -> None:
    """Pull the links of the owner of the key, the newest one first."""
    skip, pulled = file.so_far.get("skip", 0), Pulled()
    while True:
        answer = api.get("/api/v2/links", limit=KUTT_PAGE, skip=skip)
        rows = list_of(answer, "data")
        skip += len(rows)
        pulled.all_links = number_of(answer, "total")
        _write(file, rows, pulled, tell, skip=skip)
        if not rows or skip >= pulled.all_links:
            return


def pull_dub(api: Asker, _key: str, file: PullFile, tell: Tell) -> None:
    page, pulled = file.so_far.get("page", 1), Pulled()
    while True:
        rows = list_of(api.get("/links", page=page, pageSize=DUB_PAGE, showArchived="true"))
        page += 1
        _write(file, rows, pulled, tell, page=page)
        if len(rows) < DUB_PAGE:
            return


def pull_rebrandly(api: Asker, _key: str, file: PullFile, tell: Tell) -> None:
    last, pulled = file.so_far.get("last"), Pulled()
    while True:
        rows = list_of(api.get("/v1/links", limit=REBRANDLY_PAGE, last=last))
        last = rows[-1].get("id") if rows else last
        _write(file, rows, pulled, tell, last=last)
        if len(rows) < REBRANDLY_PAGE:
            return


def pull_shortio(api: Asker, _key: str, file: PullFile, tell: Tell) -> None:
    """Pull the links of all domains."""
    domains, pulled = list_of(api.get("/api/domains")), Pulled()
    token = file.so_far.get("token")
    for place in range(file.so_far.get("domain", 0), len(domains)):
        while True:
            answer = api.get("/api/links", domain_id=domains[place].get("id"), limit=SHORTIO_PAGE, pageToken=token)
            rows = list_of(answer, "links")
            token = answer.get("nextPageToken")
            _write(file, rows, pulled, tell, domain=place if token else place + 1, token=token)
            if not token:
                break


def pull_bitly(api: Asker, _key: str, file: PullFile, tell: Tell) -> None:
    """Pull the links of all groups, with their clicks, each of which is a question of its own."""
    groups, pulled = list_of(api.get("/v4/groups"), "groups"), Pulled()
    after = file.so_far.get("after")
    for place in range(file.so_far.get("group", 0), len(groups)):
        while True:
            answer = api.get(
                f"/v4/groups/{groups[place].get('guid')}/bitlinks", size=BITLY_PAGE, archived="both", search_after=after
            )
            rows = [row | {"clicks": _bitly_clicks(api, row)} for row in list_of(answer, "links")]
            paging = answer.get("pagination") or {}
            after = paging.get("search_after") if paging.get("next") or paging.get("search_after") else None
            is_last = not after or not rows
            _write(file, rows, pulled, tell, group=place + 1 if is_last else place, after=None if is_last else after)
            if is_last:
                after = None
                break


def _bitly_clicks(api: Asker, row: dict[str, Any]) -> int:
    answer = api.get(f"/v4/bitlinks/{row.get('id')}/clicks/summary", unit="month", units=-1)
    return number_of(answer, "total_clicks")


def _write(file: PullFile, rows: Iterable[dict[str, Any]], pulled: Pulled, tell: Tell, **so_far: Any) -> None:
    for row in rows:
        file.write(row)
        pulled.links += 1
    file.mark(**so_far)
    tell(pulled)
