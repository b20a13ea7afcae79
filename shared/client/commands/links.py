"""`tinyurl links`: creates, lists, shows, edits and deletes links, and shows their statistics."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import typer

from ..client import Client
from ..counts import Stats
from ..questions import LinkQuestion, StatsQuestion
from ..results import Link
from ..words import Bots, Interval, LinkState, Sort
from .instance import Key, Url, asking, fail
from .output import Form, Output, as_json, show_link, show_links, show_table

PAGE = 100
BAR = 40

Which = Annotated[str, typer.Argument(metavar="LINK", help="A short URL, DOMAIN/CODE, or a code.")]
Domain = Annotated[str | None, typer.Option(help="The link's domain, else the first one of the instance.")]
Title = Annotated[str | None, typer.Option(help="A title.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag; can be repeated.")]
Notes = Annotated[str | None, typer.Option(help="A text for yourself.")]
ValidFrom = Annotated[str | None, typer.Option(help="When it begins, as 2030-01-01T00:00:00Z.")]
ExpiresAt = Annotated[str | None, typer.Option(help="When it ends, likewise.")]
MaxClicks = Annotated[int | None, typer.Option(help="So many visitors get to the target.")]
AskPassword = Annotated[bool, typer.Option("--ask-password", help="Ask for the password that visitors need.")]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="NAME=VALUE", help="Any other field of the API; a value is JSON, else text."),
]


class StatsForm(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


links = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Links of an instance: create, list, show, edit, delete, count."
)


@links.command()
def create(
    target: Annotated[str, typer.Argument(help="Where it leads.")],
    *,
    code: Annotated[str | None, typer.Option(help="A code of your own.")] = None,
    domain: Domain = None,
    title: Title = None,
    tags: Tags = None,
    notes: Notes = None,
    valid_from: ValidFrom = None,
    expires_at: ExpiresAt = None,
    max_clicks: MaxClicks = None,
    ask_password: AskPassword = False,
    find_existing: Annotated[bool, typer.Option("--find-existing", help="Or find yours of the same fields.")] = False,
    fields: Fields = None,
    output: Output = Form.URL,
    url: Url = None,
    key: Key = None,
) -> None:
    """Create a link, and print its short URL.

    Example: tinyurl links create https://docs.python.org/3/ --code py --tag docs --field status_code=301
    """
    chosen: dict[str, object] = {"url": target, "code": code, "domain": domain, "find_existing": find_existing or None}
    chosen |= _fields(
        title=title,
        tags=tags,
        notes=notes,
        valid_from=valid_from,
        expires_at=expires_at,
        max_clicks=max_clicks,
        ask_password=ask_password,
        others=fields,
    )
    with asking("links create", url, key) as client:
        show_link(client.create_link({name: value for name, value in chosen.items() if value is not None}), output)


@links.command("list")
def list_links(
    search: Annotated[str | None, typer.Argument(help="Part of a code, target, title or note.")] = None,
    *,
    tag: Annotated[str | None, typer.Option(help="Those with a tag.")] = None,
    domain: Annotated[str | None, typer.Option(help="Those of a domain.")] = None,
    state: Annotated[LinkState | None, typer.Option(help="Those in a state.")] = None,
    owner: Annotated[str | None, typer.Option(help="Those of an owner, for admins.")] = None,
    sort: Annotated[Sort, typer.Option(help="What comes first; `-`: the largest.")] = "-created_at",
    limit: Annotated[int, typer.Option(min=0, help="How many; 0: all.")] = 50,
    output: Output = Form.TABLE,
    url: Url = None,
    key: Key = None,
) -> None:
    """List links, the newest first.

    Example: tinyurl links list python --tag docs --sort=-clicks --limit 10
    """
    wanted = LinkQuestion(search, tag, domain, state, owner)
    with asking("links list", url, key) as client:
        show_links(_list(client, wanted, sort, limit), output)


@links.command()
def show(which: Which, domain: Domain = None, output: Output = Form.TABLE, url: Url = None, key: Key = None) -> None:
    """Show all fields of a link.

    Example: tinyurl links show py --output json
    """
    with asking("links show", url, key) as client:
        show_link(client.link(*place_of(which, domain)), output)


@links.command()
def edit(
    which: Which,
    target: Annotated[str | None, typer.Argument(help="Where it leads from now on.")] = None,
    *,
    domain: Domain = None,
    title: Title = None,
    tags: Tags = None,
    notes: Notes = None,
    valid_from: ValidFrom = None,
    expires_at: ExpiresAt = None,
    max_clicks: MaxClicks = None,
    ask_password: AskPassword = False,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Switch it on or off.")] = None,
    fields: Fields = None,
    output: Output = Form.URL,
    url: Url = None,
    key: Key = None,
) -> None:
    """Change fields of a link; an empty text takes one away, and so does `--field NAME=null`.

    What somebody else changed at the same moment is not overwritten: then this fails.

    Example: tinyurl links edit py https://docs.python.org/3/library/ --title ""
    """
    changes: dict[str, object] = {"url": target, "enabled": enabled}
    changes = {name: value for name, value in changes.items() if value is not None}
    given = _fields(
        title=title,
        tags=tags,
        notes=notes,
        valid_from=valid_from,
        expires_at=expires_at,
        max_clicks=max_clicks,
        ask_password=ask_password,
        others=fields,
    )
    changes |= {name: None if value == "" else value for name, value in given.items()}
    if not changes:
        fail("links edit", "nothing to change was given", status=2)
    with asking("links edit", url, key) as client:
        show_link(client.edit_link(client.link(*place_of(which, domain)), changes), output)


@links.command()
def delete(
    which: Which,
    *,
    domain: Domain = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Delete a link for good: nobody gets its code again.

    Example: tinyurl links delete py --yes
    """
    with asking("links delete", url, key) as client:
        link = client.link(*place_of(which, domain))
        if not yes and not (sys.stdin.isatty() and typer.confirm(f"Delete {link.short_url}, for good?")):
            fail("links delete", "nothing was deleted; --yes deletes without a question")
        client.delete_link(link)


@links.command()
def stats(
    which: Annotated[
        str | None, typer.Argument(metavar="[LINK]", help="A short URL, DOMAIN/CODE, or a code; all links without one.")
    ] = None,
    *,
    domain: Domain = None,
    start: Annotated[datetime | None, typer.Option("--from", help="Since when; 30 days ago if left out.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="Until when; now if left out.")] = None,
    interval: Annotated[Interval, typer.Option(help="Of the series.")] = "day",
    time_zone: Annotated[str, typer.Option(help="Of the days, such as Europe/Berlin.")] = "UTC",
    bots: Annotated[Bots, typer.Option(help="Whether known bots count.")] = "include",
    top: Annotated[int, typer.Option(min=0, max=100, help="Values of each dimension.")] = 5,
    output: Annotated[
        StatsForm, typer.Option(help="`table` for people, `json` or `csv` for programs.")
    ] = StatsForm.TABLE,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show who followed a link, by time, country, browser, system, device, referrer and language.

    Example: tinyurl links stats py --from 2026-01-01 --interval week --time-zone Europe/Berlin
    """
    query = StatsQuestion(
        _in_zone(start, time_zone),
        _in_zone(end, time_zone),
        interval=interval,
        time_zone=time_zone,
        bots=bots,
        top=top,
    )
    with asking("links stats", url, key) as client:
        link = client.link(*place_of(which, domain)) if which else None
        if output is StatsForm.CSV:
            sys.stdout.buffer.write(client.stats_csv(query, link))
            return
        found = client.stats(query, link)
    if output is StatsForm.JSON:
        typer.echo(as_json(asdict(found)))
    else:
        _show_stats(found)


def place_of(text: str, domain: str | None) -> tuple[str, str | None]:
    """Return the code and the domain of a link that somebody names; the domain is None if it is the first one."""
    if "://" in text:
        address = urlsplit(text)
        return unquote(address.path.removeprefix("/")), domain or address.netloc
    host, slash, code = text.partition("/")
    # A code may have a `/` and a `.`, but no code begins with the name of a host.
    if slash and domain is None and ("." in host or ":" in host):
        return unquote(code), host
    return text, domain


def _fields(
    *,
    title: str | None,
    tags: list[str] | None,
    notes: str | None,
    valid_from: str | None,
    expires_at: str | None,
    max_clicks: int | None,
    ask_password: bool,
    others: list[str] | None,
) -> dict[str, object]:
    """Return the fields that options gave."""
    given: dict[str, object] = {
        "title": title,
        "tags": None if not tags else [tag for tag in tags if tag],
        "notes": notes,
        "valid_from": valid_from,
        "expires_at": expires_at,
        "max_clicks": max_clicks,
        "password": typer.prompt("Password", hide_input=True, confirmation_prompt=True) if ask_password else None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    for each in others or ():
        name, equals, text = each.partition("=")
        if not equals:
            raise typer.BadParameter(f"{each} is not NAME=VALUE", param_hint="--field")
        try:
            given[name] = json.loads(text)
        except ValueError:
            given[name] = text
    return given


def _in_zone(moment: datetime | None, time_zone: str) -> datetime | None:
    try:
        return None if moment is None else moment.replace(tzinfo=ZoneInfo(time_zone))
    except (ValueError, KeyError):
        raise typer.BadParameter(f"there is no time zone {time_zone}", param_hint="--time-zone") from None


def _list(client: Client, wanted: LinkQuestion, sort: Sort, limit: int) -> Iterator[Link]:
    cursor, left = None, limit or sys.maxsize
    while True:
        page = client.links(wanted, sort=sort, limit=min(PAGE, left), cursor=cursor)
        yield from page.items
        left -= len(page.items)
        cursor = page.next_cursor
        if cursor is None or left <= 0:
            return


def _show_stats(found: Stats) -> None:
    totals = found.totals
    unique = "unknown" if totals.unique_visitors is None else totals.unique_visitors
    typer.echo(f"clicks {totals.clicks}, humans {totals.humans}, bots {totals.bots}, unique {unique}")
    if totals.imported or found.undated.clicks:
        typer.echo(f"imported {totals.imported} of these, and {found.undated.clicks} without a date")
    most = max((bucket.clicks for bucket in found.series), default=0) or 1
    times = "%Y-%m-%d %H:%M" if found.interval == "hour" else "%Y-%m-%d"
    series = [
        (bucket.start.strftime(times), str(bucket.clicks), "▇" * round(BAR * bucket.clicks / most))
        for bucket in found.series
        if bucket.clicks
    ]
    if series:
        show_table(series, cut=None)
    for name, dimension in found.dimensions.items():
        if dimension.top:
            typer.echo(f"\n{name}")
            show_table([(f"  {count.value}", str(count.clicks)) for count in dimension.top], cut=None)
