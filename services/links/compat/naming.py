"""How foreign clients name a link: by its code, or by the whole short URL."""

import re
from urllib.parse import unquote

from services.links.links.checks import link_key, spell_domain
from services.links.site import Site
from shared.records import LinkKey

_short_url = re.compile(r"(?:https?://)?([^/:]+)(?::[0-9]+)?/(.+)", re.IGNORECASE | re.DOTALL).fullmatch


def named_link(text: str, site: Site) -> LinkKey:
    """Return the key of a link that is named by its code, on the first domain, or by its short URL, with or without scheme.

    Raises:
        NotFound: The text names no link.
    """
    found = _short_url(text.strip())
    if found is not None:
        domain = spell_domain(found[1])
        domain = site.aliases.get(domain, domain)
        if domain in site.own_domains:
            return link_key(unquote(found[2]), domain, site)
    return link_key(text.strip(), None, site)
