"""Tells which names a certificate must have, which of them lead here, and which a certificate has.

It tries a name in the way that the certificate authority does.
"""

import os
import re
import secrets
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

CHALLENGE_TIMEOUT_S = 5


def domains() -> list[str]:
    """The domains of the short links, the default one first."""
    default = urlsplit(os.environ["PUBLIC_BASE_URL"]).hostname or ""
    more = [name.strip().lower() for name in os.environ.get("DOMAINS", "").split(",")]
    return list(dict.fromkeys(name for name in (default, *more) if name))


def names() -> list[str]:
    """Return the names that a certificate must have: the domains, and each with `www.` before it. nginx takes the same."""
    found = domains()
    named = [name for name in found if re.fullmatch(r"(?!www\.)([0-9a-z-]+\.)+[0-9a-z-]*[a-z][0-9a-z-]*", name)]
    return list(dict.fromkeys([*found, *(f"www.{name}" for name in named)]))


def leading_here(wanted: Iterable[str], challenges: Path, port: int) -> list[str]:
    """Return the names that lead to this nginx: a file in its folder of challenges is fetched over each of them."""
    folder = challenges / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True, exist_ok=True)
    file, text = folder / f"here-{secrets.token_hex(8)}", secrets.token_hex(16)
    # nginx, which is of another group, reads it.
    file.touch(0o644)
    file.write_text(text)
    try:
        return [
            name for name in wanted if _fetch(f"http://{name}:{port}/.well-known/acme-challenge/{file.name}") == text
        ]
    finally:
        file.unlink()


def names_of(chain: Path) -> set[str]:
    """Return the names of a certificate; none if there is no certificate, or if it cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificates(chain.read_bytes())[0]
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, IndexError, x509.ExtensionNotFound):
        return set()
    return set(alternatives.get_values_for_type(x509.DNSName))


def _fetch(url: str) -> str:
    """Fetch a URL without a proxy and without following redirects; empty if nothing answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())
    try:
        with opener.open(url, timeout=CHALLENGE_TIMEOUT_S) as answer:
            text: bytes = answer.read(100)
    except (OSError, ValueError, HTTPException):
        return ""
    return text.decode("ascii", "replace")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a name that redirects elsewhere does not lead here."""

    def redirect_request(self, *args: object) -> None:
        return None
