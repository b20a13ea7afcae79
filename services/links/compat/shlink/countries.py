"""Where a visit came from, as Shlink says it: only the country is known."""

from shared.api import UNKNOWN
from shared.country_names import country_name


def locate(country: str) -> dict[str, object] | None:
    """Return a location; None if the country is unknown. Its client takes an empty name for an unknown city."""
    if country == UNKNOWN:
        return None
    return {
        "countryCode": country,
        "countryName": country_name(country),
        "regionName": "",
        "cityName": "",
        "latitude": 0,
        "longitude": 0,
        "timezone": "",
        "isEmpty": False,
    }
