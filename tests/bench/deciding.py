"""`tinyurl bench`, h: links with rules, of which the last one of ten holds, and links with a split of four."""

import json

import asyncpg

DECIDING_LINKS = 500

_RULES: list[dict[str, object]] = [
    {"if": {"device": ["mobile"]}},
    {"if": {"os": ["ios", "android"]}},
    {"if": {"browser": ["firefox"], "language": ["fr"]}},
    {"if": {"language": ["de"]}},
    {"if": {"country": ["NZ", "AU"]}},
    {"if": {"referrer": ["example.com"]}},
    {"if": {"query": [{"name": "campaign"}]}},
    {"if": {"before": "2020-01-01T00:00:00Z"}},
    {"if": {"address": ["192.0.2.0/24", "2001:db8::/32"]}},
    {"if": {"device": ["desktop"], "language": ["en"]}},
]


async def fill_deciding(database_url: str, domain: str, target: str) -> None:
    """Add links rb000000, … with rules, and sb000000, … with a split."""
    rules = [{**rule, "url": f"{target}rule{number}"} for number, rule in enumerate(_RULES)]
    split = [{"name": name, "url": f"{target}{name}", "weight": 1} for name in "abcd"]
    conn = await asyncpg.connect(database_url, timeout=10)
    try:
        for prefix, column, value in (("r", "rules", rules), ("s", "split", split)):
            await conn.execute(
                f"""
                INSERT INTO links (domain, code, owner, url, {column}, split_salt)
                SELECT $1, $2 || 'b' || lpad(n::text, 6, '0'), 'bench', $3, $4, gen_random_uuid()
                FROM generate_series(0, $5::bigint - 1) AS n
                """,
                domain,
                prefix,
                target,
                json.dumps(value),
                DECIDING_LINKS,
            )
    finally:
        await conn.close()
