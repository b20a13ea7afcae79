"""The paths of a domain that are no links: `/`, `/robots.txt` and the files under `/.well-known/`.

`app.py` sends them here. Where a domain has nothing, the answer is 404, and nginx answers `/` and `/robots.txt` by itself.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from urllib.parse import quote

from services.redirect.answers import Answer, ErrorFormat, error, lead
from services.redirect.domains.decisions import Domain
from services.redirect.lookup.source import Source, SourceUnavailable
from shared.domains import FILES
from shared.joiner import Joiner, TooManyWaiting, Waiting
from shared.postgres import Connection

WELL_KNOWN = "/.well-known/"

LIFETIME_S = 60.0
"""How long a list of crawlable links is kept. Crawlers themselves keep it for a day."""

LARGEST_ROBOTS = 500 * 1024
"""Bytes. Crawlers need not read more (RFC 9309, 2.5), and Google reads no more."""

MOST_LINES = 30_000
"""More than fit: a line has at least 11 bytes, and 17 with a code that was drawn."""

LISTS_KEPT = 16
WAITING_LIMIT = 100

_not_ascii = re.compile(r"[^\x00-\x7f]+")

_HEAD = """\
# Apps that show a link's target beside it may fetch every link.
User-agent: Twitterbot
User-agent: facebookexternalhit
User-agent: LinkedInBot
User-agent: Slackbot-LinkExpanding
Disallow: /api/
Disallow: /dashboard/

# Search engines may follow the links that are made for them.
User-agent: *
Allow: /.well-known/
"""
_CUT = "# There are more, older ones; crawlers read no more than 500 KiB.\n"
_TAIL = "Disallow: /\n"
_ROOM = LARGEST_ROBOTS - len(_HEAD + _CUT + _TAIL)


class DomainPaths:
    """Answers what is asked of a domain itself."""

    def __init__(self, source: Source) -> None:
        self._robots = RobotLists(source)

    async def answer(self, name: str, domain: Domain, path: str, error_format: ErrorFormat) -> Answer:
        """Answer a GET of a path that cannot be a code.

        Args:
            name: The domain's name.
            domain: What was decided about it.
            path: The path, decoded.
            error_format: The format of an error.
        """
        if path == "/" and domain.root_url is not None:
            return lead(domain.root_url)
        if path == "/robots.txt":
            try:
                text = domain.robots if domain.robots is not None else await self._robots.read(name)
            except SourceUnavailable:
                return error(503, error_format)
            return _file(text, "text/plain; charset=utf-8")
        file = path.removeprefix(WELL_KNOWN)
        if path.startswith(WELL_KNOWN) and file in FILES and file in domain.files:
            return _file(domain.files[file], FILES[file])
        return error(404, error_format)


class RobotLists:
    """The robots.txt of domains that list their crawlable links, each kept for a minute.

    Args:
        source: Where the links are read; while it is away the lists that are kept stay.
        clock: Seconds that only go forward.
    """

    def __init__(self, source: Source, clock: Callable[[], float] = monotonic) -> None:
        self._source = source
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._joiner: Joiner[str, str] = Joiner(self._build, batches_in_flight=1, waiting_limit=WAITING_LIMIT)

    async def read(self, domain: str) -> str:
        """Return the robots.txt of a domain.

        Raises:
            SourceUnavailable: Postgres is away, and none is kept.
        """
        kept_until, text = self._kept.get(domain, (0.0, ""))
        if text and self._clock() < kept_until:
            return text
        try:
            return await self._joiner.join(domain)
        except (SourceUnavailable, TooManyWaiting) as away:
            if text:
                return text
            raise SourceUnavailable from away

    async def _build(self, batch: Sequence[Waiting[str, str]]) -> None:
        for domain in dict.fromkeys(domain for domain, _ in batch):
            text = await self._source.ask(partial(select_robots, domain=domain))
            self._kept[domain] = self._clock() + LIFETIME_S, text
            self._kept.move_to_end(domain)
            while len(self._kept) > LISTS_KEPT:
                self._kept.popitem(last=False)
            for asked, waiting in batch:
                if asked == domain and not waiting.done():
                    waiting.set_result(text)


async def select_robots(conn: Connection, domain: str) -> str:
    """Write the robots.txt of a domain: it allows the newest crawlable links, as many as fit, and disallows all else.

    Postgres joins the lines, because 30,000 rows would keep the event loop for 20 ms.
    """
    lines, count = await conn.fetchrow(
        r"""
        SELECT left(coalesce(string_agg(line, '' ORDER BY id DESC), ''), $3), count(*)
        FROM (
            SELECT id, format(E'Allow: /%s$\n', code) ||
                   CASE WHEN forward_path THEN format(E'Allow: /%s/\n', code) ELSE '' END AS line
            FROM crawlable_links WHERE domain = $1 ORDER BY -id LIMIT $2
        ) AS listed
        """,
        domain,
        MOST_LINES,
        # What no longer fits is noticed.
        _ROOM + 1,
    )  # type: ignore[misc]  # an aggregate has a row
    is_cut = count == MOST_LINES or len(lines) > _ROOM
    lines = _cut(lines)
    if not lines.isascii():
        encoded = _encode(lines)
        lines, is_cut = _cut(encoded), is_cut or len(encoded) > _ROOM
    return f"{_HEAD}{lines}{_CUT if is_cut else ''}{_TAIL}"


def _cut(lines: str) -> str:
    return lines if len(lines) <= _ROOM else lines[: lines.rindex("\n", 0, _ROOM) + 1]


def _encode(lines: str) -> str:
    """Percent-encode lines (RFC 9309, 2.2.2) as long as they fit. No code has a `*` or `$`."""
    encoded, room = [], _ROOM
    for line in lines.splitlines(keepends=True):
        encoded.append(_not_ascii.sub(lambda run: quote(run[0]), line))
        room -= len(encoded[-1])
        if room < 0:
            break
    return "".join(encoded)


def _file(text: str, media_type: str) -> Answer:
    body = text.encode()
    headers = (
        (b"content-type", media_type.encode()),
        # Who keeps it asks each time, so that a change counts at once.
        (b"cache-control", b"no-cache"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", b"%d" % len(body)),
    )
    return Answer(200, headers, body)
