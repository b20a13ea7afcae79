"""Routes that go around the framework: what they declare is what runs."""

from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from prometheus_client.parser import text_string_to_metric_families
from pydantic import AfterValidator, BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response

from services.links.keys.direct_routes import DirectRoute, DirectRoutes
from services.links.web.errors import Forbidden
from tests.links.conftest import fields_at_fault
from tests.serving import client_of, serve

LINKS = "/api/v1/links"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    number: int


async def see_pass(request: Request) -> str:
    if "pass" not in request.headers:
        raise Forbidden("Show your pass.")
    return request.headers["pass"]


def check_even(text: str) -> str:
    if len(text) % 2:
        raise ValueError("must be even")
    return text


def direct_router() -> APIRouter:
    router = APIRouter(prefix="/things", route_class=DirectRoute)

    @router.post("", status_code=201)
    async def create_thing(
        request: Request,
        body: Body,
        owner: Annotated[str, Depends(see_pass)],
        some_mark: Annotated[Annotated[str, AfterValidator(check_even)] | None, Header()] = None,
    ) -> Response:
        return JSONResponse([request.method, body.number, owner, some_mark], 201)

    return router


async def test_declaration_is_what_runs(socket: Path) -> None:
    """Dependency, body and header are those that the function declares, and the errors name them."""
    app = DirectRoutes(FastAPI(), direct_router().routes)
    mine = {"Pass": "me"}
    async with serve(app, socket), client_of(socket) as client:
        good = await client.post("/things", json={"number": 1}, headers=mine | {"Some-Mark": "ab"})
        plain = await client.post("/things", json={"number": 1}, headers=mine)
        stranger = await client.post("/things?x=1", content=b"{")
        address = await client.post("/things?x=1", content=b"{", headers=mine)
        wrong = await client.post("/things", json={"number": "1", "more": 1}, headers=mine | {"Some-Mark": "a"})

    assert (good.status_code, good.json()) == (201, ["POST", 1, "me", "ab"])
    assert plain.json() == ["POST", 1, "me", None]
    assert (stranger.status_code, stranger.json()["detail"]) == (403, "Show your pass.")
    assert fields_at_fault(address) == {"x"}
    assert fields_at_fault(wrong) == {"Some-Mark", "number", "more"}
    assert wrong.json()["errors"][0] == {"field": "Some-Mark", "reason": "must be even"}


async def test_framework_runs_the_same(socket: Path) -> None:
    """A route that the table does not have, because nobody made one, is answered no other way."""
    api = FastAPI()
    api.include_router(direct_router())
    async with serve(api, socket), client_of(socket) as client:
        answer = await client.post("/things", json={"number": 1}, headers={"Pass": "me", "Some-Mark": "ab"})

    assert (answer.status_code, answer.json()) == (201, ["POST", 1, "me", "ab"])


def test_what_it_cannot_run_is_no_direct_route() -> None:
    """A parameter in the path or the address, or no model as the body, stops the start instead of being ignored."""
    router = APIRouter(route_class=DirectRoute)

    async def in_path(body: Body, code: str) -> None: ...

    async def in_address(body: Body, page: int = 1) -> None: ...

    async def list_as_body(body: list[Body]) -> None: ...

    for path, endpoint in (("/{code}", in_path), ("/things", in_address), ("/things", list_as_body)):
        with pytest.raises(TypeError, match="a direct route has a body of one model"):
            router.post(path)(endpoint)


async def test_metrics_name_the_route(alice: httpx.AsyncClient) -> None:
    """Creations are counted under their route's template, whatever they are answered, like every other request."""
    await alice.post(LINKS, json={"url": "https://www.example.com/"})
    await alice.post(LINKS, json={})
    await alice.post(LINKS, json={}, headers={"Authorization": ""})
    await alice.get(f"{LINKS}/none")
    families = text_string_to_metric_families((await alice.get("/metrics")).text)
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "links_requests_total"
    }

    assert counted == {
        ("POST", LINKS, "201"): 1,
        ("POST", LINKS, "422"): 1,
        ("POST", LINKS, "401"): 1,
        ("GET", f"{LINKS}/{{code}}", "404"): 1,
    }


async def test_wrong_idempotency_key_reads_alike(alice: httpx.AsyncClient) -> None:
    """The rule of the header is written once: a creation and a batch say the same, beside what is wrong with the body."""
    headers = {"Idempotency-Key": "a b"}
    one = await alice.post(LINKS, json={}, headers=headers)
    many = await alice.post(f"{LINKS}/batch", json={"links": []}, headers=headers)

    assert fields_at_fault(one) == {"Idempotency-Key", "url"}
    assert one.json()["errors"][0] == many.json()["errors"][0]
    assert many.json()["errors"][0]["reason"] == "must be 1 to 255 visible ASCII characters"
