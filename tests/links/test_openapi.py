"""The API's description: what a generated client would be told is what the routes do."""

import json
import re
from typing import Any

import httpx
import pytest


@pytest.fixture
async def description(alice: httpx.AsyncClient) -> dict[str, Any]:
    response = await alice.get("/openapi.json")
    found: dict[str, Any] = response.json()
    return found


async def test_every_route_is_described(description: dict[str, Any]) -> None:
    """Each route of the API has a summary, a description and problems as its errors."""
    operations = {
        f"{method} {path}": operation
        for path, methods in description["paths"].items()
        if path.startswith("/api/")
        for method, operation in methods.items()
    }

    assert len(operations) >= 15
    for name, operation in operations.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"], name
        assert "422" not in operation["responses"], name


async def test_operations_have_short_names(description: dict[str, Any]) -> None:
    """Each operation has a name of its own, which a generated client calls its function."""
    names = [each["operationId"] for methods in description["paths"].values() for each in methods.values()]

    assert len(set(names)) == len(names)
    assert {"create_link", "list_links", "edit_link", "create_batch"} <= set(names)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)


async def test_edit_has_no_defaults(description: dict[str, Any]) -> None:
    """A field of an edit that is left out stays as it is: nothing tells a client to send it all the same."""
    patch = description["components"]["schemas"]["LinkPatch"]

    assert "required" not in patch
    assert not [name for name, field in patch["properties"].items() if "default" in field]


async def test_every_status_of_a_creation_is_described(description: dict[str, Any]) -> None:
    """A link that was found is a 200, a new one a 201, each with the link."""
    responses = description["paths"]["/api/v1/links"]["post"]["responses"]

    for status in ("200", "201"):
        assert responses[status]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/LinkOut"}


async def test_references_lead_somewhere(description: dict[str, Any]) -> None:
    """Each schema that is referred to, also by hand, is there."""
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(description)))

    assert {"LinkIn", "ProblemOut"} <= named
    assert named <= set(description["components"]["schemas"])


@pytest.mark.parametrize(
    ("path", "types"),
    [
        ("/api/v1/exports", {"text/csv", "application/x-ndjson"}),
        ("/api/v1/links/{code}/qr", {"image/svg+xml", "image/png"}),
        ("/api/v1/tags", {"application/json"}),
    ],
)
async def test_media_types_are_told(description: dict[str, Any], path: str, types: set[str]) -> None:
    """A route names the types that it answers with, and no others."""
    assert set(description["paths"][path]["get"]["responses"]["200"]["content"]) == types


async def test_batch_tells_its_body(description: dict[str, Any]) -> None:
    """The body of a batch is described although the route reads it itself."""
    operation = description["paths"]["/api/v1/links/batch"]["post"]
    links = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["links"]

    assert links == {"type": "array", "maxItems": 10_000, "items": {"$ref": "#/components/schemas/LinkIn"}}
    assert [parameter["name"] for parameter in operation["parameters"]] == ["idempotency-key"]
