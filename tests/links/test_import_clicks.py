"""Clicks of before come along with links: once, told apart from own ones, and taken away again by undoing."""

import json
from typing import Any

import httpx

from shared.postgres import Connection
from tests.links.conftest import ClientOf
from tests.links.import_client import IMPORTS, bring, numbers, wait_for

DUMP = b"""
CREATE TABLE `yourls_url` (`keyword` varchar(100), `url` text, `title` text, `timestamp` timestamp, `ip` varchar(41),
  `clicks` int(10));
INSERT INTO `yourls_url` VALUES ('promo','https://www.example.com/?a=1','It\\'s on','2024-05-01 10:22:03','203.0.113.9',41),
  ('quiet','https://www.example.com/q','','2024-05-01 10:22:03','203.0.113.9',0);
CREATE TABLE `yourls_log` (`click_id` int, `click_time` datetime, `shorturl` varchar(100), `referrer` varchar(200),
  `user_agent` varchar(255), `ip_address` varchar(41), `country_code` char(2));
INSERT INTO `yourls_log` VALUES (7,'2024-05-02 08:00:11','promo','direct','Mozilla/5.0','203.0.113.10','FR'),
  (8,'2024-05-02 09:00:11','promo','direct','Mozilla/5.0','203.0.113.11','DE'),
  (9,'2024-05-03 09:00:11','gone','direct','Mozilla/5.0','203.0.113.11','DE');
"""


async def total(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get(
        "/api/v1/links/promo/stats", params={"from": "2024-05-01T00:00:00Z", "to": "2024-05-05T00:00:00Z"}
    )
    assert answer.status_code == 200, answer.text
    stats: dict[str, Any] = answer.json()
    return stats


async def test_visits_come_along_once(client_with: ClientOf, links: Connection) -> None:
    """A dump's visits are clicks of their days, its total stands; the same dump again counts nothing, and undoing takes all."""
    alice = await client_with("alice", "links:read", "links:write", "stats:read")
    done = await bring(alice, DUMP, filename="yourls.sql")
    link = (await alice.get("/api/v1/links/promo")).json()
    before = await total(alice)
    again = await bring(alice, DUMP, filename="yourls.sql")
    after = await total(alice)
    keys = await links.fetchval("SELECT count(*) FROM imported_keys WHERE key IS NOT NULL")
    await alice.delete(f"{IMPORTS}/{done['id']}")
    await wait_for(alice, done["id"], "undone")
    third = await bring(alice, DUMP, filename="yourls.sql")
    revived = (await alice.get("/api/v1/links/promo")).json()

    assert (done["format"], done["made"], done["visits"]) == ("yourls", 2, 2)
    assert (link["clicks"], link["imported_clicks"], link["title"]) == (41, 41, "It's on")
    assert json.dumps(before) == json.dumps(after)
    assert (again["made"], again["found"], again["visits"]) == (0, 2, 0)
    assert keys == 0
    assert numbers(third)["visits"] == 2
    assert (revived["clicks"], revived["imported_clicks"]) == (41, 41)
    assert json.dumps(await total(alice)) == json.dumps(before)
