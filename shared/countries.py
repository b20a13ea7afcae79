"""Finds the country of a client's address in a file of MaxMind's format.

The click worker asks it for each click, and the redirect service for links whose rules name countries.
"""

import re
from pathlib import Path

import maxminddb
import structlog

from shared.api import UNKNOWN

COUNTRIES = Path(__file__).parent / "vendor" / "countries.mmdb"
"""The database that is part of every release. `COUNTRY_DATABASE` may name another one."""

_match_country = re.compile(r"[A-Z]{2}").fullmatch

log = structlog.get_logger()


class CountryFinder:
    """A country database, ready to be asked.

    Args:
        path: An MMDB file. If it cannot be read, that is logged, and countries are unknown, as they are without one.
    """

    def __init__(self, path: Path | None) -> None:
        self._reader = _open(path)

    def find(self, address: bytes | None) -> str:
        """Returns the ISO 3166 code of an address's country."""
        if self._reader is None or not address:
            return UNKNOWN
        try:
            found = self._reader.get(address.decode("ascii", "replace").removeprefix("::ffff:"))
        except (ValueError, maxminddb.InvalidDatabaseError):
            return UNKNOWN
        if not isinstance(found, dict):
            return UNKNOWN
        # MaxMind's and DB-IP's files nest it; those of ip-location-db have one field.
        country = found.get("country", found.get("country_code"))
        code = country.get("iso_code") if isinstance(country, dict) else country
        return code if isinstance(code, str) and _match_country(code) else UNKNOWN


def _open(path: Path | None) -> maxminddb.Reader | None:
    if path is None:
        return None
    try:
        return maxminddb.open_database(path)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        log.error("country_database_unreadable", error=type(error).__name__)
        return None
