"""What clients of Kutt send and get: links, with Kutt's names and messages."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_DNS, UUID, uuid5

from services.links.links.rows import LinkRow
from services.links.site import Site
from services.links.web.errors import FieldError, InvalidInput, NotFound

SHORTEST_PASSWORD = 3
LONGEST_PASSWORD = 64

_ID = UUID("00000000-0000-8000-8000-000000000000").int
"""A UUID of version 8 (RFC 9562), whose last bits are the number of the link: it is found by an index, and stays the same."""

_ID_BITS = 2**62 - 1

_UNITS_MS = {
    "y": 31_557_600_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_span = re.compile(
    r"(\d{0,15}\.?\d{1,15}) *(?:(ms|msecs?|milliseconds?)|(s|secs?|seconds?)|(m|mins?|minutes?)|(h|hrs?|hours?)"
    r"|(d|days?)|(w|weeks?)|(y|yrs?|years?))?",
    re.IGNORECASE | re.ASCII,
).fullmatch
"""As the package `ms` of npm reads it, without signs."""

_is_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII).fullmatch
_has_scheme = re.compile(r"[a-z][a-z0-9+.-]*:(?!\d)|//", re.IGNORECASE).match
_dots = re.compile("•+").fullmatch


class Sent:
    """The members that a client sent. What Kutt calls falsy counts as left out."""

    def __init__(self, members: Mapping[str, object]) -> None:
        self._members = members

    def text(self, name: str) -> str | None:
        """Return a text without the blanks around it."""
        value = self._members.get(name)
        if value is None or value is False or value == 0:
            return None
        if not isinstance(value, str):
            raise refused(name, f"{name} must be a text.")
        return value.strip() or None

    def flag(self, name: str) -> bool:
        value = self._members.get(name)
        if value not in (None, True, False, "", "true", "false", "on", "1", "0"):
            raise refused(name, f"{name.capitalize()} must be boolean.")
        return value in (True, "true", "on", "1")

    def target(self) -> str | None:
        """Return the target, with a scheme."""
        target = self.text("target")
        return target if target is None or _has_scheme(target) else f"http://{target}"

    def password(self) -> str | None:
        """Return the password. Dots are what Kutt's own page shows of one that stays."""
        value = self._members.get("password")
        if not value or (isinstance(value, str) and _dots(value)):
            return None
        if not isinstance(value, str) or not SHORTEST_PASSWORD <= len(value) <= LONGEST_PASSWORD:
            message = f"Password length must be between {SHORTEST_PASSWORD} and {LONGEST_PASSWORD}."
            raise refused("password", message)
        return value

    def expires_at(self) -> str | None:
        """Return when a span from now on is over."""
        text = self.text("expire_in")
        if text is None:
            return None
        found = _span(text)
        if found is None:
            raise refused("expire_in", "Expire format is invalid. Valid examples: 1m, 8h, 42 days.")
        number, *units = found.groups()
        unit = next(
            (name for name, given in zip(("ms", "s", "m", "h", "d", "w", "y"), units, strict=True) if given), "ms"
        )
        milliseconds = float(number) * _UNITS_MS[unit]
        if milliseconds < _UNITS_MS["m"]:
            raise refused("expire_in", "Expire time should be more than 1 minute.")
        try:
            return (datetime.now(UTC) + timedelta(milliseconds=milliseconds)).isoformat()
        except OverflowError:
            raise refused("expire_in", "Expire time is too long.") from None


def refused(name: str, message: str) -> InvalidInput:
    """Return the error of a member, with the whole sentence that the client gets."""
    error = InvalidInput(FieldError(name, message))
    error.detail = message
    return error


def link_id(text: str) -> int:
    """Return the number of the link that an id stands for.

    Raises:
        NotFound: It stands for none.
    """
    if not _is_uuid(text):
        raise refused("id", "ID is invalid.")
    number = UUID(text).int ^ _ID
    if number > _ID_BITS:
        raise NotFound("Link was not found.")
    return number


def link_out(link: LinkRow, site: Site) -> dict[str, object]:
    """Return a link as Kutt does."""
    fields = link.fields
    return {
        "id": str(UUID(int=_ID | link.id)),
        "address": link.code,
        "banned": False,
        "created_at": write_instant(link.created_at),
        "description": fields.notes,
        "domain": None if link.domain == site.default_domain else link.domain,
        "expire_in": None if fields.expires_at is None else write_instant(fields.expires_at),
        "link": site.short_url(link.key),
        "password": fields.password_hash is not None,
        "target": fields.url_as_given,
        "updated_at": write_instant(link.updated_at),
        "visit_count": link.humans,
    }


def domain_out(domain: str, site: Site) -> dict[str, object]:
    """Return a domain as Kutt does."""
    id_ = str(uuid5(NAMESPACE_DNS, domain))
    return {"id": id_, "address": domain, "banned": False, "homepage": site.default_domain}


def write_instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
