"""The pullers, against servers that answer as the APIs of other shorteners do."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from services.links.sources.found import FoundLink, FoundVisit
from shared.client.pulling import Pulled, PullFailed, guess_kind, pull
from tests.links.source_samples import HeldFile, source_of

Query = dict[str, str]
Route = Callable[[str, Query, Any], tuple[int, Any]]


@contextmanager
def serving(route: Route) -> Iterator[str]:
    """A server whose answers a function makes of path, query with form, and headers. An answer in bytes is sent as it is."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, body: str) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(f"{parts.query}&{body}").items()}
            status, answer = route(parts.path, query, self.headers)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://other.example/")
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pull_now(url: str, key: str, path: Path, **options: Any) -> str:
    """Pull without a pause between tries."""
    return pull(url, key, path, sleep=lambda _s: None, **options)


def links_in(path: Path) -> list[FoundLink]:
    file = HeldFile(path.read_bytes(), path.name)
    return [each for each in source_of(file).read_links(file) if isinstance(each, FoundLink)]


def visits_in(path: Path) -> list[FoundVisit]:
    file = HeldFile(path.read_bytes(), path.name)
    return [each for each in source_of(file).read_visits(file) if isinstance(each, FoundVisit)]


class ShlinkServer:
    """Shlink with 150 links, of which one has 2,500 visits. It can break once a request."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.breaks_at: int | None = None

    def __call__(self, path: str, query: Query, headers: Any) -> tuple[int, Any]:
        if path == "/rest/health":
            return 200, {"status": "pass", "version": "4.2.0", "links": {}}
        self.asked.append(path)
        if self.breaks_at is not None and len(self.asked) >= self.breaks_at:
            return 400, {"title": "broken"}
        if headers["X-Api-Key"] != "secret":
            return 401, {"type": "https://shlink.io/api/error/invalid-api-key"}
        if path == "/rest/v3/short-urls":
            assert query["orderBy"] == "dateCreated-ASC"
            return 200, {"shortUrls": self._page([self._link(number) for number in range(150)], query)}
        assert path.startswith("/rest/v3/short-urls/")
        if path.endswith("/redirect-rules"):
            rules = [
                {"longUrl": "https://e.com/ios", "priority": 1, "conditions": [{"type": "device", "matchValue": "ios"}]}
            ]
            return (200, {"redirectRules": rules}) if "/code3/" in path else (404, {"status": 404})
        assert path == "/rest/v3/short-urls/code7/visits"
        assert "endDate" in query
        visits = [
            {"date": f"2024-03-05T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}+00:00", "userAgent": "x",
             "referer": "", "potentialBot": False, "visitLocation": None}
            for number in reversed(range(2500))
        ]  # fmt: skip
        return 200, {"visits": self._page(visits, query)}

    def _link(self, number: int) -> dict[str, Any]:
        visits = 2500 if number == 7 else 0
        return {
            "shortUrl": f"https://s.example.org/code{number}",
            "shortCode": f"code{number}",
            "longUrl": f"https://e.com/{number}",
            "dateCreated": "2024-03-05T09:12:44+00:00",
            "domain": None,
            "tags": [],
            "hasRedirectRules": number == 3,
            "visitsSummary": {"total": visits, "nonBots": visits, "bots": 0},
        }

    def _page(self, rows: list[Any], query: Query) -> dict[str, Any]:
        page, size = int(query["page"]), int(query["itemsPerPage"])
        paging = {"currentPage": page, "pagesCount": max(1, -(-len(rows) // size)), "totalItems": len(rows)}
        return {"data": rows[(page - 1) * size : page * size], "pagination": paging}


def check_shlink(path: Path) -> None:
    links, visits = links_in(path), visits_in(path)

    assert [link.code for link in links] == [f"code{number}" for number in range(150)]
    assert links[3].fields["rules"] == [{"if": {"os": ["ios"]}, "url": "https://e.com/ios"}]
    assert len(visits) == 2500
    assert {(visit.domain, visit.code) for visit in visits} == {(links[7].domain, "code7")}
    assert [visit.at for visit in visits] == sorted(visit.at for visit in visits)


def test_shlink_comes_with_rules_and_visits(tmp_path: Path) -> None:
    """All pages of links and visits are pulled, the oldest visits first, and progress is told."""
    told: list[tuple[int, int, int | None]] = []

    def tell(pulled: Pulled) -> None:
        told.append((pulled.links, pulled.visits, pulled.all_links))

    with serving(ShlinkServer()) as url:
        kind = pull_now(f"{url}/rest/v3/", "secret", tmp_path / "pulled", tell=tell)

    assert kind == "shlink"
    assert told[-1] == (150, 2500, 150)
    check_shlink(tmp_path / "pulled")


@pytest.mark.parametrize("breaks_at", [1, 2, 3, 4, 5, 6, 7])
def test_a_broken_pull_goes_on(tmp_path: Path, breaks_at: int) -> None:
    """Wherever a pull breaks off, the next one goes on at the last mark, and nothing is there twice."""
    server, path = ShlinkServer(), tmp_path / "pulled"
    with serving(server) as url:
        server.breaks_at = breaks_at
        with pytest.raises(PullFailed, match="answers 400"):
            pull_now(url, "secret", path)
        with path.open("ab") as file:
            file.write(b'{"link": {"cut')
        server.breaks_at = None
        pull_now(url, "secret", path)
        check_shlink(path)
        asked = len(server.asked)
        pull_now(url, "secret", path)

    assert len(server.asked) == asked


def test_a_file_of_another_pull_is_kept(tmp_path: Path) -> None:
    """A file that is something else is not overwritten."""
    path = tmp_path / "pulled"
    path.write_text("mine\n")
    with pytest.raises(PullFailed, match="is there already"):
        pull_now("http://127.0.0.1:9", "secret", path, kind="kutt")

    assert path.read_text() == "mine\n"


def yourls(path: str, query: Query, _headers: Any) -> tuple[int, Any]:
    if path != "/s/yourls-api.php":
        return 404, b"<html>"
    if query["action"] == "version":
        return 403, {"message": "Please log in", "errorCode": "403", "callback": ""}
    if query.get("signature") != "secret" and (query.get("username"), query.get("password")) != ("u", "p:w"):
        return 403, {"message": "Invalid username or password", "errorCode": "403"}
    start, limit = int(query["start"]), int(query["limit"])
    link = {"url": "https://e.com/", "title": "", "timestamp": "2019-05-01 10:22:03", "ip": "", "clicks": "2"}
    rows = [{"shorturl": f"http://s.example.org/s/k{number}", **link} for number in range(1200)][start : start + limit]
    links = {f"link_{number}": row for number, row in enumerate(rows, 1)}
    counts = {"total_links": "1200", "total_clicks": "2400"}
    return 200, {"links": links, "stats": counts, "statusCode": "200", "message": "success"}


@pytest.mark.parametrize("key", ["secret", "u:p:w"])
def test_yourls_is_pulled_by_its_own_api(tmp_path: Path, key: str) -> None:
    """YOURLS needs no plugin: `stats` has all links, by signature or password, which are in no URL."""
    with serving(yourls) as url:
        assert pull_now(f"{url}/s/", key, tmp_path / "pulled") == "yourls"
    links = links_in(tmp_path / "pulled")

    assert [link.clicks for link in links] == [2] * 1200
    assert {link.domain for link in links} == {"s.example.org"}


def kutt(path: str, query: Query, headers: Any) -> tuple[int, Any]:
    if path == "/api/v2/health":
        return 200, b"OK"
    if path != "/api/v2/links":
        return 404, {"error": "not found"}
    if headers["X-API-KEY"] != "secret":
        return 401, {"error": "Unauthorized"}
    skip, limit = int(query["skip"]), int(query["limit"])
    rows = [
        {"address": f"k{number}", "target": "https://e.com/", "visit_count": 1, "banned": False}
        for number in range(120)
    ]
    return 200, {"total": 120, "limit": limit, "skip": skip, "data": rows[skip : skip + limit]}


def test_kutt_is_pulled(tmp_path: Path) -> None:
    """Kutt is told by its health, and pulled by pages."""
    with serving(kutt) as url:
        assert guess_kind(url) == "kutt"
        pull_now(url, "secret", tmp_path / "pulled")

    assert [link.code for link in links_in(tmp_path / "pulled")] == [f"k{number}" for number in range(120)]


def hosted(path: str, query: Query, headers: Any) -> tuple[int, Any]:
    """The APIs of Dub, Rebrandly, Short.io and Bitly."""
    assert "secret" in (headers["Authorization"] or headers["apikey"])
    url = "https://e.com/"
    if path == "/links":
        rows = [{"key": f"k{n}", "url": url, "shortLink": f"https://d.example/k{n}"} for n in range(130)]
        return 200, rows[(int(query["page"]) - 1) * 100 :][:100]
    if path == "/v1/links":
        first = int(query.get("last", -1)) + 1
        tags = [{"id": n, "slashtag": f"k{n}", "destination": url, "shortUrl": f"r.example/k{n}"} for n in range(60)]
        return 200, tags[first : first + 25]
    if path == "/api/domains":
        return 200, [{"id": 1, "hostname": "a.example"}, {"id": 2, "hostname": "b.example"}]
    if path == "/api/links":
        code = f"k{query['domain_id']}{query.get('pageToken', '')}"
        row = {"originalURL": url, "path": code, "shortURL": f"https://s.example/{code}"}
        return 200, {"links": [row], "count": 1, "nextPageToken": None if "pageToken" in query else "x"}
    if path == "/v4/groups":
        return 200, {"groups": [{"guid": "g1"}, {"guid": "g2"}]}
    if path.endswith("/clicks/summary"):
        return 200, {"total_clicks": 5}
    after = query.get("search_after", "")
    name = f"bit.ly/{path.split('/')[3]}{after}"
    link = {"id": name, "link": f"https://{name}", "custom_bitlinks": [], "long_url": url, "title": "A\x01"}
    paging = {"next": "" if after else "y", "search_after": "" if after else "n"}
    return 200, json.dumps({"links": [link], "pagination": paging}).replace("\\u0001", "\x01").encode()


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("dub", [f"k{n}" for n in range(130)]),
        ("rebrandly", [f"k{n}" for n in range(60)]),
        ("shortio", ["k1", "k1x", "k2", "k2x"]),
        ("bitly", ["g1", "g1n", "g2", "g2n"]),
    ],
)
def test_hosted_shorteners_are_pulled(tmp_path: Path, kind: str, codes: list[str]) -> None:
    """The APIs of hosted shorteners are pulled by their own kinds of pages."""
    with serving(hosted) as url:
        pull_now(url, "secret", tmp_path / "pulled", kind=kind)
    links = links_in(tmp_path / "pulled")

    assert [link.code for link in links] == codes
    assert kind != "bitly" or {link.clicks for link in links} == {5}


def test_hosted_shorteners_are_known_by_their_address() -> None:
    """An address of a hosted shortener is asked nothing."""
    assert [guess_kind(f"https://{host}") for host in ("app.bitly.com", "app.dub.co", "rebrandly.com", "app.short.io")] == [
        "bitly", "dub", "rebrandly", "shortio"
    ]  # fmt: skip


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_asked_again(tmp_path: Path, status: int) -> None:
    """An answer that may pass is asked for again, a few times and not without end."""
    asked: list[str] = []

    def route(path: str, query: Query, headers: Any) -> tuple[int, Any]:
        asked.append(path)
        return kutt(path, query, headers) if len(asked) % 3 == 0 else (status, {})

    with serving(route) as url:
        pull_now(url, "secret", tmp_path / "pulled", kind="kutt")
        assert len(links_in(tmp_path / "pulled")) == 120
        with serving(lambda *_: (status, {})) as other, pytest.raises(PullFailed, match=f"answers {status}.*7 times"):
            pull_now(other, "secret", tmp_path / "other", kind="kutt")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((302, {}), "leads to http://other.example/"),
        ((401, {}), "does not accept the key"),
        ((404, {}), "is not there"),
        ((400, {"error": "no"}), r'answers 400: {"error": "no"}'),
        ((200, b"<html>"), "no JSON"),
        ((200, b"[" * 100_000), "no JSON"),
        ((200, {"total": 5}), "without data"),
        ((200, b" " * (65 * 2**20)), "more than 64 MiB"),
    ],
)
def test_other_answers_are_told(tmp_path: Path, answer: tuple[int, Any], error: str) -> None:
    """A redirect is not followed with the key, and what is no answer of this API is named."""
    with serving(lambda *_: answer) as url, pytest.raises(PullFailed, match=error):
        pull_now(url, "secret", tmp_path / "pulled", kind="kutt")


def test_what_is_no_shortener_is_told(tmp_path: Path) -> None:
    """An address that is none, one where nobody is, and one of something else are refused."""
    for url in ("ftp://x.example", "http://user:pass@x.example", "http://", "http://x:99999999"):
        with pytest.raises(PullFailed, match="no address of a shortener"):
            pull_now(url, "secret", tmp_path / "pulled")
    with serving(lambda *_: (200, b"<html>")) as url, pytest.raises(PullFailed, match="does not look like"):
        pull_now(url, "secret", tmp_path / "pulled")
    with pytest.raises(PullFailed, match="cannot be reached"):
        pull_now(url, "secret", tmp_path / "pulled", kind="shlink")
    with pytest.raises(PullFailed, match="characters that no key has"):
        pull_now(url, "sec\nret", tmp_path / "pulled")
