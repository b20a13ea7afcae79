"""Links that bring clicks along, beside own ones: what is stored, and what counting one by one gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from uuid import uuid4

from services.links.clicks.batches import Store
from services.links.clicks.counts import EnrichedClick
from services.links.imported.batches import ImportedBatch, ImportedTotal, StoredImport
from services.links.imported.counts import read_counts
from services.links.imported.keys import VisitorKey, open_visitor_key
from services.links.imported.storing import store_imported
from services.links.packed.taking import take_imported
from services.links.sources.found import FoundCounts
from shared.api import UNKNOWN, Dimensions
from shared.postgres import Connection
from tests.links.click_data import make_links
from tests.links.stats_data import DAYS, FIRST, Known

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TODAY = (FIRST + timedelta(days=DAYS)).date()
UNKNOWN_VALUES = Dimensions(*[UNKNOWN] * len(Dimensions._fields))

_owners = count(1)


@dataclass
class Moved:
    """An owner's links, which have own clicks and imported ones.

    Attributes:
        links: By name, which is `1` and so on; their codes begin with the owner.
        left: How many clicks of each link's total have no date.
        clicks: All clicks that have one.
    """

    conn: Connection
    owner: str
    links: dict[str, int]
    key: VisitorKey
    kept_days: int = 0
    left: dict[str, int] = field(default_factory=dict)
    clicks: list[Known] = field(default_factory=list)

    def path(self, link: str, rest: str) -> str:
        return f"/api/v1/links/{self.owner}{link}/{rest}"

    async def click(self, clicks: Sequence[Known], store: Store) -> None:
        """Store own clicks."""
        if clicks:
            async with self.conn.transaction():
                await store(self.conn, [self._enriched(each) for each in clicks])
        self.clicks += [replace(each, owner=self.owner) for each in clicks]

    async def bring(
        self,
        totals: dict[str, tuple[int, int | None]] | None = None,
        visits: Sequence[Known] = (),
        counts: Sequence[tuple[str, FoundCounts]] = (),
    ) -> StoredImport:
        """Store what links bring along, and count what of it has room in the totals."""
        batch = ImportedBatch(
            [ImportedTotal(self.links[name], self.owner, *each) for name, each in (totals or {}).items()],
            [self._enriched(each) for each in visits],
            [read_counts(self.links[name], self.owner, found) for name, found in counts],
            self.key,
        )
        async with self.conn.transaction():
            stored = await store_imported(self.conn, batch, today=TODAY, kept_days=self.kept_days)
        for name, (clicks, _) in (totals or {}).items():
            self.left[name] = self.left.get(name, 0) + clicks
        self._accept(visits)
        for name, found in counts:
            self._accept(_one_by_one(name, found))
        return stored

    async def take_back(self, names: Iterable[str], step_days: int = 2) -> None:
        """Undo what links brought along."""
        ids, is_more = [self.links[name] for name in names], True
        while is_more:
            async with self.conn.transaction():
                is_more = await take_imported(self.conn, ids, step_days=step_days)
        self.left |= dict.fromkeys(names, 0)
        self.clicks = [each for each in self.clicks if not (each.imported and each.link in names)]

    def _accept(self, visits: Sequence[Known]) -> None:
        for each in visits:
            if self.left.get(each.link, 0):
                self.left[each.link] -= 1
                self.clicks.append(replace(each, owner=self.owner))

    def _enriched(self, click: Known) -> EnrichedClick:
        visitor = None
        if click.visitor is not None:
            kind = "i" if click.imported else "o"
            visitor = f"{kind}{click.visitor:<3}{click.at:%d}".encode().ljust(16)
        time_us = (click.at - EPOCH) // timedelta(microseconds=1)
        return EnrichedClick(time_us, self.links[click.link], self.owner, visitor, click.is_bot, click.dimensions)


async def move_in(conn: Connection, links: int = 3) -> Moved:
    """Make an owner with links."""
    owner = f"owner{next(_owners)}-"
    ids = await make_links(conn, links, owner)
    names = [str(number) for number in range(1, links + 1)]
    return Moved(conn, owner, dict(zip(names, ids, strict=True)), await open_visitor_key(conn, uuid4()))


async def check_numbers(moved: Moved) -> None:
    """Check that the numbers of each link, and those without a date, are the sum of what was counted."""
    rows = await moved.conn.fetch(
        """
        SELECT id, clicks, links.humans, links.bots, imported_clicks, imported_humans,
               undated.humans AS undated_humans, undated.bots AS undated_bots
        FROM links LEFT JOIN imported_undated AS undated ON link_id = id AND undated.owner = '' WHERE links.owner = $1
        """,
        moved.owner,
    )
    names = {link: name for name, link in moved.links.items()}
    undated_humans = 0
    for row in rows:
        name = names[row["id"]]
        clicks = [each for each in moved.clicks if each.link == name]
        imported = [each for each in clicks if each.imported]
        left = moved.left.get(name, 0)
        assert row["clicks"] == len(clicks) + left == row["humans"] + row["bots"]
        assert row["imported_clicks"] == len(imported) + left
        humans = row["imported_humans"] - sum(not each.is_bot for each in imported)
        assert 0 <= humans <= left
        assert row["humans"] - row["imported_humans"] == sum(not (each.is_bot or each.imported) for each in clicks)
        if row["undated_humans"] is not None:
            assert (row["undated_humans"], row["undated_bots"]) == (humans, left - humans)
        undated_humans += humans
    of_owner = await moved.conn.fetchrow(
        "SELECT humans, bots FROM imported_undated WHERE link_id = 0 AND owner = $1", moved.owner
    )
    assert tuple(of_owner or (0, 0)) == (undated_humans, sum(moved.left.values()) - undated_humans)


def _one_by_one(name: str, found: FoundCounts) -> list[Known]:
    """The clicks of counts: people first, and each dimension's values to people first."""
    since = found.since if found.is_hour else datetime.combine(found.since.date(), datetime.min.time(), UTC)
    at = since if found.is_hour else since + timedelta(hours=12)
    values = {
        dimension: [value for value, clicks in counted.items() for _ in range(clicks)]
        for dimension, counted in found.values.items()
        if dimension in Dimensions._fields
    }
    return [
        Known(
            at,
            name,
            "",
            None,
            number >= found.clicks - found.bots,
            UNKNOWN_VALUES._replace(**{each: some[number] for each, some in values.items() if number < len(some)}),
            imported=True,
        )
        for number in range(found.clicks)
    ]


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
