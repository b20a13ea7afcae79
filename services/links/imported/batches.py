"""What an import hands over at once: totals of links, visits and counts; and what became of it.

The process of an import makes these, and `storing.py` stores them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.links.clicks.counts import EnrichedClick
from services.links.imported.counts import DatedCounts
from services.links.imported.keys import VisitorKey
from services.links.packed.imported import People


@dataclass(frozen=True, slots=True)
class ImportedTotal:
    """All clicks that a link's source counted.

    Attributes:
        bots: Of these; None if the source does not tell: they are people's, until visits tell otherwise.
        in_row: Whether the transaction has inserted the link with `total_columns`.
    """

    link_id: int
    owner: str
    clicks: int
    bots: int | None = None
    in_row: bool = False

    @property
    def people(self) -> People:
        bots = min(self.bots or 0, self.clicks)
        return People(self.clicks - bots, bots)


@dataclass(frozen=True, slots=True)
class ImportedBatch:
    """What some links bring along, in the order of the file.

    Attributes:
        totals: Each once in an import, before the visits and counts of the link.
        visits: As `VisitReader` read them.
        counts: Counts of hours and days.
        key: Of the visits' visitors; without one they are not counted.
        import_number: Of the import. Links that have visits of another one are not in the batch.
    """

    totals: Sequence[ImportedTotal] = ()
    visits: Sequence[EnrichedClick] = ()
    counts: Sequence[DatedCounts] = ()
    key: VisitorKey | None = None
    import_number: int = 0


@dataclass(slots=True)
class StoredImport:
    """What became of the clicks of visits and counts.

    Attributes:
        dated: They are in statistics on their days.
        undated: Their date cannot be right, so they stay among those without one.
        surplus: The source has more of them than its total, which stands; they are left out.
    """

    dated: int = 0
    undated: int = 0
    surplus: int = 0


def total_columns(total: ImportedTotal) -> dict[str, int]:
    """The columns of a link that is inserted together with its total."""
    humans, bots = total.people
    return {
        "clicks": total.clicks,
        "humans": humans,
        "bots": bots,
        "imported_clicks": total.clicks,
        "imported_humans": humans,
        "clicks_sorted": total.clicks,
        "humans_sorted": humans,
    }
