"""The API of a TinyURL instance as Python, at once or awaited, with typed answers.

Every call has a deadline. One that may be done twice is sent again, after a pause that grows: reading, and creating, which
carries an `Idempotency-Key`. Every failure is an `ApiError`, so a caller needs to know nothing of HTTP.

    with Client("https://go.example.com", "tu_...") as client:
        link = client.create_link({"url": "https://docs.python.org/3/", "code": "py"})
        print(link.short_url)

    async with AsyncClient("https://go.example.com", "tu_...") as client:
        page = await client.links(LinkQuestion(tag="docs"))

It imports nothing else of this repository, and is installed alone as `tinyurl-client`, where its name is `tinyurl_client`.
"""

from .client import AsyncClient, Client
from .counts import Bucket, Click, Clicks, DailyClicks, Dimension, OtherCount, Recent, Stats, Totals, ValueCount
from .imports import Import, ImportOptions, is_packed, send_file
from .problems import ApiError, KeyRefused, Unreachable
from .questions import ALL_LINKS, LinkQuestion, StatsQuestion
from .results import (
    BatchResult,
    CodeAvailability,
    DecidedRule,
    Domain,
    Explanation,
    FieldProblem,
    Key,
    Link,
    NewKey,
    Page,
    RowProblem,
    RowResult,
    Tag,
)

__all__ = [
    "ALL_LINKS",
    "ApiError",
    "AsyncClient",
    "BatchResult",
    "Bucket",
    "Click",
    "Clicks",
    "Client",
    "CodeAvailability",
    "DailyClicks",
    "DecidedRule",
    "Dimension",
    "Domain",
    "Explanation",
    "FieldProblem",
    "Import",
    "ImportOptions",
    "Key",
    "KeyRefused",
    "Link",
    "LinkQuestion",
    "NewKey",
    "OtherCount",
    "Page",
    "Recent",
    "RowProblem",
    "RowResult",
    "Stats",
    "StatsQuestion",
    "Tag",
    "Totals",
    "Unreachable",
    "ValueCount",
    "is_packed",
    "send_file",
]
