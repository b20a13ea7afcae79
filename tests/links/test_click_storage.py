"""What is stored of clicks: their columns, and counts that add up."""

from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.links.clicks.batches import Store
from services.links.clicks.enrichment import Enricher
from services.links.clicks.packing import pack_clicks
from services.links.clicks.rows import insert_clicks
from shared.api import UNKNOWN
from shared.clicks import Click
from shared.postgres import Connection
from tests.links.click_data import CHROME, DAY_S, GOOGLEBOT, IPHONE, NOON, click, make_links, take
from tests.links.packed_data import check_stored

MISSING = 2**62
"""The id of no link."""

# Times around the borders of slots and days, down to what a float can say of them.
_times = st.one_of(
    st.floats(NOON - 2 * DAY_S, NOON + 2 * DAY_S),
    st.builds(
        lambda slot, off: slot * 900 + off, st.integers(1_960_000, 1_960_200), st.sampled_from([0, -1e-7, 1e-7, -1e-6])
    ),
    st.floats(-62_104_060_800, 253_370_764_799),
)
_texts = st.one_of(st.none(), st.sampled_from([CHROME, IPHONE, GOOGLEBOT, b"a\x00b\xff"]), st.binary(max_size=60))
_clicks = st.builds(
    click,
    st.integers(0, 4),
    at=_times,
    address=st.sampled_from([None, b"203.0.113.7", b"2001:db8::1", b"\xff"]),
    agent=_texts,
    referrer=st.one_of(_texts, st.sampled_from([b"https://www.example.co.uk/x"])),
    language=_texts,
    variant=st.sampled_from([None, b"rule 1", b"a\0b\xff", b"", b"unknown", b"x" * 999]),
)


_batches = st.tuples(
    st.sampled_from([insert_clicks, pack_clicks]),
    st.lists(st.lists(_clicks, min_size=1, max_size=6), min_size=1, max_size=5),
)


@given(batches=st.lists(_batches, max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_count_adds_up_to_the_clicks(
    conn: Connection, enricher: Enricher, batches: list[tuple[Store, list[list[Click]]]]
) -> None:
    """Whatever is clicked and however it is stored, every count of a link or owner and day is that of the raw clicks."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        ids = [*await make_links(conn, 2), *await make_links(conn, 2, owner="bob"), MISSING]
        expected = 0
        for store, batch in batches:
            ticks = [[(at, ids[n], request) for at, n, request in tick] for tick in batch]
            all_clicks = [each for tick in ticks for each in tick]
            taken = await take(conn, enricher, *ticks, store=store)
            assert taken.refused == sum(link_id == MISSING for _, link_id, _ in all_clicks)
            assert taken.clicks == len(all_clicks) - taken.refused
            expected += taken.clicks

        assert await check_stored(conn) == expected
    finally:
        await transaction.rollback()


async def test_a_click_is_stored_as_it_was(links: Connection, enricher: Enricher) -> None:
    """The columns of a click; its address is in none of them."""
    (link,) = await make_links(links, 1)
    one = click(
        link,
        at=NOON + 0.123456,
        agent=IPHONE,
        referrer=b"https://m.news.example.co.uk/a",
        language=b"pt-BR,pt",
        variant="Ünï / b".encode(),
    )
    await take(links, enricher, [one])
    row = await links.fetchrow("SELECT * FROM clicks")
    assert row is not None
    found = dict(row)
    visitor = found.pop("visitor")

    assert found == {
        "id": 1,
        "clicked_at": datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC),
        "link_id": link,
        "owner": "alice",
        "is_bot": False,
        "country": UNKNOWN,
        "browser": "Mobile Safari",
        "os": "iOS",
        "device": "mobile",
        "referrer": "example.co.uk",
        "language": "pt",
        "variant": "Ünï / b",
    }
    assert len(visitor) == 16
    assert b"203.0.113.7" not in visitor


async def test_clicks_of_other_releases_are_stored(links: Connection, enricher: Enricher) -> None:
    """A click with more parts, with fewer, or with those of the release before is stored as far as it is known."""
    (link,) = await make_links(links, 1)
    at, _, parts = click(link, at=NOON, agent=IPHONE, language=b"de")
    before = (b"/a HTTP/1.1\r\nHost: sho.rt", *parts[1:2], b"id", *parts[3:6], b"html")
    taken = await take(links, enricher, [(at, link, each) for each in (parts, (*parts, b"new"), before, parts[:4], ())])
    rows = await links.fetch("SELECT browser, language, count(*), count(DISTINCT visitor) FROM clicks GROUP BY 1, 2")

    assert (taken.clicks, taken.refused) == (5, 0)
    assert sorted(map(tuple, rows)) == [
        ("Mobile Safari", "de", 3, 1),
        ("Mobile Safari", UNKNOWN, 1, 1),
        (UNKNOWN, UNKNOWN, 1, 1),
    ]


async def test_a_link_is_not_edited_by_its_clicks(links: Connection, enricher: Enricher) -> None:
    """The number in lists goes up; version and time of the last edit stay, and so does the change feed."""
    (link,) = await make_links(links, 1)
    before = await links.fetchrow("SELECT version, updated_at FROM links WHERE id = $1", link)
    await take(links, enricher, [click(link)] * 3)

    assert await links.fetchval("SELECT clicks FROM links WHERE id = $1", link) == 3
    assert await links.fetchrow("SELECT version, updated_at FROM links WHERE id = $1", link) == before
    assert await links.fetchval("SELECT count(*) FROM link_changes") == 0
