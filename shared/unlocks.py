"""The cookie of a visitor who knew the password of a link: links signs it, and redirect reads it without asking anyone.

It opens one code until the password changes, for an hour at most. The key comes from the token that both services have.
"""

import base64
import hashlib
import hmac
import re

from shared.codes import code_path
from shared.records import LinkKey

COOKIE = "tinyurl_unlock"
"""nginx sends it to redirect by this name. Its path is the code, so a browser sends one at most. Browsers ignore a path of more
than 1,024 characters: the cookie of such a code opens it as long as no other one comes before it."""

LIFETIME_S = 3600

LONGEST_COOKIE = 64
LARGEST_FORM = 1024
"""Bytes of a form, as nginx takes it: `password=` and 64 characters of four bytes, each of them percent-encoded, have 777."""

_match_value = re.compile(r"([1-9][0-9]{0,11})\.([0-9A-Za-z_-]{43})").fullmatch


def password_tag(password_hash: str) -> str:
    """Return what `Record.password` is for a hash. The view `link_records` has it in SQL."""
    return hashlib.sha256(password_hash.encode()).hexdigest()[:16]


def sign_unlock(token: str, key: LinkKey, tag: str, now: float) -> str:
    """Return the value of the cookie.

    Args:
        token: The internal token.
        key: The link's domain and code.
        tag: `Record.password`.
        now: Unix seconds.
    """
    until = int(now) + LIFETIME_S
    return f"{until}.{_signature(token, key, tag, until)}"


def is_unlocked(value: str, token: str, key: LinkKey, tag: str, now: float) -> bool:
    """Tell whether the value of a cookie opens a link now."""
    match = _match_value(value)
    if match is None or int(match[1]) <= now:
        return False
    return hmac.compare_digest(match[2], _signature(token, key, tag, int(match[1])))


def cookie_header(value: str, key: LinkKey, *, is_https: bool) -> str:
    """Return the `Set-Cookie` of the value."""
    secure = "; Secure" if is_https else ""
    return f"{COOKIE}={value}; Path=/{code_path(key[1])}; Max-Age={LIFETIME_S}; HttpOnly; SameSite=Lax{secure}"


def _signature(token: str, key: LinkKey, tag: str, until: int) -> str:
    # Nothing else is signed with this key. None of the parts has a blank.
    own = hmac.digest(token.encode(), b"unlock cookie", "sha256")
    signed = hmac.digest(own, f"{key[0]} {key[1]} {tag} {until}".encode(), "sha256")
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()
