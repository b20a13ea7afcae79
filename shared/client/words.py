"""The words of the API that have a type. They are repeated here, because the client is installed without the servers.

A test compares them with what a running service says of itself.
"""

from typing import Literal

Scope = Literal["links:read", "links:write", "stats:read", "admin"]
LinkState = Literal["active", "disabled", "expired", "scheduled"]
Sort = Literal[
    "created_at", "-created_at", "updated_at", "-updated_at", "clicks", "-clicks", "humans", "-humans", "code", "-code"
]
Bots = Literal["include", "exclude", "only"]
Interval = Literal["hour", "day", "week", "month"]
QrFormat = Literal["svg", "png"]

OnConflict = Literal["skip", "keep_both", "replace", "fail"]
"""What an import does with a link whose code another link has."""

ImportState = Literal["receiving", "waiting", "reading", "importing", "done", "failed", "undoing", "undone"]

UNKNOWN = "unknown"
"""The value of a dimension that a click does not have."""
