"""YOURLS' API as other people's programs call it, through nginx: a library of PyPI, and a form as ShareX sends it."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from yourls import DBStats, YOURLSClient
from yourls.exceptions import YOURLSHTTPError, YOURLSNoLoopError, YOURLSNoURLError, YOURLSURLExistsError

from tests.dashboard.site import DashboardSite

URL = "https://www.example.com/page"


@pytest.fixture(params=["signature", "password"])
def client(request: pytest.FixtureRequest, site: DashboardSite) -> YOURLSClient:
    """A client with a key of an owner of its own, sent in either way."""
    key = site.key(f"yourls-{request.node.name}"[:60].replace("[", "-").rstrip("]"), "links:read", "links:write")
    login = {"signature": key} if request.param == "signature" else {"username": "admin", "password": key}
    return YOURLSClient(f"{site.url}/yourls-api.php", **login)


def test_library_does_all_it_can(client: YOURLSClient, site: DashboardSite) -> None:
    """PyPI's `yourls` creates, finds, expands and counts links, and reads each answer as it expects it."""
    made = client.shorten(URL, title="A page")
    again = client.shorten(URL)

    assert made.shorturl == f"{site.url}/{made.keyword}"
    assert (made.url, made.title, made.clicks) == (URL, "A page", 0)
    assert abs(made.date.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)
    assert again.keyword != made.keyword
    assert client.expand(made.shorturl) == client.expand(made.keyword) == URL
    assert client.url_stats(made.keyword).shorturl == made.shorturl
    for order in ("top", "bottom", "rand", "last"):
        links, stats = client.stats(order, 2)
        assert {link.shorturl for link in links} == {made.shorturl, again.shorturl}
        assert stats == DBStats(total_clicks=0, total_links=2)
    assert client.stats("last", 1, start=1)[0][0].shorturl == made.shorturl
    assert client.db_stats() == DBStats(total_clicks=0, total_links=2)


def test_library_reads_the_failures(client: YOURLSClient, site: DashboardSite) -> None:
    """Its exceptions come where YOURLS' own answers would bring them."""
    keyword = client.shorten(URL).keyword

    with pytest.raises(YOURLSNoURLError):
        client.shorten("")
    with pytest.raises(YOURLSNoLoopError):
        client.shorten(f"{site.url}/{keyword}")
    with pytest.raises(YOURLSHTTPError, match="400 Client Error"):
        client.shorten(URL, keyword=keyword)
    with pytest.raises(YOURLSHTTPError, match="short URL not found"):
        client.expand("nothing-there")
    stranger = YOURLSClient(client.apiurl, signature="1002a612b4")
    with pytest.raises(YOURLSHTTPError, match="Invalid username or password"):
        stranger.db_stats()
    finding = YOURLSClient(
        f"{client.apiurl}?find_existing=true", **{k: v for k, v in client._data.items() if k != "format"}
    )
    with pytest.raises(YOURLSURLExistsError) as found:
        finding.shorten(URL)
    assert found.value.url.keyword == keyword


def test_form_of_sharex(site: DashboardSite) -> None:
    """ShareX sends parts, wants text, and takes the whole body for the short URL."""
    key = site.key("sharex", "links:write")
    fields = {"action": "shorturl", "format": "simple", "signature": key, "url": f"{URL}?a=1&b=\u00fc"}
    answer = httpx.post(f"{site.url}/yourls-api.php", files={name: (None, value) for name, value in fields.items()})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    visit = httpx.get(answer.text)
    assert (visit.status_code, visit.headers["location"]) == (302, f"{URL}?a=1&b=%C3%BC")
