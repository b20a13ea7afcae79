"""What is asked about a link's decision, and the explanation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from services.links.links.conditions import check_country
from services.links.web.texts import AskedInstant, Wanted, empty_is_null
from shared.api import Browser, Device, System
from shared.facts import read_address
from shared.languages import LONGEST_ACCEPTED
from shared.rules import Destination


def _check_address(text: str) -> str:
    if read_address(text.encode()) is None:
        raise ValueError("must be an IP address")
    return text


Text = Annotated[str, StringConstraints(max_length=2048)]


class DecideQuery(BaseModel):
    """A visit: what is left out, the visitor did not send or nobody knows of him."""

    model_config = ConfigDict(extra="forbid")

    domain: Wanted | None = Field(None, description="The link's domain; the first one if left out.")
    device: Annotated[Device | None, BeforeValidator(empty_is_null)] = None
    os: Annotated[System | None, BeforeValidator(empty_is_null)] = None
    browser: Annotated[Browser | None, BeforeValidator(empty_is_null)] = None
    language: Annotated[str, StringConstraints(max_length=LONGEST_ACCEPTED)] = Field(
        "", description="As in `Accept-Language`, such as `de-CH, en;q=0.5`."
    )
    country: Annotated[Annotated[str, AfterValidator(check_country)] | None, BeforeValidator(empty_is_null)] = None
    query: Text = Field("", description="The visitor's query, such as `a=1&b=2`.")
    referrer: Text = Field("", description="The page with the link, or its domain.")
    time: AskedInstant | None = Field(None, description="Now if left out.")
    address: Annotated[Annotated[str, AfterValidator(_check_address)] | None, BeforeValidator(empty_is_null)] = None


class ConditionOut(BaseModel):
    """A condition: whether it holds, what the rule wants, and what the visit has."""

    condition: str
    holds: bool
    wanted: list[str]
    found: str | None = Field(description="Null: not known.")


class TargetOut(BaseModel):
    """A target that a visitor may get."""

    variant: str = Field(description="What statistics call it.")
    url: str
    share: float = Field(description="Of the visitors; below 1 for the targets of a split.")


class RuleOut(BaseModel):
    """A rule: it wins if it is the first whose conditions all hold."""

    number: int = Field(description="The first one is 1.")
    name: str = Field(description="Its own, or its number in words.")
    holds: bool
    wins: bool
    conditions: list[ConditionOut]


class DecisionOut(BaseModel):
    """Where the visit leads, if the link is active."""

    time: datetime
    rule: int | None = Field(description="The number of the rule that wins; null if none applies.")
    targets: list[TargetOut]
    rules: list[RuleOut]


def targets_out(destination: Destination) -> list[TargetOut]:
    total = sum(target.weight for target in destination.targets)
    return [
        TargetOut(variant=target.variant, url=target.url, share=target.weight / total) for target in destination.targets
    ]


def wanted_out(wanted: object) -> list[str]:
    """Return what a condition wants as texts, a parameter as in a query."""
    values: Sequence[object] = wanted if isinstance(wanted, list) else [wanted]
    return [_parameter(value) if isinstance(value, dict) else str(value) for value in values]


def _parameter(value: dict[str, str]) -> str:
    return f"{value['name']}={value['value']}" if "value" in value else value["name"]
