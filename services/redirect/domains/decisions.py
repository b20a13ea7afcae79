"""What the operators decided about each domain, all of it in memory: the change feed tells when to read a domain again.

links writes it (`services/links/domains`). `app.py` has each error dressed by it; `paths.py` answers paths that are no links.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from itertools import islice
from urllib.parse import quote

import structlog

from services.redirect.answers import Answer, ErrorFormat, lead
from services.redirect.lookup.source import Source, SourceUnavailable
from shared.domains import CODE_PLACE
from shared.postgres import Connection
from shared.problems import PAGE
from shared.records import LinkKey

READ_AT_ONCE = 8
"""Domains in a statement. One has up to 450 KiB: three files, and a robots.txt."""

PAUSE_S = 0.25

DRESSED = frozenset({404, 410, 414, 503})
"""The errors that are pages of their own. A form that answers with another status stays as it is."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Domain:
    """The decisions about a domain.

    Attributes:
        not_found_url: Where an unknown code leads; `{code}` in it stands for the code.
        expired_url: Where a link leads that has ended and has no `expired_url` of its own.
        page_title: Stands on the error pages, which have a bar in `page_colour`.
        robots: The text of robots.txt; None: crawlers may follow the crawlable links alone.
        files: Those under `/.well-known/`, by name.
        multi_segment: Whether its codes may have slashes in them.
        has_tail_codes: Whether one of its codes ends, or ended, with a mark that may also follow a code.
        has_folding_codes: Whether visitors may write one of its codes in any case.
    """

    root_url: str | None = None
    not_found_url: str | None = None
    expired_url: str | None = None
    page_title: str | None = None
    page_colour: str | None = None
    robots: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    multi_segment: bool = False
    has_tail_codes: bool = False
    has_folding_codes: bool = False


UNDECIDED = Domain()


class Domains:
    """The domains of the site. It follows the feed (`feed.py`): a change of a domain has its name and no code.

    Memory holds no answer that depends on a domain, because only links that lead to their target are answered from there. So
    nothing else has to be forgotten when a domain changes.

    Attributes:
        is_known: Whether all of them were read once.
    """

    def __init__(self) -> None:
        self.is_known = False
        self._known: dict[str, Domain] = {}
        self._due: set[str] = set()
        self._is_all_due = True
        self._wake = asyncio.Event()
        self._wake.set()

    def get(self, domain: str) -> Domain:
        return self._known.get(domain, UNDECIDED)

    def forget(self, key: LinkKey) -> None:
        """Read a domain again, if the key is one of a domain. Until then it is as it was."""
        domain, code = key
        if domain and not code:
            self._due.add(domain)
            self._wake.set()

    def clear(self) -> None:
        """Read all domains again."""
        self._is_all_due = True
        self._wake.set()

    async def follow(self, source: Source) -> None:
        """Read what has changed, for ever; what could not be read is read again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.read(source)
            except Exception as error:
                if not isinstance(error, SourceUnavailable):
                    log.exception("domains_unreadable")
                self._wake.set()
                await asyncio.sleep(PAUSE_S)

    async def read(self, source: Source) -> None:
        """Read what is due.

        Raises:
            SourceUnavailable: Some of it is still due.
        """
        if self._is_all_due:
            self._is_all_due = False
            try:
                self._due.update(await source.ask(select_names), self._known)
            except BaseException:
                self._is_all_due = True
                raise
        while batch := list(islice(self._due, READ_AT_ONCE)):
            # Before the reading: a change that comes meanwhile makes its domain due again.
            self._due.difference_update(batch)
            try:
                found = await source.ask(partial(select_domains, names=batch))
            except BaseException:
                self._due.update(batch)
                raise
            for name in batch:
                self._known.pop(name, None)
            self._known |= found
        self.is_known = True


async def select_names(conn: Connection) -> list[str]:
    """Read the names of the domains about which something was decided: at most those of the settings of all times."""
    return [row["domain"] for row in await conn.fetch("SELECT domain FROM domain_records")]


async def select_domains(conn: Connection, names: Sequence[str]) -> dict[str, Domain]:
    """Read some domains; one about which nothing was decided is left out."""
    rows = await conn.fetch(
        """
        SELECT domain, root_url, not_found_url, expired_url, page_title, page_colour, robots, files,
               multi_segment, has_tail_codes, has_folding_codes
        FROM domain_records WHERE domain = ANY ($1::text[])
        """,
        list(names),
    )
    found = {}
    for row in rows:
        decided = dict(row)
        name = decided.pop("domain")
        found[name] = Domain(**{**decided, "files": json.loads(row["files"] or "{}")})
    return found


def dress(answer: Answer, domain: Domain, error_format: ErrorFormat, code: str = "") -> Answer:
    """Turn an error into what the domain has for it: another address, or a page that looks like the domain's own.

    Args:
        answer: Of any kind.
        domain: The domain that was asked.
        error_format: The format of the error.
        code: The code of a visit that may be led elsewhere; without it the answer stays an error.
    """
    if answer.status not in DRESSED or domain is UNDECIDED:
        return answer
    if code and answer.status == 404 and domain.not_found_url is not None:
        return lead(domain.not_found_url.replace(CODE_PLACE, quote(code, safe="")))
    if code and answer.status == 410 and domain.expired_url is not None:
        return lead(domain.expired_url)
    # A page that says more stays, such as the form of a password.
    if error_format != "html" or answer.problem is None or not (domain.page_title or domain.page_colour):
        return answer
    _, title, detail = answer.problem
    name, look = title, ""
    if domain.page_colour:
        look += f"<style>html {{ border-top: .5rem solid {domain.page_colour} }}</style>\n"
    if domain.page_title:
        name, look = f"{title} · {escape(domain.page_title)}", look + f"<p>{escape(domain.page_title)}</p>\n"
    body = PAGE.format(name=name, look=look, title=title, detail=detail).encode()
    headers = tuple(
        (header, b"%d" % len(body) if header == b"content-length" else value) for header, value in answer.headers
    )
    return replace(answer, headers=headers, body=body)
