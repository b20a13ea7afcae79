"""Lists with page numbers, as Shlink has them: `page`, `itemsPerPage`, and the numbers that go with a page.

"All" is at most 10,000 items, and so is any page; the next ones have numbers. A page's cost is bounded by the deadline of its
statements (4 s, `ASKING` in `app.py`) and by its turn, and what it answers is written in slices between other requests.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from starlette.responses import Response

from services.links.compat.shlink.calls import Call
from services.links.compat.shlink.objects import Json
from services.links.web.errors import FieldError, InvalidInput

MOST_ITEMS = 10_000
"""Of a page, and so of "all"."""

USUAL_ITEMS = 10

WRITTEN_AT_ONCE = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageOf:
    """Which page is asked for.

    Attributes:
        number: From 1.
        size: Items of a page.
        is_all: Whether all items were asked for.
    """

    number: int
    size: int
    is_all: bool

    @property
    def start(self) -> int:
        return (self.number - 1) * self.size

    def pagination(self, count: int, total: int) -> Json:
        """Write the numbers of a page that has `count` of all items."""
        return {
            "currentPage": self.number,
            "pagesCount": max(1, -(-total // self.size)),
            "itemsPerPage": min(max(total, 1), self.size) if self.is_all else self.size,
            "itemsInCurrentPage": count,
            "totalItems": total,
        }


def read_page(call: Call, *, usual: int | None = None) -> PageOf:
    """Read which page is asked for.

    Args:
        call: Its query has `page` and `itemsPerPage`.
        usual: Items of a page if nothing is said; None: all. A list with a usual number refuses a page below 1, as Shlink does.

    Raises:
        InvalidInput: They are no numbers, or there is no such page.
    """
    number, size = call.number("page"), call.number("itemsPerPage")
    if number is None or (number < 1 and usual is None):
        number = 1
    if number < 1:
        raise InvalidInput(FieldError("page", "must be 1 or more"))
    if size is None or size == 0:
        size = usual if usual is not None else -1
    return PageOf(number, MOST_ITEMS if size < 0 else min(size, MOST_ITEMS), is_all=size < 0)


def read_order(call: Call, columns: Iterable[str], usual: str) -> tuple[str, bool]:
    """Read `orderBy`: `field`, `field-ASC` or `field-DESC`.

    Returns:
        The field, and whether the largest is first.

    Raises:
        InvalidInput: It is something else.
    """
    field, _, direction = (call.text("orderBy") or usual).partition("-")
    if field not in columns or direction not in ("", "ASC", "DESC"):
        raise InvalidInput(FieldError("orderBy", f"must be one of {', '.join(columns)}, with -ASC or -DESC"))
    return field, direction == "DESC"


async def write_page(name: str, asked: PageOf, rows: Sequence[T], total: int, write: Callable[[T], object]) -> Response:
    """Write the answer with a page of a list."""
    parts: list[str] = []
    for part in _slices(rows):
        parts.append(json.dumps([write(row) for row in part])[1:-1])
        await asyncio.sleep(0)
    data, pagination = ",".join(parts), json.dumps(asked.pagination(len(rows), total))
    body = f'{{"{name}":{{"data":[{data}],"pagination":{pagination}}}}}'
    return Response(body, media_type="application/json")


def _slices(rows: Sequence[T]) -> Iterator[list[T]]:
    remaining = iter(rows)
    while part := list(islice(remaining, WRITTEN_AT_ONCE)):
        yield part
