"""The page Statistics over the real write service, with clicks that the intake stored."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df
from streamlit.testing.v1 import AppTest

from services.dashboard.pages.statistics import page as statistics_page
from services.dashboard.pages.statistics import split_name
from services.links.clicks.enrichment import Enricher
from services.links.imported.batches import ImportedBatch, ImportedTotal
from services.links.imported.storing import store_imported
from services.links.imported.visits import VisitReader
from services.links.sources.found import FoundVisit
from shared.client import Client
from shared.postgres import Connection
from tests.dashboard.hostile import HOSTILE
from tests.dashboard.stack import Stack, labelled, markdown_of, texts_of
from tests.links.click_data import CHROME, GOOGLEBOT, IPHONE, click

DIMENSIONS = ("referrer", "browser", "os", "device", "language")
TARGET = "https://www.example.com/"


@pytest.fixture
def located(tmp_path: Path) -> Enricher:
    """One that knows where 203.0.113.0/24 is."""
    writer = MMDBWriter(4, "test")
    writer.insert_network(IPSet(["203.0.113.0/24"]), {"country": {"iso_code": "DE"}})
    writer.to_db_file(str(tmp_path / "countries.mmdb"))
    return Enricher(tmp_path / "countries.mmdb")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("py", ("", "py")),
        ("sho.rt/py", ("sho.rt", "py")),
        ("http://localhost:8000/py", ("localhost", "py")),
        ("https://sho.rt/menu/%E5%85%B1", ("sho.rt", "menu/\u5171")),
    ],
)
def test_name_of_a_link(name: str, expected: tuple[str, str]) -> None:
    """A link is named by its code, by its domain and code, or by its short URL as browsers show it."""
    assert split_name(name) == expected


def make(client: Client, *codes: str) -> None:
    for code in codes:
        client.create_link({"url": f"{TARGET}{code}", "code": code})


def totals(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def charts(page: AppTest) -> list[str]:
    """What the charts are of, in their order on the page."""
    return [element.proto.alt for element in page.get("vega_lite_chart")]


def drawn(page: AppTest) -> set[str]:
    """The names of values that the charts draw."""
    found: set[str] = set()
    for element in page.get("vega_lite_chart"):
        for dataset in element.proto.datasets:
            frame = convert_arrow_bytes_to_pandas_df(dataset.data.data)
            found.update(frame.get("value", []), frame.get("name", []))
    return found


def test_no_clicks_say_what_to_do(stack: Stack) -> None:
    """Without a click there is no empty chart, but a hint."""
    page = stack.page(statistics_page).run()

    assert not page.exception
    assert "Share one from the page Links" in texts_of(page)
    assert totals(page) == {"Clicks": "0", "Humans": "0", "Bots": "0", "Unique visitors": "0"}
    assert charts(page) == []


def test_clicks_are_counted_and_drawn(stack: Stack, enricher: Enricher) -> None:
    """Totals, the course of time and each dimension are of the clicks of all links; without countries there is no map."""
    with stack.client() as client:
        make(client, "one", "two")
    one, two = stack.link_id("one"), stack.link_id("two")
    stack.store_clicks(
        [
            click(one, agent=CHROME),
            click(one, agent=IPHONE, referrer=b"https://news.example/x"),
            click(two, agent=GOOGLEBOT),
        ],
        enricher,
    )
    page = stack.page(statistics_page).run()

    assert not page.exception
    assert totals(page) == {"Clicks": "3", "Humans": "2", "Bots": "1", "Unique visitors": "3"}
    assert [each.value for each in page.subheader] == ["Referrers", "Browsers", "Systems", "Devices", "Languages"]
    assert charts(page) == ["Clicks over time", *(f"Clicks by {name}" for name in DIMENSIONS)]
    assert {"Chrome", "news.example", "mobile"} < drawn(page)


def test_imported_clicks_are_told_apart(stack: Stack, enricher: Enricher) -> None:
    """The page says how many clicks came with links, and how many more have no date; nobody knows their visitors."""
    with stack.client() as client:
        make(client, "one")
    link, today = stack.link_id("one"), datetime.now(UTC)
    visit = VisitReader(enricher, None).read(link, "alice", FoundVisit(1, "one", today - timedelta(hours=1)))
    batch = ImportedBatch([ImportedTotal(link, "alice", 1234)], [visit] * 3)

    async def bring(conn: Connection) -> None:
        async with conn.transaction():
            await store_imported(conn, batch, today=today.date(), kept_days=90)

    stack.query(bring)
    page = stack.page(statistics_page).run()

    assert not page.exception
    assert totals(page) == {"Clicks": "3", "Humans": "3", "Bots": "0", "Unique visitors": "—"}
    assert "3 of these 3 clicks came with imported links. 1,231 more came without a date" in texts_of(page)


def test_countries_are_on_a_map(stack: Stack, located: Enricher) -> None:
    """Where a country database is configured the countries have a map and bars."""
    with stack.client() as client:
        make(client, "one")
    stack.store_clicks([click(stack.link_id("one"))], located)
    page = stack.page(statistics_page).run()

    assert not page.exception
    assert charts(page)[1:3] == ["Map of countries by clicks", "Clicks by country"]
    assert "Germany" in drawn(page)


def test_one_link_has_its_own_counts(stack: Stack, enricher: Enricher) -> None:
    """A code, a name and a short URL all lead to one link, with its last clicks; an unknown one is told."""
    with stack.client() as client:
        make(client, "one", "two")
    stack.store_clicks([click(stack.link_id("one"))] * 2 + [click(stack.link_id("two"))], enricher)
    page = stack.page(statistics_page).run()
    found = []
    for name in ("one", "sho.rt/one", "https://sho.rt/one", "http://sho.rt:8080/one"):
        labelled(page.text_input, "Link").set_value(name)
        page.run()
        found.append((totals(page)["Clicks"], [each.value for each in page.code], len(page.dataframe[0].value)))
    labelled(page.text_input, "Link").set_value("none")
    page.run()

    assert found == [("2", ["https://sho.rt/one"], 2)] * 4
    assert "There is no such link" in page.error[0].value
    assert totals(page)["Clicks"] == "3"


def test_the_page_links_can_ask_for_one(stack: Stack, enricher: Enricher) -> None:
    """A link that was chosen on another page is the one that is shown."""
    with stack.client() as client:
        make(client, "one", "two")
    stack.store_clicks([click(stack.link_id("one"))], enricher)
    page = stack.page(statistics_page)
    page.session_state["statistics_link"] = "sho.rt/one"
    page.run()

    assert [each.value for each in page.code] == ["https://sho.rt/one"]
    assert totals(page)["Clicks"] == "1"


def test_humans_and_bots_are_told_apart(stack: Stack, enricher: Enricher) -> None:
    """The switch limits what is counted; who finds nothing is told that others came."""
    with stack.client() as client:
        make(client, "one")
    stack.store_clicks([click(stack.link_id("one"))] * 2, enricher)
    page = stack.page(statistics_page).run()
    seen = {}
    for name in ("Humans", "Bots"):
        labelled(page.segmented_control, "Who").set_value(name)
        page.run()
        seen[name] = totals(page)["Clicks"]

    assert seen == {"Humans": "2", "Bots": "0"}
    assert "others did: choose Everyone" in texts_of(page)


def test_a_range_limits_what_is_counted(stack: Stack, enricher: Enricher) -> None:
    """Ranges go back from now; an own range has the days that are chosen."""
    now = datetime.now(UTC)
    ages = (timedelta(hours=2), timedelta(days=3), timedelta(days=20), timedelta(days=60), timedelta(days=200))
    with stack.client() as client:
        make(client, "one")
    link_id = stack.link_id("one")
    stack.store_clicks([click(link_id, at=(now - age).timestamp()) for age in ages], enricher)
    page = stack.page(statistics_page).run()
    counted = {}
    for name in ("24 hours", "7 days", "30 days", "90 days", "12 months"):
        labelled(page.segmented_control, "Range").set_value(name)
        page.run()
        counted[name] = totals(page)["Clicks"]
    labelled(page.segmented_control, "Range").set_value("Own range")
    page.run()
    page.date_input[0].set_value(((now - timedelta(days=61)).date(), (now - timedelta(days=19)).date()))
    page.run()

    assert not page.exception
    assert counted == {"24 hours": "1", "7 days": "2", "30 days": "3", "90 days": "4", "12 months": "5"}
    assert totals(page)["Clicks"] == "2"


def test_new_clicks_arrive(stack: Stack, enricher: Enricher) -> None:
    """The next run has what came meanwhile."""
    with stack.client() as client:
        make(client, "one")
    page = stack.page(statistics_page).run()
    stack.store_clicks([click(stack.link_id("one"))], enricher)
    page.run()

    assert totals(page)["Clicks"] == "1"


def test_an_admin_counts_one_owner_or_all(stack: Stack, enricher: Enricher) -> None:
    """An admin sees everyone's clicks, or one owner's."""
    with stack.client("alice") as alice, stack.client("bob") as bob:
        make(alice, "one")
        make(bob, "two")
    stack.store_clicks([click(stack.link_id("one"))] + [click(stack.link_id("two"))] * 2, enricher)
    page = stack.page(statistics_page, "root", "admin").run()
    everyone = totals(page)["Clicks"]
    labelled(page.text_input, "Owner").set_value("bob")
    page.run()

    assert (everyone, totals(page)["Clicks"]) == ("3", "2")


def test_a_key_that_only_counts_needs_no_other_scope(stack: Stack) -> None:
    """`stats:read` alone is enough for the counts of all links."""
    page = stack.page(statistics_page, "alice", "stats:read").run()

    assert not page.exception
    assert not page.error
    assert "Link" not in [each.label for each in page.text_input]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_visitor_sent_is_never_markdown(stack: Stack, enricher: Enricher, text: str) -> None:
    """User agents, referrers, languages and titles are data of tables and charts, and nothing else."""
    with stack.client() as client:
        client.create_link({"url": f"{TARGET}?{text}", "code": "one", "title": text})
    raw = text.encode()
    agent = b"Mozilla/5.0 " + raw + b" Evil" + raw + b"/1.0"
    visit = click(stack.link_id("one"), agent=agent, referrer=b"https://evil.example/" + raw, language=raw)
    stack.store_clicks([visit], enricher)
    page = stack.page(statistics_page)
    page.session_state["statistics_link"] = "sho.rt/one"
    page.run()

    assert not page.exception
    assert totals(page)["Clicks"] == "1"
    assert text not in markdown_of(page)
