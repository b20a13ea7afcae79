"""The answer to a visit, from the record, the query and the time."""

import json
from urllib.parse import parse_qsl, urlsplit

import ada_url
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.redirect.answers import LONGEST_LOCATION, Answer, add_path, add_query, answer_visit, error, is_plain
from shared.records import READER, Record

NOW = 1_800_000_000.0
PLAIN = Record(
    link_id=1,
    url="https://www.example.com/a?b=c#d",
    status_code=302,
    cache_control=None,
    valid_from=None,
    expires_at=None,
    expired_url=None,
    enabled=True,
    forward_query=False,
    deleted=False,
    min_reader=1,
)


def visit(record: Record | None, query: bytes = b"", now: float = NOW, rest: bytes = b"") -> Answer:
    return answer_visit(record, query=query, now=now, error_format="html", rest=rest)


def header(answer: Answer, name: bytes) -> bytes | None:
    return dict(answer.headers).get(name)


def test_plain_link_redirects() -> None:
    """A link answers 302 to its target, byte for byte, with an empty body, no caching and nothing for search engines."""
    answer = visit(PLAIN)

    assert (answer.status, answer.body, answer.is_click) == (302, b"", True)
    assert header(answer, b"location") == b"https://www.example.com/a?b=c#d"
    assert header(answer, b"cache-control") == b"private, no-store"
    assert header(answer, b"x-robots-tag") == b"noindex"
    assert header(answer, b"set-cookie") is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_status_and_lifetime_are_the_links_own(status: int) -> None:
    """A link may choose its status, and for how long a browser keeps it."""
    answer = visit(PLAIN._replace(status_code=status, cache_control=3600))

    assert answer.status == status
    assert header(answer, b"cache-control") == b"private, max-age=3600"


def test_browser_keeps_nothing_past_the_links_end() -> None:
    """The lifetime in a browser ends with the link at the latest."""
    record = PLAIN._replace(cache_control=3600, expires_at=NOW + 90.5)

    assert header(visit(record), b"cache-control") == b"private, max-age=90"


@pytest.mark.parametrize(
    "change",
    [
        {"enabled": False},
        {"deleted": True, "url": ""},
        {"expires_at": NOW},
        {"expires_at": 0.0},
        {"limited": True, "used_up": True},
    ],
)
def test_link_that_is_over(change: dict[str, object]) -> None:
    """Disabled, deleted, expired and used-up links answer 410, or lead where they say; neither is a click."""
    over = PLAIN._replace(**change)  # type: ignore[arg-type]  # fields of the record
    elsewhere = visit(over._replace(expired_url="https://www.example.com/over"))

    assert (visit(over).status, visit(over).is_click) == (410, False)
    assert (elsewhere.status, elsewhere.is_click) == (302, False)
    assert header(elsewhere, b"location") == b"https://www.example.com/over"
    assert header(elsewhere, b"cache-control") == b"private, no-store"


def test_limited_link_is_kept_nowhere() -> None:
    """The answer of a limited link depends on each visit: neither the lane nor a browser keeps it."""
    limited = PLAIN._replace(cache_control=60, limited=True)

    assert (is_plain(PLAIN, NOW), is_plain(limited, NOW)) == (True, False)
    assert header(visit(limited), b"cache-control") == b"private, no-store"


def test_link_begins_and_ends_on_time() -> None:
    """Before `valid_from` a link is unknown, at `expires_at` it is over; both are looked at when it is visited."""
    record = PLAIN._replace(valid_from=NOW, expires_at=NOW + 10)
    statuses = [visit(record, now=now).status for now in (NOW - 0.001, NOW, NOW + 9.999, NOW + 10)]

    assert statuses == [404, 302, 302, 410]


def test_unknown_link() -> None:
    """A code without a link is 404."""
    assert visit(None).status == 404


def test_record_of_a_newer_release_is_not_followed() -> None:
    """What this release might misunderstand is answered 503, for another process to answer."""
    answer = visit(PLAIN._replace(min_reader=READER + 1))

    assert answer.status == 503
    assert header(answer, b"retry-after") == b"1"


@given(
    record=st.builds(
        PLAIN._replace,
        cache_control=st.none() | st.integers(0, 100),
        valid_from=st.none() | st.floats(NOW - 100, NOW + 100),
        expires_at=st.none() | st.floats(NOW - 100, NOW + 100),
        expired_url=st.none() | st.just("https://www.example.com/over"),
        enabled=st.booleans(),
        deleted=st.booleans(),
        forward_query=st.booleans(),
        visitor_query_wins=st.booleans(),
        limited=st.booleans(),
        used_up=st.booleans(),
        min_reader=st.integers(READER, READER + 1),
    ),
    later=st.floats(0, 200),
)
def test_plain_means_one_answer_until_the_end(record: Record, later: float) -> None:
    """What memory keeps as finished stays right until the record expires."""
    if is_plain(record, NOW) and (record.expires_at is None or NOW + later < record.expires_at):
        assert visit(record, now=NOW + later) == visit(record)
        assert visit(record).is_click


# RFC 3986, section 5.4: what comes of the relative references that a path behind a code can spell.
JOINED = [
    ("http://a/b/c", b"/g", b"http://a/b/c/g"),
    ("http://a/b/c/", b"/g/", b"http://a/b/c/g/"),
    ("http://a/b/c?q#f", b"/g;x=1/y", b"http://a/b/c/g;x=1/y?q#f"),
    ("http://a/", b"/g;x=1/../y", b"http://a/y"),
    ("http://a/b", b"/./g/.", b"http://a/b/g/"),
    ("http://a/b", b"/g/./h", b"http://a/b/g/h"),
    ("http://a/b", b"/g/../h", b"http://a/b/h"),
    ("http://a/b", b"/../../../g", b"http://a/b/g"),
    ("http://a/b", b"/..", b"http://a/b/"),
    ("http://a/b", b"/g.", b"http://a/b/g."),
    ("http://a/b", b"/..g/g..", b"http://a/b/..g/g.."),
    ("http://a/b", b"/%2e%2E/%2e/.%2e/g", b"http://a/b/g"),
    ("http://a/b", b"/%252e%252e/g", b"http://a/b/%252e%252e/g"),
    ("http://a/", b"//evil.example/", b"http://a//evil.example/"),
    ("http://a/", b"/\\evil.example", b"http://a/%5Cevil.example"),
    ("http://a/?x=/y#/z", b"/g", b"http://a/g?x=/y#/z"),
    ("http://a/#?z", b"/g", b"http://a/g#?z"),
    ("http://a/b", b'/a%2Fb%zz"<>', b"http://a/b/a%2Fb%zz%22%3C%3E"),
]


@pytest.mark.parametrize(("target", "rest", "location"), JOINED)
def test_path_is_added_to_the_targets_own(target: str, rest: bytes, location: bytes) -> None:
    """What follows the code is joined as RFC 3986 says, and the target's query and fragment stay last."""
    assert add_path(target.encode(), rest) == location
    assert header(visit(PLAIN._replace(url=target, forward_path=True), rest=rest), b"location") == location


@given(rest=st.text(st.sampled_from("./\\%2eE:@?#a\u00e4"), max_size=30), base=st.sampled_from(["", "/b", "/b/c/"]))
def test_added_path_stays_within_the_targets(rest: str, base: str) -> None:
    """As browsers read it, no path leads to another host or out of the target's own path."""
    location = add_path(f"https://www.example.com{base or '/'}?q#f".encode(), b"/" + rest.encode()).decode()
    parsed = ada_url.parse_url(location)

    assert parsed["host"] == "www.example.com"
    assert str(parsed["pathname"]).startswith(base.removesuffix("/") + "/")
    assert (parsed["search"], parsed["hash"]) == ("?q", "#f")
    assert parsed["href"] == location


@pytest.mark.parametrize(
    "rest",
    [b"/..%2f..%2fx", b"/a/%2e%2e%5cx", b"/a/b%5c..", b"/..;/x", b"/a\\..\\x", b"/.%2F", b"/a%2f.%2e/x", b"/%2E.;a=b"],
)
def test_path_that_servers_may_read_as_a_way_out_is_unknown(rest: bytes) -> None:
    """Dots beside an encoded slash, a backslash or parameters leave the target's path at servers that decode first."""
    assert visit(PLAIN._replace(forward_path=True), rest=rest).status == 404


def test_path_of_a_link_that_passes_none_on_is_unknown() -> None:
    """Only a link that says so has addresses below its own; one that is too long is none of them."""
    assert visit(PLAIN, rest=b"/x").status == 404
    assert visit(PLAIN._replace(forward_path=True, enabled=False), rest=b"/x").status == 410
    assert visit(PLAIN._replace(forward_path=True), rest=b"/" + b"x" * LONGEST_LOCATION).status == 414


@pytest.mark.parametrize("change", [{"limited": True}, {"password": "0"}, {"rules": "[]"}, {"split": "[]"}])
@pytest.mark.parametrize(("status", "answered"), [(301, 302), (302, 302), (307, 307), (308, 302)])
def test_no_browser_keeps_what_is_decided_anew(change: dict[str, object], status: int, answered: int) -> None:
    """What an older release stored beside rules, a limit or a password lets no browser keep the answer."""
    record = PLAIN._replace(status_code=status, cache_control=60, **change)  # type: ignore[arg-type]  # fields of the record

    assert visit(record).status == answered
    assert header(visit(record), b"cache-control") == b"private, no-store"


def test_crawlers_are_told_what_the_link_says() -> None:
    """A link that may be crawled has no `X-Robots-Tag`; its errors do."""
    crawlable = PLAIN._replace(crawlable=True)

    assert header(visit(crawlable), b"x-robots-tag") is None
    assert header(visit(crawlable._replace(enabled=False)), b"x-robots-tag") == b"noindex"


REPLACED = [
    ("https://a.com/?own=1", b"x=1", b"https://a.com/?own=1&x=1"),
    ("https://a.com/?own=1&b=2&own=3#f", b"own=4&x=1&own=5", b"https://a.com/?b=2&own=4&x=1&own=5#f"),
    ("https://a.com/?o%77n=1", b"own=2", b"https://a.com/?own=2"),
    ("https://a.com/?q[]=1&q[]=2", b"q%5B%5D=3", b"https://a.com/?q%5B%5D=3"),
    ("https://a.com/?flag", b"flag=", b"https://a.com/?flag="),
    ("https://a.com/?own=1", b"&&", b"https://a.com/?own=1"),
    ("https://a.com/?1=a", b"1=<", b"https://a.com/?1=%3C"),
    ("https://a.com/?own=1", b"own=" + b"x" * 16384, b"https://a.com/?own=1"),
]


@pytest.mark.parametrize(("target", "query", "location"), REPLACED)
def test_query_of_the_visitor_wins_where_the_link_says_so(target: str, query: bytes, location: bytes) -> None:
    """All of the target's parameters of a name that the visitor has give way; without `forward_query` nothing changes."""
    wins = PLAIN._replace(url=target, visitor_query_wins=True)

    assert header(visit(wins._replace(forward_query=True), query), b"location") == location
    assert header(visit(wins, query), b"location") == target.encode()


FORWARDED = [
    ("https://a.com/", b"x=1&y=2", b"https://a.com/?x=1&y=2"),
    ("https://a.com/?own=1", b"x=1", b"https://a.com/?own=1&x=1"),
    ("https://a.com/?own=1", b"own=2&x=1&own=3", b"https://a.com/?own=1&x=1"),
    ("https://a.com/?o%77n=1", b"own=2", b"https://a.com/?o%77n=1"),
    ("https://a.com/?a+b=1", b"a%20b=2", b"https://a.com/?a+b=1"),
    ("https://a.com/p#f", b"x=1", b"https://a.com/p?x=1#f"),
    ("https://a.com/p?#f", b"x=1", b"https://a.com/p?x=1#f"),
    ("https://a.com/", b"flag&empty=&x=a=b", b"https://a.com/?flag&empty=&x=a=b"),
    ("https://a.com/?q", b"q=1", b"https://a.com/?q"),
    ("https://a.com/", b"&&x=1&&", b"https://a.com/?x=1"),
    ("https://a.com/", b"x=%0d%0aSet-Cookie:y", b"https://a.com/?x=%0d%0aSet-Cookie:y"),
    ("https://a.com/", b"x=\xc3\xa9<\"'>", b"https://a.com/?x=%C3%A9%3C%22'%3E"),
]


@pytest.mark.parametrize(("target", "query", "location"), FORWARDED)
def test_query_is_forwarded(target: str, query: bytes, location: bytes) -> None:
    """The visitor's parameters are added where the target's own do not win; the fragment stays last."""
    assert header(visit(PLAIN._replace(url=target, forward_query=True), query), b"location") == location
    assert header(visit(PLAIN._replace(url=target), query), b"location") == target.encode()


def test_query_that_is_too_long_is_not_forwarded() -> None:
    """A location stays within what nginx takes, whatever the visitor adds."""
    target = b"https://a.com/" + b"p" * 8000

    assert add_query(target, b"x=" + b"\xff" * 2700) == target + b"?x=" + b"%FF" * 2700
    assert add_query(target, b"x=" + b"\xff" * 2800) == target


@given(
    target=st.from_regex(rb"https://a\.com/[a-z]{0,5}(\?[a-z=&%0-9+]{0,20})?(#[a-z?]{0,5})?", fullmatch=True),
    query=st.binary(max_size=60).filter(lambda text: b"#" not in text),
)
def test_forwarded_query_is_harmless(target: bytes, query: bytes) -> None:
    """Whatever the query is made of, the location is printable, and host, path, fragment and own parameters stay."""
    location = add_query(target, query)
    before, after = urlsplit(target.decode()), urlsplit(location.decode("ascii"))

    assert all(0x21 <= byte <= 0x7E for byte in location)
    assert before[:3] == after[:3]
    assert before.fragment == after.fragment
    own = parse_qsl(before.query, keep_blank_values=True)
    assert parse_qsl(after.query, keep_blank_values=True)[: len(own)] == own


@pytest.mark.parametrize("status", [400, 404, 405, 410, 503])
def test_errors_come_in_two_formats(status: int) -> None:
    """Each error is a page for people and problem+json for programs, cached nowhere."""
    page, problem = error(status, "html"), error(status, "json")
    body = json.loads(problem.body)

    assert page.status == problem.status == status
    assert header(page, b"content-type") == b"text/html; charset=utf-8"
    assert header(problem, b"content-type") == b"application/problem+json"
    assert page.body.startswith(b"<!doctype html>")
    assert body["status"] == status
    assert body["type"].startswith("urn:tinyurl:problem:")
    assert body["title"].encode() in page.body
    for answer in (page, problem):
        assert header(answer, b"cache-control") == b"private, no-store"
        assert header(answer, b"content-length") == str(len(answer.body)).encode()
