"""How somebody names a link: its short URL as copied, its domain and code, or the code alone."""

from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

Domain = Annotated[str | None, typer.Option(help="The link's domain, else the first one of the instance.")]


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
