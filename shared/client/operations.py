"""Everything that the API can be asked, each once for both clients: the request, and what its answer is read as."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar
from urllib.parse import quote
from uuid import uuid4

from .calls import Call, Operation, Parameters
from .counts import Clicks, Recent, Stats
from .imports import Import, ImportOptions, Imports
from .questions import ALL_LINKS, LinkQuestion, StatsQuestion
from .reading import read
from .results import (
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
)
from .words import Bots, QrFormat, Sort

BATCH_TIMEOUT_S = 60
FILE_TIMEOUT_S = 24 * 3600
"""The time for a whole file. A silence longer than the client's own time-out ends it earlier."""

T = TypeVar("T")


class Operations:
    """What both clients can do: `Client` returns the results, `AsyncClient` coroutines of them."""

    @Operation
    def current_key(self) -> Call[Key]:
        """Read the key itself: its owner, its scopes and its end."""
        return _get(Key, "/keys/current")

    @Operation
    def links(
        self,
        wanted: LinkQuestion = ALL_LINKS,
        *,
        sort: Sort = "-created_at",
        limit: int = 50,
        cursor: str | None = None,
    ) -> Call[Page]:
        """List a page of links."""
        asked: Parameters = {**wanted.parameters(), "sort": sort, "limit": limit}
        return _get(Page, "/links", asked | ({"cursor": cursor} if cursor else {}))

    @Operation
    def link(self, code: str, domain: str | None = None) -> Call[Link]:
        """Read one link, of the site's first domain if none is given."""
        return _get(Link, f"/links/{_quote(code)}", {"domain": domain} if domain else {})

    @Operation
    def create_link(self, fields: Mapping[str, object], repeat_key: str | None = None) -> Call[Link]:
        """Create a link, or find the one that the same `repeat_key` created."""
        return _create(Link, "/links", fields, repeat_key)

    @Operation
    def create_links(self, rows: Sequence[Mapping[str, object]], repeat_key: str | None = None) -> Call[BatchResult]:
        """Create many links; one row's failure does not stop the others."""
        call = _create(BatchResult, "/links/batch", {"links": list(rows)}, repeat_key)
        return replace(call, timeout_s=BATCH_TIMEOUT_S)

    @Operation
    def edit_link(self, link: Link, changes: Mapping[str, object]) -> Call[Link]:
        """Change fields of a link, if it still has the given version; otherwise the error has the status 412."""
        return Call(
            "PATCH", _path(link), partial(read, Link), {"domain": link.domain}, _if_match(link.version), fields=changes
        )

    @Operation
    def delete_link(self, link: Link) -> Call[None]:
        """Delete a link for good, if it still has the given version."""
        return Call("DELETE", _path(link), _nothing, {"domain": link.domain}, _if_match(link.version))

    @Operation
    def availability(self, code: str, domain: str | None = None) -> Call[CodeAvailability]:
        """Tell whether a code is available, on the site's first domain if none is given."""
        return _get(CodeAvailability, f"/links/{_quote(code)}/availability", {"domain": domain} if domain else {})

    @Operation
    def explain(self, link: Link, visit: Mapping[str, str]) -> Call[Explanation]:
        """Explain where a link leads a visit, of which some things are known."""
        return _get(Explanation, f"{_path(link)}/decide", {**visit, "domain": link.domain})

    @Operation
    def qr(self, link: Link, kind: QrFormat) -> Call[bytes]:
        """Draw the QR code of a link's short URL."""
        asked: Parameters = {"domain": link.domain, "format": kind}
        return Call("GET", f"{_path(link)}/qr", bytes, asked, {"Accept": "image/*"})

    @Operation
    def domains(self) -> Call[tuple[str, ...]]:
        """List the domains of the site, the default one first."""
        return Call("GET", "/domains", lambda body: read(Domains, body).items)

    @Operation
    def domain(self, name: str) -> Call[Domain]:
        """Read what was decided about a domain."""
        return _get(Domain, f"/domains/{_quote(name)}")

    @Operation
    def edit_domain(self, domain: Domain, changes: Mapping[str, object]) -> Call[Domain]:
        """Decide about a domain, if it still has the given version."""
        path = f"/domains/{_quote(domain.domain)}"
        return Call("PATCH", path, partial(read, Domain), headers=_if_match(domain.version), fields=changes)

    @Operation
    def domain_file(self, domain: Domain, name: str) -> Call[str]:
        """Read a file of a domain."""
        return Call("GET", _file_path(domain, name), bytes.decode)

    @Operation
    def store_domain_file(self, domain: Domain, name: str, content: str) -> Call[None]:
        """Store a file of a domain."""
        return Call("PUT", _file_path(domain, name), _nothing, content=content.encode())

    @Operation
    def delete_domain_file(self, domain: Domain, name: str) -> Call[None]:
        """Delete a file of a domain."""
        return Call("DELETE", _file_path(domain, name), _nothing)

    @Operation
    def tags(self) -> Call[tuple[Tag, ...]]:
        """List the tags in use, by name."""
        return Call("GET", "/tags", lambda body: read(Tags, body).items)

    @Operation
    def stats(self, query: StatsQuestion, link: Link | None = None, owner: str | None = None) -> Call[Stats]:
        """Count the clicks of a link; without one, of all links that the key sees, or of one owner's."""
        return _get(Stats, *_stats_request(query, link, owner))

    @Operation
    def stats_csv(self, query: StatsQuestion, link: Link | None = None, owner: str | None = None) -> Call[bytes]:
        """Count the same clicks, and return them as CSV."""
        path, asked = _stats_request(query, link, owner)
        return Call("GET", path, bytes, asked, {"Accept": "text/csv"})

    @Operation
    def clicks(self, link: Link, *, bots: Bots, limit: int) -> Call[Clicks]:
        """List a link's last clicks, the newest first."""
        return _get(Clicks, f"{_path(link)}/clicks", {"domain": link.domain, "bots": bots, "limit": limit})

    @Operation
    def recent(self, links: Sequence[Link], *, days: int, time_zone: str) -> Call[Recent]:
        """Count the clicks of up to 100 links by day, in one request."""
        asked: Parameters = {"link": [link.name for link in links], "days": days, "time_zone": time_zone}
        return _get(Recent, "/stats/recent", asked)

    @Operation
    def list_keys(self) -> Call[tuple[Key, ...]]:
        """List all keys, the newest first."""
        return Call("GET", "/keys", lambda body: read(Keys, body).items)

    @Operation
    def create_key(self, fields: Mapping[str, object]) -> Call[NewKey]:
        """Make a key. The request is not repeated, because a lost answer may have made one."""
        return Call("POST", "/keys", partial(read, NewKey), fields=fields)

    @Operation
    def revoke_key(self, key_id: str, *, force: bool = False) -> Call[None]:
        """Revoke a key for good. The last admin key needs `force`."""
        return Call("DELETE", f"/keys/{_quote(key_id)}", _nothing, {"force": "true"} if force else {})

    @Operation
    def start_import(self, import_id: str, options: ImportOptions, content: bytes | Iterable[bytes]) -> Call[Import]:
        """Begin an import under a UUID of the caller's, and send its file, packed with gzip (`send_file` does it all)."""
        asked = options.parameters() | {"id": import_id}
        return _send(Call("POST", "/imports", partial(read, Import), asked, content=content))

    @Operation
    def continue_import(self, import_id: str, offset: int, content: bytes | Iterable[bytes]) -> Call[Import]:
        """Send the rest of a file, from the byte that is given, packed with gzip."""
        return _send(Call("PATCH", _import_path(import_id), partial(read, Import), {"offset": offset}, content=content))

    @Operation
    def imports(self) -> Call[tuple[Import, ...]]:
        """List your imports, the newest first."""
        return Call("GET", "/imports", lambda body: read(Imports, body).items)

    @Operation
    def read_import(self, import_id: str) -> Call[Import]:
        """Tell how far an import is."""
        return _get(Import, _import_path(import_id))

    @Operation
    def begin_after_dry_run(self, import_id: str) -> Call[Import]:
        """Import what a dry run has read; nothing is sent again."""
        call = Call("POST", f"{_import_path(import_id)}/start", partial(read, Import))
        return replace(call, is_repeatable=True)

    @Operation
    def undo_import(self, import_id: str) -> Call[Import | None]:
        """Take back what an import did; links that were changed or clicked since stay. One that did nothing is gone: None."""
        return Call(
            "DELETE", _import_path(import_id), lambda body: read(Import, body) if body else None, is_repeatable=True
        )


def links_export(wanted: LinkQuestion, media_type: str) -> Call[bytes]:
    """All links that a filter wants, as `text/csv` or `application/x-ndjson`."""
    return Call(
        "GET", "/exports", bytes, wanted.parameters(), {"Accept": media_type}, timeout_s=FILE_TIMEOUT_S, is_file=True
    )


def archive_export(*, passwords: bool, raw_clicks: bool, owner: str | None) -> Call[bytes]:
    """Everything that an owner has, as one file that an import reads back."""
    asked = {
        "passwords": None if passwords else "false",
        "raw_clicks": "true" if raw_clicks else None,
        "owner": owner,
    }
    parameters: Parameters = {name: value for name, value in asked.items() if value}
    return Call("GET", "/exports/archive", bytes, parameters, {"Accept": "*/*"}, timeout_s=FILE_TIMEOUT_S, is_file=True)


def refused_rows(import_id: str) -> Call[bytes]:
    """The rows of an import that were refused, as CSV."""
    return Call(
        "GET",
        f"{_import_path(import_id)}/refused",
        bytes,
        headers={"Accept": "text/csv"},
        timeout_s=FILE_TIMEOUT_S,
        is_file=True,
    )


def _get(kind: type[T], path: str, parameters: Parameters | None = None) -> Call[T]:
    return Call("GET", path, partial(read, kind), parameters or {})


def _create(kind: type[T], path: str, fields: Mapping[str, object], repeat_key: str | None) -> Call[T]:
    headers = {"Idempotency-Key": repeat_key or uuid4().hex}
    return Call("POST", path, partial(read, kind), headers=headers, fields=fields)


def _send(call: Call[T]) -> Call[T]:
    headers = {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"}
    return replace(call, headers=headers, timeout_s=FILE_TIMEOUT_S, is_file=True)


def _nothing(body: bytes) -> None:
    """The answer says no more than that it was done."""


def _quote(part: str) -> str:
    return quote(part, safe="")


def _if_match(version: int) -> dict[str, str]:
    return {"If-Match": f'"{version}"'}


def _path(link: Link) -> str:
    return f"/links/{_quote(link.code)}"


def _file_path(domain: Domain, name: str) -> str:
    return f"/domains/{_quote(domain.domain)}/files/{_quote(name)}"


def _import_path(import_id: str) -> str:
    return f"/imports/{_quote(import_id)}"


def _stats_request(query: StatsQuestion, link: Link | None, owner: str | None) -> tuple[str, Parameters]:
    asked = query.parameters()
    if link is None:
        return "/stats", asked | ({"owner": owner} if owner else {})
    return f"{_path(link)}/stats", asked | {"domain": link.domain}
