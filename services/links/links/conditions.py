"""The forms of rules and splits: what a link decides by, as clients send and get it.

`forms.py` has them as fields of a link, and `checks.py` parses their targets. `shared/rules.py` compiles what is stored.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self, TypeVar

import ada_url
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from services.links.links.rows import spell_json
from services.links.web.texts import Instant, TimeZone, check_visible, empty_is_null, normalize, refuse_nul
from shared.api import (
    FEWEST_TARGETS,
    LONGEST_LABEL,
    LONGEST_URL,
    MOST_RULES,
    MOST_TARGETS,
    MOST_WANTED,
    UNKNOWN,
    Browser,
    Device,
    System,
)
from shared.facts import read_network
from shared.languages import LANGUAGE_PATTERN
from shared.rules import Decision, read_span

HEAVIEST = 10_000

_COUNTRIES = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF
    CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH
    GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW
    KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG
    NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN
    SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT
    ZA ZM ZW XK
"""
COUNTRIES = frozenset(_COUNTRIES.split())
"""ISO 3166-1, and Kosovo as country databases spell it."""

_match_domain = re.compile(r"(?=.{1,253}$)(?:[0-9a-z_-]{1,63}\.)*[0-9a-z_-]{1,63}").fullmatch
_match_language = re.compile(LANGUAGE_PATTERN).fullmatch
_SPAN = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]-(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)"
_match_span = re.compile(_SPAN).fullmatch

T = TypeVar("T")


def _listed(value: object) -> object:
    return value if isinstance(value, list) or value is None else [value]


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _check_language(text: str) -> str:
    if not _match_language(text):
        raise ValueError("must be a language tag such as de or pt-BR")
    return text


def check_country(text: str) -> str:
    """Spell the code of a country in capitals; one that does not exist raises ValueError."""
    if text.upper() not in COUNTRIES:
        raise ValueError("must be a country's two letters (ISO 3166) such as DE")
    return text.upper()


def _check_domain(text: str) -> str:
    domain = (text if text.isascii() else ada_url.idna.encode(text).decode()).removeprefix("*.").rstrip(".")
    if not _match_domain(domain):
        raise ValueError("must be a domain such as example.org, without scheme and path")
    return domain


def _check_label(text: str) -> str:
    if text == UNKNOWN:
        raise ValueError(f"must not be {UNKNOWN}, which is what statistics call no name at all")
    return text


def _check_span(text: str) -> str:
    if not _match_span(text) or len(set(read_span(text))) == 1:
        raise ValueError("must be a span of the day such as 09:00-17:30")
    return text


def _check_network(text: str) -> str:
    try:
        return str(read_network(text.strip()))
    except ValueError as error:
        raise ValueError(f"must be an address or a network such as 192.0.2.0/24: {error}") from None


Many = Annotated[list[T], Field(min_length=1, max_length=MOST_WANTED), BeforeValidator(_listed)]
"""One value or several, of which one has to apply."""

Label = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_LABEL),
    AfterValidator(check_visible),
    AfterValidator(_check_label),
    BeforeValidator(normalize),
]
Url = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL)]
ParameterText = Annotated[str, StringConstraints(max_length=256), AfterValidator(refuse_nul)]
Short = Annotated[str, StringConstraints(max_length=256)]
Language = Annotated[
    Short,
    AfterValidator(_check_language),
    BeforeValidator(_lower),
    Field(json_schema_extra={"pattern": f"^{LANGUAGE_PATTERN}$"}),
]
Country = Annotated[Short, AfterValidator(check_country), Field(json_schema_extra={"pattern": "^[A-Za-z]{2}$"})]
Span = Annotated[Short, AfterValidator(_check_span), Field(json_schema_extra={"pattern": f"^{_SPAN}$"})]


class _Sparse(BaseModel):
    """What is left out is left out of answers, too."""

    model_config = ConfigDict(extra="forbid", strict=True, serialize_by_alias=True)

    @model_serializer(mode="wrap")
    def leave_out(self, write: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]  # one would describe no field
        return {name: value for name, value in write(self).items() if value is not None}


class Parameter(_Sparse):
    """A parameter of the visitor's query."""

    name: ParameterText
    value: ParameterText | None = Field(None, description="Any value if left out.")


class Conditions(_Sparse):
    """Conditions of a rule, all of which have to hold. Each has one value or a list, of which one has to apply."""

    device: Many[Annotated[Device, BeforeValidator(_lower)]] | None = None
    os: Many[Annotated[System, BeforeValidator(_lower)]] | None = None
    browser: Many[Annotated[Browser, BeforeValidator(_lower)]] | None = None
    language: Many[Language] | None = Field(
        None,
        description="The visitor's language is the best for `Accept-Language` (RFC 4647, lookup) of those that these rules "
        "name: whose other conditions all hold, up to the first one without a language.",
    )
    country: Many[Country] | None = Field(None, description="ISO 3166.")
    query: Many[Parameter] | None = None
    referrer: Many[Annotated[Short, AfterValidator(_check_domain), BeforeValidator(_lower)]] | None = Field(
        None, description="Domains of the page with the link; their subdomains are meant, too."
    )
    after: Instant | None = Field(None, description="From this moment on.")
    before: Instant | None = Field(None, description="Until this moment.")
    weekday: Many[
        Annotated[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], BeforeValidator(_lower)]
    ] | None = None  # fmt: skip
    time: Many[Span] | None = Field(
        None,
        description="Spans of the day, such as `09:00-17:30`; `22:00-06:00` goes over midnight; beside `weekday` "
        "it belongs to the day on which it begins.",
    )
    time_zone: TimeZone | None = Field(None, description="Of `weekday` and `time`; UTC if left out.")
    address: Many[Annotated[Short, AfterValidator(_check_network)]] | None = Field(
        None, description="The visitor's address, or networks that it is in (CIDR)."
    )

    @model_validator(mode="after")
    def check_conditions(self) -> Self:
        given = {name for name in Conditions.model_fields if getattr(self, name) is not None}
        if not given - {"time_zone"}:
            raise ValueError("must have a condition")
        if "time_zone" in given and not given & {"weekday", "time"}:
            raise ValueError("must have weekday or time beside time_zone")
        if self.after is not None and self.before is not None and self.after >= self.before:
            raise ValueError("must have an after that lies before its before")
        return self


class SplitTarget(_Sparse):
    """One of the targets of a split."""

    name: Label = Field(description="Statistics call it so.")
    url: Url
    weight: int = Field(1, ge=0, le=HEAVIEST, description="Its share of the visitors is its share of all weights.")


def _check_targets(targets: list[SplitTarget]) -> list[SplitTarget]:
    if len({target.name for target in targets}) < len(targets):
        raise ValueError("must have targets with names of their own")
    if not any(target.weight for target in targets):
        raise ValueError("must have a target with a weight")
    return targets


Split = Annotated[
    list[SplitTarget], Field(min_length=FEWEST_TARGETS, max_length=MOST_TARGETS), AfterValidator(_check_targets)
]


class Rule(_Sparse):
    """Where visitors of some kind go: to a target, or to one of the targets of a split."""

    name: Annotated[Label | None, BeforeValidator(empty_is_null)] = Field(None, description="Statistics call it so.")
    conditions: Conditions = Field(alias="if")
    url: Url | None = None
    split: Split | None = None

    @model_validator(mode="after")
    def check_target(self) -> Self:
        if (self.url is None) == (self.split is None):
            raise ValueError("must have either url or split")
        return self


Rules = Annotated[list[Rule], Field(max_length=MOST_RULES)]


def targets_of(rules: Sequence[Rule], split: Sequence[SplitTarget]) -> Iterator[tuple[str, Rule | SplitTarget]]:
    """All that has a target of its own, with the path of the target in a request."""
    for number, rule in enumerate(rules):
        if rule.split is None:
            yield f"rules.{number}.url", rule
        else:
            yield from _targets(f"rules.{number}.split", rule.split)
    yield from _targets("split", split)


def repeated_variants(url: str, rules: str | None, split: str | None) -> Iterator[tuple[str, str]]:
    """The targets of stored rules that statistics could not tell from others: the place of the name, and the variant."""
    decision = Decision(url, rules, split, None)
    seen = {target.variant for target in decision.otherwise.targets}
    for number, rule in enumerate(decision.rules):
        for place, target in enumerate(rule.destination.targets):
            if target.variant in seen:
                inner = f"split.{place}." if rule.destination.split is not None else ""
                yield f"rules.{number}.{inner}name", target.variant
            seen.add(target.variant)


def spell_models(models: Sequence[BaseModel]) -> str | None:
    """Return rules or targets as they are stored; None if there are none."""
    return spell_json([each.model_dump(mode="json") for each in models]) if models else None


def stored_urls(text: str | None) -> Iterator[str]:
    """The targets of rules or of a split, as they are stored."""
    for place in json.loads(text or "[]"):
        if "url" in place:
            yield place["url"]
        else:
            yield from (target["url"] for target in place["split"])


def referrer_rules(text: str | None) -> list[int]:
    """The places of the rules that ask for the referrer, as they are stored."""
    return [place for place, rule in enumerate(json.loads(text or "[]")) if "referrer" in rule["if"]]


def _targets(path: str, targets: Sequence[SplitTarget]) -> Iterator[tuple[str, SplitTarget]]:
    for number, target in enumerate(targets):
        yield f"{path}.{number}.url", target
