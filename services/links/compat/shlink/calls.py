"""A call of an operation, ready for it: who calls, and what was sent, read as PHP reads it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fastapi import Request

from services.links.compat.shlink.dates import read_date
from services.links.keys.authentication import Caller
from services.links.links.checks import link_key, spell_domain
from services.links.site import Site
from services.links.state import LinksState
from services.links.web.errors import FieldError, InvalidInput
from shared.api import LONGEST_SEARCH
from shared.records import LinkKey

DEFAULT = "DEFAULT"
"""Names the first domain, whatever it is called."""

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
    return site.aliases.get(spelled, spelled)
