"""Archives: what goes out of one database into an empty one makes the same; whatever else is in a file stays out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from deploy.local.postgres import Postgres
from services.links.domains.rows import lock_domain, update_domain, upsert_file
from services.links.links.checks import new_draft
from services.links.links.creation import Outcome, store_links
from services.links.links.forms import LinkIn
from services.links.links.rows import delete_link, update_link
from services.links.site import Site
from services.links.web.hashing import hash_password
from shared.postgres import Connection
from shared.settings import LinksSettings
from tests.conftest import fresh_database
from tests.links.archive_data import connect, read_archive, select_everything, write_archive
from tests.links.stats_data import STORES, store_clicks

HASH = hash_password("s3cret")
SOON = "2199-01-02T03:04:05.678901Z"
URL = "https://www.example.com/"
RULES = [{"name": "ä", "if": {"language": ["de"]}, "url": f"{URL}de"}]
SPLIT = [{"name": "a", "url": f"{URL}a", "weight": 3}, {"name": "b", "url": f"{URL}b", "weight": 0}]

OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "title": st.none() | st.sampled_from(["t", "Ünïcödé 🎉", "'=\"\\\n"[:4]]),
    "tags": st.lists(st.sampled_from(["a", "b,c", "d|e", "\\"]), max_size=3, unique=True),
    "valid_from": st.none() | st.just("2031-01-02T03:04:05.678901Z"),
    "expires_at": st.none() | st.just(SOON),
    "expired_url": st.none() | st.just(f"{URL}over"),
    "enabled": st.booleans(),
    "forward_query": st.booleans(),
    "visitor_query_wins": st.booleans(),
    "forward_path": st.booleans(),
    "crawlable": st.booleans(),
    "preview": st.booleans(),
    "notes": st.none() | st.just("several\nlines"),
    "max_clicks": st.none() | st.integers(1, 9),
    "rules": st.none() | st.just(RULES),
    "split": st.none() | st.just(SPLIT),
}


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A link as a client may send it."""
    body = {name: draw(values) for name, values in OPTIONS.items() if draw(st.booleans())}
    if not {"rules", "split", "max_clicks"} & body.keys():
        body |= {
            "status_code": draw(st.sampled_from([301, 302, 307, 308])),
            "cache_control": draw(st.none() | st.just(0)),
        }
    target = draw(st.sampled_from([URL, "HTTPS://WWW.EXAMPLE.com", f"{URL}ä b", f"{URL}?a=1&a=2#f"]))
    return {**body, "url": target, "domain": draw(st.sampled_from(["sho.rt", "go.example.org"]))}


async def make_link(conn: Connection, site: Site, owner: str, body: dict[str, Any], fate: str) -> None:
    draft = new_draft(LinkIn.model_validate(body), owner, site)
    if fate == "guarded" and draft.fields.status_code in (302, 307) and draft.fields.cache_control is None:
        draft = replace(draft, fields=replace(draft.fields, password_hash=HASH))
    (outcome,) = await store_links(conn, owner, [draft])
    assert isinstance(outcome, Outcome)
    link = outcome.link
    if fate == "edited":
        await update_link(conn, link.key, replace(link.fields, url=f"{URL}edited", given_url=None))
    if fate == "over":
        await update_link(
            conn, link.key, replace(link.fields, expires_at=datetime(2026, 1, 1, tzinfo=UTC), valid_from=None)
        )
    if fate == "deleted":
        await delete_link(conn, link.key)
    if fate == "used":
        await conn.execute("INSERT INTO link_claims (link_id, used) VALUES ($1, 3)", link.id)
    await conn.execute(
        "UPDATE links SET created_at = created_at - $2::interval, updated_at = updated_at - interval '1 h' WHERE id = $1",
        link.id,
        timedelta(days=len(link.code)),
    )


async def decide(conn: Connection) -> None:
    for domain in ("sho.rt", "go.example.org"):
        await lock_domain(conn, domain)
    await update_domain(conn, "sho.rt", {"root_url": URL, "page_title": "Título", "not_found_url": f"{URL}?c={{code}}"})
    await upsert_file(conn, "sho.rt", "security.txt", "Contact: mailto:a@example.com\n")


FATES = ("", "edited", "over", "deleted", "guarded", "used")
EVERY_FATE = [
    ("bob", {"url": f"{URL}ä", "title": fate, "tags": ["b", "a"], "expired_url": f"{URL}over", "rules": RULES}, fate)
    for fate in FATES
]


# Two databases for each example: a smaller one that fails, too, takes minutes to find.
@settings(
    max_examples=12,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@example(links=EVERY_FATE, stores="both")
@given(
    links=st.lists(st.tuples(st.sampled_from(["alice", "bob"]), bodies(), st.sampled_from(FATES)), max_size=12),
    stores=st.sampled_from(list(STORES)),
)
async def test_archive_makes_the_same_database(
    postgres: Postgres, links_settings: LinksSettings, links: list[tuple[str, dict[str, Any], str]], stores: str
) -> None:
    """Everything of every owner is in an empty database as it was, row by row, however clicks are stored."""
    site = Site(links_settings)
    async with fresh_database(postgres) as old, fresh_database(postgres) as new:
        await store_clicks(old, STORES[stores])
        async with connect(old) as conn, conn.transaction():
            for owner, body, fate in links:
                await make_link(conn, site, owner, body, fate)
            await delete_link(conn, ("sho.rt", "alice1"))
            await decide(conn)
        refused = await read_archive(new, await write_archive(old), site)

        assert refused == []
        there, here = await select_everything(old), await select_everything(new)
        assert {kind: here[kind] for kind in there} == there
