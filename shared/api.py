"""The contract of the API and its clients: scopes, problems, dimensions, and limits.

The write service checks requests against it. The dashboard and the command `tinyurl` import it.
"""

from typing import Literal, NamedTuple, get_args

Scope = Literal["links:read", "links:write", "stats:read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
USUAL_SCOPES: tuple[Scope, ...] = ("links:read", "links:write", "stats:read")
"""The scopes of a new key, unless somebody chooses others."""

StatusCode = Literal[301, 302, 307, 308]
LinkState = Literal["active", "disabled", "expired", "scheduled"]
TagMode = Literal["any", "all"]
Sort = Literal[
    "created_at", "-created_at", "updated_at", "-updated_at", "clicks", "-clicks", "humans", "-humans", "code", "-code"
]
CodeRefusal = Literal["taken", "reserved", "malformed"]
"""Why a code is not available."""

ForeignApi = Literal["yourls", "shlink", "kutt", "polr"]
"""Whose API this one can speak, too (`COMPAT`)."""

Bots = Literal["include", "exclude", "only"]
Imported = Literal["include", "exclude", "only"]
Device = Literal["mobile", "tablet", "desktop"]
System = Literal["android", "ios", "windows", "macos", "linux", "chromeos"]
Browser = Literal[
    "chrome", "safari", "firefox", "edge", "opera", "samsung", "duckduckgo", "brave", "vivaldi", "yandex", "uc", "ie",
    "facebook", "instagram",
]  # fmt: skip
"""What the rules of a link can ask of a user agent. A browser has one name on all systems."""

Interval = Literal["hour", "day", "week", "month"]


UNKNOWN = "unknown"
"""The value of a dimension that a click does not have."""


class Dimensions(NamedTuple):
    """Clicks are counted by these. The names are those of the columns, and of `dimension` in the counts.

    Attributes:
        variant: Which rule or target of a split a visitor got. Clicks of other links are not counted by it, so that it costs
            them nothing. It is the last one.
    """

    country: str
    browser: str
    os: str
    device: str
    referrer: str
    language: str
    variant: str = UNKNOWN


VARIANT = "variant"

LONGEST_URL = 8192
"""Characters of the request, and bytes of the stored target."""

LONGEST_TITLE = 512
"""Characters of a link's title, and of a key's name."""

LONGEST_NOTES = 4000
"""Characters."""

MOST_RULES = 50
FEWEST_TARGETS, MOST_TARGETS = 2, 20
"""Of a split."""

MOST_WANTED = 50
"""Values of a condition of a rule."""

LONGEST_LABEL = 40
"""Characters of the name of a rule, and of the name of a split's target."""

LONGEST_VARIANT_TEXT = 2 * LONGEST_LABEL + 3
"""Characters of what statistics call a rule and the target of its split together."""

LONGEST_DECISION = 16 * 1024
"""Bytes of a link's rules and split together, as JSON without blanks."""
LONGEST_PASSWORD = 64
"""Characters of a link's password."""

LONGEST_TAG = 64
MOST_TAGS = 20
LONGEST_OWNER = 64
LONGEST_SEARCH = 1000
"""Characters of a search. People paste long targets."""

FIRST_YEAR, LAST_YEAR = 2000, 2199
"""Of every time that is sent."""

MOST_CLICKS = 1_000_000_000
"""The largest limit of a link."""

MOST_ROWS = 10_000
"""Links in a batch."""

MOST_PASSWORDS = 50
"""Links with a password in a batch. Hashing takes some 20 ms for each, and other batches wait."""

MOST_LISTED = 100
"""Links on a page of a list, and links whose clicks are counted in one answer."""

MOST_VALUES = 100
"""Values of each dimension that statistics name."""

CODE_TAKEN = "code-taken"
"""The problem of a code that another link has or had."""


def problem_type(kind: str) -> str:
    """Returns the `type` of a problem (RFC 9457)."""
    return f"urn:tinyurl:problem:{kind}"
