"""docs/compat.md is true: each operation that it names is asked of the running service, and each route is named."""

import re
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from services.links.compat import FOREIGN_ROUTERS
from services.links.compat.shlink.routes import OFFERS
from shared.api import ForeignApi
from tests.compat.conftest import KeyOf

DOCUMENT = Path(__file__).parents[2] / "docs" / "compat.md"
TITLES: dict[ForeignApi, str] = {"yourls": "YOURLS", "shlink": "Shlink", "kutt": "Kutt", "polr": "Polr"}
REFUSALS = (400, 403, 404, 405, 501)

_section = re.compile(r"^## (.+)\n((?:(?!## ).*\n?)*)", re.MULTILINE).findall
_row = re.compile(r"^\| `([A-Z]+) (/\S*)` \| (same|differs|not there) \| (.*) ?\|$", re.MULTILINE).findall

SECTIONS = dict(_section(DOCUMENT.read_text()))
ROWS = [(name, *row) for name, title in TITLES.items() for row in _row(SECTIONS[title])]


def sample(path: str) -> str:
    """A path with something in the place of its parameters."""
    return re.sub(r"\{\w+\}", "00000000-0000-8000-8000-000000000001", path)


def operations(name: ForeignApi) -> list[tuple[str, APIRoute]]:
    """The methods of an API's routes, with the route."""
    routes = [route for route in FOREIGN_ROUTERS[name]().routes if isinstance(route, APIRoute)]
    if name == "shlink":
        # Its routes take every method and refuse some; its versions answer the same.
        offers: dict[str, Iterable[str]] = {f"/rest/v3{path}": methods for path, methods in OFFERS.items()}
        offers |= {"/rest/health": ["GET"], "/rest/v3/health": ["GET"]}
        return [(method, route) for route in routes for method in offers.get(route.path, ())]
    return [(method, route) for route in routes for method in route.methods or ()]


def matches(operation: tuple[str, APIRoute], method: str, path: str) -> bool:
    return operation[0] == method and operation[1].path_regex.match(sample(path).partition("?")[0]) is not None


@pytest.mark.parametrize("name", TITLES)
def test_each_route_is_in_the_table(name: ForeignApi) -> None:
    """No route of a foreign API is left out of its table."""
    rows = [(method, path) for api, method, path, *_ in ROWS if api == name]
    missing = [
        f"{method} {route.path}"
        for method, route in operations(name)
        if not any(matches((method, route), *row) for row in rows)
    ]

    assert missing == []


async def test_each_operation_answers_as_its_row_says(foreign: httpx.AsyncClient, key_of: KeyOf) -> None:
    """What is there has a route and is no unknown path; what is not there is refused; a difference has a sentence."""
    key = await key_of("root", "admin")
    wrong = []
    for name, method, path, kind, how in ROWS:
        sent = {"signature": key, "key": key, "apiKey": key, "format": "json"} if method == "GET" else {}
        asked = httpx.URL(sample(path))
        for parameter, value in sent.items():
            asked = asked if parameter in asked.params else asked.copy_add_param(parameter, value)
        form = {"signature": key, "key": key} if method == "POST" else None
        answer = await foreign.request(method, asked, headers={"X-Api-Key": key}, data=form)
        is_there = (
            any(matches(each, method, path) for each in operations(name))
            and "nothing at this path" not in answer.text
            and answer.status_code != 405
        )
        is_true = answer.status_code in REFUSALS if kind == "not there" else is_there
        if not is_true or (kind == "same") is bool(how.strip()):
            wrong.append(f"{method} {path} is {kind}: {answer.status_code} {answer.text[:200]}")

    assert wrong == []
    assert len(ROWS) > 20
