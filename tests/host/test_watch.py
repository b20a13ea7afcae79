"""When a release has to go: three canaries, or more than a hundredth of at least a hundred answers of its own processes."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.host import watch
from deploy.host.site import HostSite
from deploy.host.watch import Tally, try_canary
from shared.busy import BUSY

SITE = HostSite(
    root=Path("/nonexistent"), values={}, tinyurl_name="x", repository="x", public_base_url="https://sho.rt"
)
LINKS, REDIRECT, OLD = (
    f"unix:/run/tinyurl/{name}.sock" for name in ("links/links-1", "redirect/redirect-1", "links-0")
)


def line(status: str, upstream: str = LINKS, *, busy: str = "", group: str = "1") -> str:
    """As nginx writes it; `status` is what the upstream answered."""
    seen = {"upstream": upstream, "upstream_status": status, "busy": busy, "client_group": group, "status": 503}
    return json.dumps(seen)


def tally(good: int, bad: int, canaries: int = 0) -> Tally:
    found = Tally({LINKS: "links", REDIRECT: "redirect"}, canaries, "/openapi.json answered 500, not 200")
    for status, count in (("302", good), ("503", bad)):
        for _ in range(count):
            found.count(line(status))
    return found


@pytest.mark.parametrize(
    ("good", "bad", "canaries", "stays"),
    [
        (0, 0, 0, True),
        (0, 0, 2, True),
        (0, 0, 3, False),
        (0, 99, 0, True),  # too few to judge
        (0, 100, 0, False),
        (99, 1, 0, True),  # one in a hundred is not more than that
        (98, 2, 0, False),
        (100_000, 1000, 0, True),
        (98_000, 1000, 0, False),
    ],
)
def test_verdict(good: int, bad: int, canaries: int, stays: bool) -> None:
    assert (tally(good, bad, canaries).verdict(SITE) == "") is stays


def test_verdict_says_why() -> None:
    assert "/openapi.json" in tally(0, 0, 3).verdict(SITE)
    assert "100 of 200 answers of links" in tally(100, 100).verdict(SITE)


@pytest.mark.parametrize("status", ["500", "502", "503", "504", "302, 502", "200 : 500", "502, 502 : 502"])
def test_what_counts_as_an_error(status: str) -> None:
    """A process's own 5xx, and nginx's 502 and 504 towards it; of several tries the last one, which the client got."""
    found = tally(0, 0)
    upstreams = status
    for each in ("200", "302", "500", "502", "503", "504"):
        upstreams = upstreams.replace(each, LINKS)
    for _ in range(100):
        found.count(line(status, upstreams))

    assert found.verdict(SITE) != ""


@pytest.mark.parametrize(
    "refused",
    [
        line("", ""),  # nginx's own 400, 408, 413, 429, 494, 501 and 505: no process was asked
        line("-"),  # the client went away first
        line("429"),
        line("503", busy="1"),
        line("502", OLD),  # not of this release
        line("502, 200", f"{REDIRECT}, {REDIRECT}"),
    ],
)
def test_what_a_client_can_have_at_will_is_no_error(refused: str) -> None:
    """Any number of them beside a hundred good answers."""
    found = tally(100, 0)
    for _ in range(1000):
        found.count(refused)

    assert found.verdict(SITE) == ""


def test_one_client_with_requests_that_fail_decides_nothing() -> None:
    """Requests that every release answers with 500, as many as one likes: the others' answers are what counts."""
    found = tally(0, 0)
    for n in range(400):
        found.count(line("200", group=str(n % 16)))
    for _ in range(5000):
        found.count(line("500", group="7"))

    assert found.verdict(SITE) == ""


@pytest.mark.parametrize("flooded", [LINKS, REDIRECT])
def test_one_client_with_good_requests_hides_nothing(flooded: str) -> None:
    """One in nine answers of links fails; a flood at either service makes that no smaller a share."""
    found = tally(0, 0)
    for n in range(800):
        found.count(line("500" if n % 9 == 0 else "200", group=str(n % 16)))
    for _ in range(50_000):
        found.count(line("302", flooded, group="3"))

    assert "answers of links were errors" in found.verdict(SITE)


def test_other_lines_are_passed_over() -> None:
    """nginx's own messages are in the same log; a visitor's path cannot forge a status."""
    found = tally(0, 0)
    for each in ("nginx: [warn] something", "", "17", '{"path": "x"}', '{"upstream": 1, "upstream_status": 2}'):
        found.count(each)
    found.count(json.dumps({"path": '","upstream_status":"503', **json.loads(line("302"))}))

    (count,) = found.groups["links"].values()
    assert (count.answers, count.errors) == (1, 0)


@contextmanager
def answering(status: int, **headers: str) -> Iterator[tuple[str, int]]:
    """A server that answers everything so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "127.0.0.1", server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_canary_that_a_bound_refuses_has_not_failed() -> None:
    """Whoever fills a bound while a release is watched must not have it rolled back; another 503 is a failure."""
    with answering(503) as address:
        assert "answered 503" in try_canary(address, "sho.rt", {"links"})
    with answering(429) as address:
        assert try_canary(address, "sho.rt", {"links"}) == ""
    with answering(503, **{BUSY: "1"}) as address:
        assert try_canary(address, "sho.rt", {"links"}) == ""
    assert watch.BUSY == BUSY
