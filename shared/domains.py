"""The names under which a domain of short links is reached."""

import re
from collections.abc import Iterable


def www_aliases(domains: Iterable[str]) -> dict[str, str]:
    """Return each name with `www.` that people may type, and its domain; addresses and names without a dot have none."""
    known = set(domains)
    named = {domain for domain in known if re.fullmatch(r"(?!www\.)([0-9a-z-]+\.)+[0-9a-z-]*[a-z][0-9a-z-]*", domain)}
    return {f"www.{domain}": domain for domain in sorted(named) if f"www.{domain}" not in known}
