"""A call of YOURLS' API, for the actions that answer it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from services.links.compat.naming import named_link
from services.links.keys.authentication import Caller
from services.links.site import Site
from services.links.state import LinksState
from shared.records import LinkKey

UNKNOWN = "Error: short URL not found"


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked for, and by whom.

    Attributes:
        sent: The parameters.
        domain: Of new links, and of keywords alone.
    """

    state: LinksState
    caller: Caller
    sent: Mapping[str, str]
    domain: str

    @property
    def site(self) -> Site:
        return self.state.site

    def key(self) -> LinkKey:
        """Return the key of the link that `shorturl` names.

        Raises:
            NotFound: It names none.
        """
        return named_link(self.sent.get("shorturl", ""), self.domain, self.site)


def write_date(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
