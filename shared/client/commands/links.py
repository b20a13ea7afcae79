"""`tinyurl links`: creates, lists, shows, edits and deletes links (`statistics.py` counts their clicks)."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from ..client import Client
from ..questions import LinkQuestion
from ..results import Link
from ..words import LinkState, Sort
from .instance import Key, Url, asking, fail
from .output import Form, Output, show_link, show_links
from .places import Domain, place_of
from .statistics import stats_command

PAGE = 100

Which = Annotated[str, typer.Argument(metavar="LINK", help="A short URL, DOMAIN/CODE, or a code.")]
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


links.command("stats")(stats_command)


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


def _list(client: Client, wanted: LinkQuestion, sort: Sort, limit: int) -> Iterator[Link]:
    cursor, left = None, limit or sys.maxsize
    while True:
        page = client.links(wanted, sort=sort, limit=min(PAGE, left), cursor=cursor)
        yield from page.items
        left -= len(page.items)
        cursor = page.next_cursor
        if cursor is None or left <= 0:
            return
