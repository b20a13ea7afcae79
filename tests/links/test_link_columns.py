"""The columns of a link: spelled once, and the same in the table, the statements and the forms."""

import json
from dataclasses import MISSING, fields, replace
from datetime import UTC, datetime

from services.links.links.forms import LinkIn, LinkOut, LinkPatch
from services.links.links.rows import (
    _FIND,
    DECIDED,
    KEPT,
    LinkDraft,
    LinkFields,
    delete_link,
    find_links,
    insert_links,
    lock_link,
    select_link,
    spell_json,
    update_link,
)
from shared.postgres import Connection
from shared.records import Record

KEY = ("sho.rt", "code")
UNSPOKEN = {"password_hash", "given_url"}
"""Columns that clients decide about by another field."""

RULES = [
    {"name": "\u00e4", "if": {"language": ["de"], "query": [{"name": "a", "value": ""}]}, "url": "https://www.example.com/de"},
    {
        "if": {"after": "2031-01-02T03:04:05.678901Z", "weekday": ["sat", "sun"], "time_zone": "Europe/Berlin"},
        "split": [
            {"name": "a", "url": "https://www.example.com/a", "weight": 0},
            {"name": "b", "url": "https://www.example.com/b", "weight": 7},
        ],
    },
]  # fmt: skip
SPLIT = [
    {"name": "one", "url": "https://www.example.com/1", "weight": 3},
    {"name": "two", "url": "https://www.example.com/2", "weight": 10_000},
]
PLAIN = LinkFields("https://www.example.com/")
FULL = LinkFields(
    url="https://www.example.com/\u00e4?a='\"\\",
    title="\u00e4 '\"\\ \U0001f600",
    tags=("a,b", '"c"', "{d}", ""),
    status_code=308,
    cache_control=0,
    valid_from=datetime(2031, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    expires_at=datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC),
    expired_url="https://www.example.com/expired",
    enabled=False,
    forward_query=True,
    forward_path=True,
    crawlable=True,
    preview=False,
    notes="several\nlines",
    max_clicks=1_000_000_000,
    rules=spell_json(RULES),
    split=spell_json(SPLIT),
    visitor_query_wins=True,
    password_hash="$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA",  # noqa: S106  # of no password
    given_url="https://www.example.com/\u00e4?a='%22\\",
)


def draft(decided: LinkFields, code: str = "") -> LinkDraft:
    return LinkDraft("sho.rt", "alice", decided, code)


def test_every_form_has_every_column() -> None:
    """What a client decides can be sent, changed and read, and is by default what it is in the table's dataclass."""
    for form, password in ((LinkIn, "password"), (LinkPatch, "password"), (LinkOut, "has_password")):
        assert {*DECIDED, password} - UNSPOKEN <= set(form.model_fields), form
        assert not UNSPOKEN & set(form.model_fields)
    for field in fields(LinkFields):
        if field.name in UNSPOKEN:
            continue
        default = LinkIn.model_fields[field.name].get_default()
        if field.default is not MISSING:
            assert (tuple(default) if isinstance(default, list) else default) == field.default, field.name


def test_answer_of_a_release_before_is_read() -> None:
    """The answer that an older release stored for a repeated request has no field that came later, and none is required."""
    later = {"humans", "forward_path", "crawlable", "preview", "notes", "max_clicks", "rules", "split"}
    later |= {"clicks_left", "has_password", "imported_clicks", "visitor_query_wins", "folds_case"}
    required = {name for name, field in LinkOut.model_fields.items() if field.is_required()}

    assert required == set(LinkOut.model_fields) - later


def test_requests_are_spelled_alike_by_every_release() -> None:
    """The fields keep their order: a request that is repeated with its key at another release is the same request."""
    body = {
        "url": "https://www.example.com/",
        "code": "py",
        "domain": "sho.rt",
        "title": "t",
        "tags": ["a"],
        "status_code": 301,
        "cache_control": 60,
        "valid_from": "2031-01-01T00:00:00Z",
        "expires_at": "2032-01-01T00:00:00Z",
        "expired_url": "https://www.example.com/expired",
        "enabled": False,
        "forward_query": True,
        "forward_path": True,
        "crawlable": True,
        "preview": False,
        "notes": "several\nlines",
        "max_clicks": 7,
        "rules": RULES,
        "split": SPLIT,
        "visitor_query_wins": True,
        "find_existing": True,
    }

    spelled = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    assert LinkIn.model_validate(body).model_dump_json(exclude_defaults=True) == spelled


async def test_columns_come_back_as_they_were(conn: Connection) -> None:
    """Each value that is stored is read again and found again, after a creation and after an edit."""
    assert all(getattr(FULL, name) != getattr(PLAIN, name) for name in DECIDED)
    for stored, edited in ((PLAIN, FULL), (FULL, PLAIN)):
        key = ("sho.rt", f"code-{stored.status_code}")
        made = (await insert_links(conn, {key: draft(stored)}))[key]
        assert made.fields == stored
        assert await select_link(conn, key) == await lock_link(conn, key) == made
        assert await find_links(conn, "alice", [draft(edited), draft(stored, key[1])]) == {1: made}
        changed = await update_link(conn, key, edited)
        assert (changed.fields, changed.version) == (edited, 2)
        assert await find_links(conn, "alice", [draft(stored), draft(edited, key[1])]) == {1: changed}
        await delete_link(conn, key)


async def test_tombstone_keeps_what_redirect_reads(conn: Connection) -> None:
    """Of a deleted link nothing is left that a client decided, but for where its visitors go."""
    await insert_links(conn, {KEY: draft(FULL)})
    await delete_link(conn, KEY)
    row = await conn.fetchrow("SELECT * FROM links WHERE domain = $1 AND code = $2", *KEY)

    assert row is not None
    assert set(DECIDED) | set(KEPT) - {"clicks_left"} <= set(row.keys())
    kept = {name: row[name] for name in DECIDED if name in Record._fields and name not in Record._field_defaults}
    assert kept == {name: getattr(FULL, name) for name in kept} | {"url": ""}
    forgotten = {name: row[name] for name in DECIDED if name not in kept}
    assert forgotten == {name: getattr(PLAIN, name) for name in forgotten} | {"tags": []}
    assert row["split_salt"] is None


async def test_spelling_of_the_target_makes_no_other_link(conn: Connection) -> None:
    """Two spellings of one target are the same link to whoever looks for it, and the first one stays."""
    parsed = LinkFields("https://www.example.com/%20")
    written = replace(parsed, given_url="https://www.example.com/ ")
    made = (await insert_links(conn, {KEY: draft(written)}))[KEY]
    found = await find_links(conn, "alice", [draft(parsed), draft(written), draft(PLAIN)])

    assert found == {0: made, 1: made}
    assert draft(parsed).likeness == draft(written).likeness


async def test_older_release_takes_the_spelling_with_the_target(conn: Connection) -> None:
    """A write service that does not know the spelling of a target leaves none that is of another target, or of none."""
    written = LinkFields("https://www.example.com/%20", given_url="https://www.example.com/ ")
    await insert_links(conn, {KEY: draft(written)})
    edit = "UPDATE links SET url = $3, title = $4 WHERE domain = $1 AND code = $2 RETURNING given_url"
    kept = await conn.fetchval(edit, *KEY, written.url, "another title")
    edited = await conn.fetchval(edit, *KEY, "https://www.example.com/other", None)

    assert (kept, edited) == (written.given_url, None)


async def test_search_is_a_look_up(owner: Connection) -> None:
    """A link that is looked for is found by its target in an index, however many links its owner has."""
    await owner.execute(
        """
        INSERT INTO links (domain, code, owner, url)
        SELECT 'sho.rt', n, 'alice', 'https://www.example.com/' || n FROM generate_series(1, 1000) AS n;
        ANALYZE links;
        SET plan_cache_mode = force_generic_plan
        """
    )
    await owner.execute(f"PREPARE find (text, json) AS {_FIND}")
    plan = "\n".join(row[0] for row in await owner.fetch("EXPLAIN EXECUTE find('alice', '[]')"))

    assert "Index Scan using links_by_target" in plan, plan
    assert "Index Cond: ((owner = $1) AND (hashtextextended(url" in plan, plan
