"""How foreign clients name a link: by its code, or by the whole short URL; and the domain that they talk to."""

import re
from urllib.parse import unquote

from fastapi import Request

from services.links.links.checks import link_key, spell_domain
from services.links.site import Site
from shared.records import LinkKey

_short_url = re.compile(r"(?:https?://)?([^/:]+)(?::[0-9]+)?/(.+)", re.IGNORECASE | re.DOTALL).fullmatch


def asked_domain(request: Request, site: Site) -> str:
    """Return the domain of this site that a request came to, else the first one.

    Where an API has no word for a domain, its clients know the one that is in their settings.
    """
    return _own_domain(request.headers.get("host", "").partition(":")[0], site) or site.default_domain


def named_link(text: str, domain: str, site: Site) -> LinkKey:
    """Return the key of a link that is named by its code, on a domain, or by its short URL, with or without scheme.

    Raises:
        NotFound: The text names no link.
    """
    found = _short_url(text.strip())
    named = None if found is None else _own_domain(found[1], site)
    if found is not None and named is not None:
        return link_key(unquote(found[2]), named, site)
    return link_key(text.strip(), domain, site)


def _own_domain(host: str, site: Site) -> str | None:
    domain = spell_domain(host)
    domain = site.aliases.get(domain, domain)
    return domain if domain in site.own_domains else None
