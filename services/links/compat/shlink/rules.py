"""The redirect rules of a link, told and replaced as a whole.

What one side cannot say is refused: a rule of Shlink's with such a condition, and any change of a link that has such a rule of
ours, because Shlink replaces all rules and would lose it.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from services.links.compat.shlink.calls import Call
from services.links.compat.shlink.conditions import Inexpressible, read_conditions, write_rule
from services.links.compat.shlink.errors import ShlinkProblem
from services.links.compat.shlink.objects import Json
from services.links.links import actions
from services.links.links.forms import LinkPatch
from services.links.links.rows import LinkRow
from services.links.web.errors import FieldError, InvalidInput
from services.links.web.versions import etag

MEMBER = "redirectRules"


async def read_rules(call: Call) -> Json:
    """Tell the rules of a link, without those that Shlink has no words for."""
    return _answer(await actions.read_link(call.state, call.caller, call.key()))


async def replace_rules(call: Call) -> Json:
    """Replace all rules of a link."""
    key = call.key()
    row = await actions.read_link(call.state, call.caller, key)
    try:
        for rule in _stored(row):
            list(write_rule(rule))
    except Inexpressible as error:
        detail = f"The link has a rule that Shlink cannot tell, for {error}. Edit it with the API or the dashboard."
        raise ShlinkProblem(
            "invalid-data", HTTPStatus.BAD_REQUEST, "Invalid data", detail, invalidElements=[MEMBER]
        ) from None
    rules = call.body.get(MEMBER)
    if not isinstance(rules, list):
        raise InvalidInput(FieldError(MEMBER, "must be a list"))
    body = LinkPatch.model_validate({"rules": [_read_rule(rule, place) for place, rule in enumerate(rules)] or None})
    return _answer(await actions.edit_link(call.state, call.caller, key, body, etag(row.version)))


def _answer(row: LinkRow) -> Json:
    rules: list[Json] = []
    for rule in _stored(row):
        try:
            written = list(write_rule(rule))
        except Inexpressible:
            continue
        rules += [{"longUrl": url, "conditions": conditions} for url, conditions in written]
    numbered = [{**rule, "priority": number} for number, rule in enumerate(rules, 1)]
    return {"defaultLongUrl": row.fields.url_as_given, MEMBER: numbered}


def _stored(row: LinkRow) -> list[Mapping[str, Any]]:
    rules: list[Mapping[str, Any]] = json.loads(row.fields.rules or "[]")
    return rules


def _read_rule(rule: object, place: int) -> dict[str, object]:
    if not isinstance(rule, dict) or not isinstance(rule.get("longUrl"), str):
        raise InvalidInput(FieldError(f"{MEMBER}.{place}", "must have a longUrl"))
    conditions = rule.get("conditions")
    if not isinstance(conditions, list) or not conditions:
        raise InvalidInput(FieldError(f"{MEMBER}.{place}", "must have conditions: without one it would never apply"))
    try:
        return {"url": rule["longUrl"], "if": read_conditions(conditions)}
    except Inexpressible as error:
        raise InvalidInput(FieldError(f"{MEMBER}.{place}", f"is not possible here: there is no {error}")) from None
