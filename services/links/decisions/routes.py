"""Explains where a link would lead a visit, by the code that redirect decides by (`shared/rules.py`)."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request

from services.links.decisions.forms import (
    ConditionOut,
    DecideQuery,
    DecisionOut,
    RuleOut,
    targets_out,
    wanted_out,
)
from services.links.keys.api_routes import ApiRoute
from services.links.keys.authentication import MayRead
from services.links.links.checks import check_seen, link_key
from services.links.links.rows import select_link
from services.links.state import state_of
from shared.facts import Facts, read_address, read_host, read_query
from shared.languages import read_accepted
from shared.postgres import connection
from shared.rules import Condition, Decision, Rule

router = APIRouter(prefix="/api/v1/links", tags=["links"], route_class=ApiRoute)


@router.get("/{code}/decide", summary="Explain where a link leads")
async def explain_decision(
    request: Request, code: str, query: Annotated[DecideQuery, Query()], caller: MayRead
) -> DecisionOut:
    """Tell which rule of a link wins for a visit, and why the others do not.

    The visitor's language is the best one (RFC 4647, lookup) of the rules whose other conditions hold, up to the first one that
    asks for no language. Where one was chosen, the others do not hold for him. Which target of a split a visitor
    gets is known to redirect alone, which tells visitors apart by address and user agent.
    """
    state = state_of(request)
    async with state.shares.edits.turn(caller.owner), connection(state.pool) as conn:
        row = check_seen(await select_link(conn, link_key(code, query.domain, state.site)), caller)
    decision = Decision(row.fields.url, row.fields.rules, row.fields.split, None)
    facts = _read_facts(query)
    wins, language = decision.find_winner(facts)
    winner = next((number for number, rule in enumerate(decision.rules, 1) if rule is wins), None)
    explained = [_explain(rule, facts, language, query) for rule in decision.rules]
    return DecisionOut(
        time=datetime.fromtimestamp(facts.now, UTC),
        rule=winner,
        targets=targets_out(decision.otherwise if wins is None else wins.destination),
        rules=[
            RuleOut(
                number=number,
                name=rule.label,
                holds=all(condition.holds for condition in conditions),
                wins=number == winner,
                conditions=conditions,
            )
            for number, (rule, conditions) in enumerate(zip(decision.rules, explained, strict=True), 1)
        ],
    )


def _explain(rule: Rule, facts: Facts, language: str | None, query: DecideQuery) -> list[ConditionOut]:
    """Tell of each condition whether it holds.

    A language holds if it was chosen. If none was, the visitor's could only be one of a rule that cannot win.
    """
    return [
        ConditionOut(
            condition=each.name,
            holds=language in each.wanted if each.name == "language" and language else each.holds(facts),
            wanted=wanted_out(each.wanted),
            found=_found(each, facts, language, query),
        )
        for each in rule.conditions
    ]


def _read_facts(query: DecideQuery) -> Facts:
    referrer = query.referrer.strip()
    page = referrer if "://" in referrer else f"https://{referrer}"
    return Facts(
        (query.time or datetime.now(UTC)).timestamp(),
        query.device,
        query.os,
        query.browser,
        read_accepted(query.language),
        query.country,
        read_query(query.query.removeprefix("?").encode()),
        read_host(page.encode()) if referrer else None,
        read_address(query.address.encode()) if query.address else None,
    )


def _found(condition: Condition, facts: Facts, language: str | None, query: DecideQuery) -> str | None:
    """Return what the visit has of what a condition asks for, as text."""
    local = datetime.fromtimestamp(facts.now, condition.zone)
    day = f"{local:%a}".lower()
    if condition.name == "weekday" and condition.holds(facts) != (day in condition.wanted):
        day = f"the night from {local - timedelta(days=1):%a} to {local:%a}".lower()
    known: dict[str, object] = {
        **facts._asdict(),
        "language": language or query.language or None,
        "query": query.query or None,
        "weekday": day,
        "time": f"{local:%H:%M}",
        "after": local.isoformat(),
        "before": local.isoformat(),
    }
    value = known[condition.name]
    return None if value is None else str(value)
