"""The names under which a domain of short links is reached, and the files that it can have."""

import re
from collections.abc import Iterable

FILES = {
    "apple-app-site-association": "application/json",
    "assetlinks.json": "application/json",
    "security.txt": "text/plain; charset=utf-8",
}
"""The files under `/.well-known/` that an operator can set, and their media types. `acme-challenge` is nginx's own."""

LARGEST_FILE = 64 * 1024
"""Bytes."""

CODE_PLACE = "{code}"
"""Stands for the code in the `not_found_url` of a domain."""


def www_aliases(domains: Iterable[str]) -> dict[str, str]:
    """Return each name with `www.` that people may type, and its domain; addresses and names without a dot have none."""
    known = set(domains)
    named = {domain for domain in known if re.fullmatch(r"(?!www\.)([0-9a-z-]+\.)+[0-9a-z-]*[a-z][0-9a-z-]*", domain)}
    return {f"www.{domain}": domain for domain in sorted(named) if f"www.{domain}" not in known}
