"""The questions of the API that have many parts: which links, and which clicks."""

from dataclasses import dataclass, replace
from datetime import datetime

from .calls import Parameters
from .words import Bots, Interval


@dataclass(frozen=True, slots=True)
class LinkQuestion:
    """Which links a list or an export has; None and an empty text do not limit."""

    q: str | None = None
    tag: str | None = None
    domain: str | None = None
    state: str | None = None
    owner: str | None = None

    def parameters(self) -> Parameters:
        asked = {"q": self.q, "tag": self.tag, "domain": self.domain, "state": self.state, "owner": self.owner}
        return {name: value for name, value in asked.items() if value}


ALL_LINKS = LinkQuestion()


@dataclass(frozen=True, slots=True)
class StatsQuestion:
    """Which clicks to count, and how; times without an end go up to now, without a start 30 days back."""

    start: datetime | None = None
    end: datetime | None = None
    interval: Interval = "day"
    time_zone: str = "UTC"
    bots: Bots = "include"
    top: int = 10

    def top_of(self, number: int) -> "StatsQuestion":
        """Return the same question, with another number of values of each dimension."""
        return replace(self, top=number)

    def parameters(self) -> Parameters:
        asked: Parameters = {
            "interval": self.interval,
            "time_zone": self.time_zone,
            "bots": self.bots,
            "top": self.top,
        }
        if self.start is not None:
            asked["from"] = self.start.isoformat()
        if self.end is not None:
            asked["to"] = self.end.isoformat()
        return asked
