"""A call of an operation, ready for it: who calls, and what was sent, read as PHP reads it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from fastapi import Request

from services.links.keys.authentication import Caller
from services.links.links.checks import link_key, spell_domain
from services.links.site import Site
from services.links.state import LinksState
from services.links.web.errors import FieldError, InvalidInput
from shared.api import LONGEST_SEARCH
from shared.records import LinkKey

DEFAULT = "DEFAULT"
"""Names the first domain, whatever it is called."""

_SECOND = timedelta(seconds=1)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)
"""Some clients name the last second that there is, when they mean no end."""

_port = re.compile(r":[0-9]{1,5}$")


@dataclass(frozen=True, slots=True)
class Call:
    """A call.

    Attributes:
        lists: All values of each parameter of the query.
        body: Its members.
    """

    request: Request
    state: LinksState
    caller: Caller
    lists: Mapping[str, Sequence[str]]
    body: Mapping[str, object] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        return self.state.site

    def text(self, name: str, longest: int = LONGEST_SEARCH) -> str | None:
        """The last value of a parameter; None for an empty one.

        Raises:
            InvalidInput: It is too long, or has NUL, which Postgres cannot compare with.
        """
        values = self.lists.get(name)
        text = values[-1].strip() if values else ""
        if "\0" in text or len(text) > longest:
            raise InvalidInput(FieldError(name, f"must not have more than {longest} characters, or U+0000"))
        return text or None

    def texts(self, name: str) -> list[str]:
        """The values of a list that are not empty.

        Raises:
            InvalidInput: One has NUL.
        """
        values = [value for value in self.lists.get(name, ()) if value]
        if any("\0" in value for value in values):
            raise InvalidInput(FieldError(name, "must not have U+0000"))
        return values

    def is_true(self, name: str) -> bool:
        return self.text(name) == "true"

    def date(self, name: str) -> datetime | None:
        """A time in the query.

        Raises:
            InvalidInput: It is none.
        """
        text = self.text(name)
        try:
            return None if text is None else read_date(text)
        except (TypeError, ValueError):
            raise InvalidInput(FieldError(name, "must be a date such as 2027-01-31T12:00:00+00:00")) from None

    def end(self) -> datetime | None:
        """The first moment after the parameter `endDate`, which is inclusive, and of whole seconds.

        Raises:
            InvalidInput: It is no date.
        """
        until = self.date("endDate")
        return None if until is None else min(until, _LAST) + _SECOND

    def number(self, name: str) -> int | None:
        """A whole number in the query.

        Raises:
            InvalidInput: It is none.
        """
        text = self.text(name)
        if text is None:
            return None
        if not re.fullmatch(r"[+-]?[0-9]{1,12}", text):
            raise InvalidInput(FieldError(name, "must be a whole number"))
        return int(text)

    def key(self) -> LinkKey:
        """The key of the link that the path and the parameter `domain` name.

        Raises:
            NotFound: They name none.
        """
        return link_key(self.request.path_params["code"], self.domain(), self.site)

    def domain(self) -> str | None:
        """The domain that a parameter names, as it is stored; None if none does."""
        text = self.text("domain")
        return None if text is None else named_domain(text, self.site)


def named_domain(text: str, site: Site) -> str:
    """Return a domain as it is stored: without its port, and by its own name where `www.` stands before it."""
    if text == DEFAULT:
        return site.default_domain
    spelled = spell_domain(_port.sub("", text.strip()))
    # What cannot be spelled is nobody's domain, and not the first one, which an empty text stands for.
    return site.aliases.get(spelled, spelled) or text


def read_date(text: str) -> datetime:
    """Read a date or time of ISO 8601, or of an e-mail (RFC 5322); without an offset it is UTC.

    Raises:
        ValueError: It is neither.
    """
    # A plus that was not encoded arrives as a blank, before `02:00` or `0200`.
    spelled = re.sub(r" (?=[0-9]{2}:?[0-9]{2}$)", "+", text.strip())
    try:
        moment = datetime.fromisoformat(spelled)
    except ValueError:
        moment = parsedate_to_datetime(text)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("is not a time that exists") from None
