"""The API as Python: one client for everything that the dashboard asks, with typed answers and a deadline for each.

It speaks with the user's key and nothing else. Every failure is an `ApiError`, so a page needs to know nothing of HTTP.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from types import TracebackType
from typing import Literal, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

from pydantic import ValidationError

from services.dashboard.api.connection import ApiConnection, chunks
from services.dashboard.api.counts import Clicks, Recent, Stats
from services.dashboard.api.problems import ApiError, KeyRefused, Unreachable
from services.dashboard.api.questions import ALL_LINKS, LinkQuestion, Parameters, StatsQuestion
from services.dashboard.api.results import (
    BatchResult,
    CodeAvailability,
    Domain,
    Domains,
    Explanation,
    Key,
    Keys,
    Link,
    NewKey,
    Page,
    Tag,
    Tags,
    read,
)
from shared.api import Bots, Sort

__all__ = ["ApiError", "Client", "Key", "KeyRefused", "Link", "Unreachable"]

BATCH_TIMEOUT_S = 60
EXPORT_TIMEOUT_S = 600
"""The time for a whole export. A silence longer than the client's own time-out ends it earlier."""

T = TypeVar("T")


class Client:
    """Calls the API.

    Args:
        base_url: The address of the API: `http://host:port`, or `unix:/path/to.sock`.
        api_key: The user's key.
        timeout_s: The time for an ordinary answer.
    """

    def __init__(self, base_url: str, api_key: str, timeout_s: float = 10) -> None:
        self._timeout_s = timeout_s
        self._connection = ApiConnection(base_url, api_key, timeout_s)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def current_key(self) -> Key:
        """Read the key itself: its owner, its scopes and its end."""
        return self._get(Key, "/keys/current")

    def links(
        self,
        wanted: LinkQuestion = ALL_LINKS,
        *,
        sort: Sort = "-created_at",
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """List a page of links."""
        asked: Parameters = {**wanted.parameters(), "sort": sort, "limit": limit}
        return self._get(Page, "/links", asked | ({"cursor": cursor} if cursor else {}))

    def link(self, code: str, domain: str) -> Link:
        """Read one link."""
        return self._get(Link, f"/links/{quote(code, safe='')}", {"domain": domain})

    def create_link(self, fields: Mapping[str, object], repeat_key: str | None = None) -> Link:
        """Create a link, or find the one that the same `repeat_key` created."""
        return self._post(Link, "/links", fields, repeat_key, self._timeout_s)

    def create_links(self, rows: Sequence[Mapping[str, object]], repeat_key: str | None = None) -> BatchResult:
        """Create many links; one row's failure does not stop the others."""
        return self._post(BatchResult, "/links/batch", {"links": list(rows)}, repeat_key, BATCH_TIMEOUT_S)

    def edit_link(self, link: Link, changes: Mapping[str, object]) -> Link:
        """Change fields of a link, if it still has the given version; otherwise the error has the status 412."""
        headers = {"If-Match": f'"{link.version}"'}
        request = self._connection.request(
            "PATCH", _path(link), {"domain": link.domain}, headers=headers, fields=changes
        )
        return _read(Link, self._connection.send(request))

    def delete_link(self, link: Link) -> None:
        """Delete a link for good, if it still has the given version."""
        headers = {"If-Match": f'"{link.version}"'}
        self._connection.send(self._connection.request("DELETE", _path(link), {"domain": link.domain}, headers=headers))

    def availability(self, code: str, domain: str | None = None) -> CodeAvailability:
        """Tell whether a code is available, on the site's first domain if none is given."""
        asked: Parameters = {"domain": domain} if domain else {}
        return self._get(CodeAvailability, f"/links/{quote(code, safe='')}/availability", asked)

    def explain(self, link: Link, visit: Mapping[str, str]) -> Explanation:
        """Explain where a link leads a visit, of which some things are known."""
        return self._get(Explanation, f"{_path(link)}/decide", {**visit, "domain": link.domain})

    def qr(self, link: Link, kind: Literal["svg", "png"]) -> bytes:
        """Draw the QR code of a link's short URL."""
        asked: Parameters = {"domain": link.domain, "format": kind}
        return self._connection.send(
            self._connection.request("GET", f"{_path(link)}/qr", asked, headers={"Accept": "image/*"})
        )

    def domains(self) -> tuple[str, ...]:
        """List the domains of the site, the default one first."""
        return self._get(Domains, "/domains").items

    def domain(self, name: str) -> Domain:
        """Read what was decided about a domain."""
        return self._get(Domain, f"/domains/{quote(name, safe='')}")

    def edit_domain(self, domain: Domain, changes: Mapping[str, object]) -> Domain:
        """Decide about a domain, if it still has the given version."""
        headers = {"If-Match": f'"{domain.version}"'}
        path = f"/domains/{quote(domain.domain, safe='')}"
        return _read(
            Domain, self._connection.send(self._connection.request("PATCH", path, headers=headers, fields=changes))
        )

    def domain_file(self, domain: Domain, name: str) -> str:
        """Read a file of a domain."""
        return self._connection.send(self._connection.request("GET", _file_path(domain, name))).decode()

    def store_domain_file(self, domain: Domain, name: str, content: str) -> None:
        """Store a file of a domain."""
        self._connection.send(self._connection.request("PUT", _file_path(domain, name), content=content.encode()))

    def delete_domain_file(self, domain: Domain, name: str) -> None:
        """Delete a file of a domain."""
        self._connection.send(self._connection.request("DELETE", _file_path(domain, name)))

    def tags(self) -> tuple[Tag, ...]:
        """List the tags in use, by name."""
        return self._get(Tags, "/tags").items

    @contextmanager
    def export(self, wanted: LinkQuestion, media_type: str) -> Iterator[Iterator[bytes]]:
        """Stream all links that a filter wants, as `text/csv` or `application/x-ndjson`."""
        deadline = monotonic() + EXPORT_TIMEOUT_S
        request = self._connection.request("GET", "/exports", wanted.parameters(), headers={"Accept": media_type})
        with self._connection.open(request) as answer:
            yield chunks(answer, deadline)

    def stats(self, query: StatsQuestion, link: Link | None = None, owner: str | None = None) -> Stats:
        """Count the clicks of a link; without one, of all links that the key sees, or of one owner's."""
        return self._get(Stats, *_stats_request(query, link, owner))

    def stats_csv(self, query: StatsQuestion, link: Link | None = None, owner: str | None = None) -> bytes:
        """Count the same clicks, and return them as CSV."""
        return self._connection.send(
            self._connection.request("GET", *_stats_request(query, link, owner), headers={"Accept": "text/csv"})
        )

    def clicks(self, link: Link, *, bots: Bots, limit: int) -> Clicks:
        """List a link's last clicks, the newest first."""
        return self._get(Clicks, f"{_path(link)}/clicks", {"domain": link.domain, "bots": bots, "limit": limit})

    def recent(self, links: Sequence[Link], *, days: int, time_zone: str) -> Recent:
        """Count the clicks of up to 100 links by day, in one request."""
        return self._get(
            Recent, "/stats/recent", {"link": [link.name for link in links], "days": days, "time_zone": time_zone}
        )

    def list_keys(self) -> tuple[Key, ...]:
        """List all keys, the newest first."""
        return self._get(Keys, "/keys").items

    def create_key(self, fields: Mapping[str, object]) -> NewKey:
        """Make a key. The request is not repeated, because a lost answer may have made one."""
        return _read(NewKey, self._connection.send(self._connection.request("POST", "/keys", fields=fields)))

    def revoke_key(self, key_id: str, *, force: bool = False) -> None:
        """Revoke a key for good. The last admin key needs `force`."""
        parameters: Parameters | None = {"force": "true"} if force else None
        self._connection.send(self._connection.request("DELETE", f"/keys/{quote(key_id, safe='')}", parameters))

    def _get(self, kind: type[T], path: str, parameters: Parameters | None = None) -> T:
        return _read(kind, self._connection.send(self._connection.request("GET", path, parameters)))

    def _post(
        self, kind: type[T], path: str, fields: Mapping[str, object], repeat_key: str | None, timeout_s: float
    ) -> T:
        headers = {"Idempotency-Key": repeat_key or uuid4().hex}
        return _read(
            kind,
            self._connection.send(self._connection.request("POST", path, headers=headers, fields=fields), timeout_s),
        )


def _read(kind: type[T], body: bytes) -> T:
    try:
        return read(kind, body)
    except ValidationError:
        raise ApiError(
            200, "", "Answer not understood", "The link service sent an answer of an unknown form."
        ) from None


def _path(link: Link) -> str:
    return f"/links/{quote(link.code, safe='')}"


def _file_path(domain: Domain, name: str) -> str:
    return f"/domains/{quote(domain.domain, safe='')}/files/{quote(name, safe='')}"


def _stats_request(query: StatsQuestion, link: Link | None, owner: str | None) -> tuple[str, Parameters]:
    asked = query.parameters()
    if link is None:
        return "/stats", asked | ({"owner": owner} if owner else {})
    return f"{_path(link)}/stats", asked | {"domain": link.domain}
