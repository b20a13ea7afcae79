"""Writes the users of Redis as lines of its ACL file, for the local stack and the host: it needs the standard library alone."""

import hashlib
from collections.abc import Sequence

REDIRECT = "redirect"
ADMIN = "admin"

# The redirect service looks up and stores records, and introduces itself. It may do nothing else, and touch no other key.
_REDIRECT_RULES = (
    "on",
    "~link:*",
    "resetchannels",
    "-@all",
    "+mget",
    "+set",
    "+ping",
    "+hello",
    "+client|setname",
    "+client|setinfo",
)


def acl_lines(passwords: Sequence[str], admin_password: str) -> list[str]:
    """Write the users.

    Args:
        passwords: The passwords of redirect; each is accepted, so that one can follow another.
        admin_password: The password of the user for people and commands.
    """
    return [
        f"user {REDIRECT} {' '.join(map(acl_password, passwords))} {' '.join(_REDIRECT_RULES)}",
        f"user {ADMIN} on {acl_password(admin_password)} ~* &* +@all",
        "user default off",
    ]


def acl_password(password: str) -> str:
    """Return the rule that adds a password, by its SHA-256, so that no file or command shows the password."""
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"
