"""What the dashboard sends and reads is what the API's own description says: none of it is a guess."""

from dataclasses import is_dataclass
from typing import Any, TypeAlias, get_args

import httpx
import pytest
from pydantic import TypeAdapter

from services.dashboard.lists.columns import FIELDS as COLUMN_FIELDS
from services.dashboard.pages import domains, keys, shorten
from services.dashboard.pages.links import editor, table
from services.dashboard.pages.statistics import view
from services.dashboard.widgets.inputs import STATUS_CODES
from shared.api import SCOPES, CodeRefusal, Dimensions, StatusCode
from shared.client import counts, imports, results
from shared.client.counts import Clicks, Recent, Stats
from shared.client.imports import Import, ImportOptions, Imports
from shared.client.results import (
    BatchResult,
    CodeAvailability,
    Domain,
    Domains,
    Explanation,
    Key,
    Keys,
    Link,
    NewKey,
    Page,
    Tags,
)
from shared.client.words import OnConflict
from tests.dashboard.stack import Stack

Schema: TypeAlias = dict[str, Any]

ANSWERS: list[tuple[str, str, str, Any]] = [
    ("get", "/keys/current", "200", Key),
    ("get", "/keys", "200", Keys),
    ("post", "/keys", "201", NewKey),
    ("get", "/links", "200", Page),
    ("post", "/links", "201", Link),
    ("post", "/links", "200", Link),
    ("post", "/links/batch", "200", BatchResult),
    ("get", "/links/{code}", "200", Link),
    ("patch", "/links/{code}", "200", Link),
    ("get", "/links/{code}/decide", "200", Explanation),
    ("get", "/links/{code}/availability", "200", CodeAvailability),
    ("get", "/links/{code}/stats", "200", Stats),
    ("get", "/links/{code}/clicks", "200", Clicks),
    ("get", "/stats", "200", Stats),
    ("get", "/stats/recent", "200", Recent),
    ("get", "/domains", "200", Domains),
    ("get", "/domains/{domain}", "200", Domain),
    ("patch", "/domains/{domain}", "200", Domain),
    ("get", "/tags", "200", Tags),
    ("get", "/imports", "200", Imports),
    ("post", "/imports", "202", Import),
    ("get", "/imports/{import_id}", "200", Import),
    ("patch", "/imports/{import_id}", "202", Import),
    ("post", "/imports/{import_id}/start", "202", Import),
    ("delete", "/imports/{import_id}", "202", Import),
]
"""Method, path and status, and what the client reads the answer as."""

SENT = {
    "LinkIn": {*shorten.FIELDS, *COLUMN_FIELDS} - {"", "short_url", "has_password"},
    "LinkPatch": {*editor.FIELDS, *table.EDITABLE.values()},
    "KeyIn": set(keys.FIELDS),
    "DomainPatch": set(domains.FIELDS),
}
"""The fields that forms and lists send, by the schema that takes them."""


@pytest.fixture
def description(stack: Stack) -> Schema:
    """The `/openapi.json` of the running service."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(stack.socket)), base_url="http://links") as client:
        found: Schema = client.get("/openapi.json").json()
    return found


def test_answers_are_described(description: Schema) -> None:
    """Every field that the dashboard reads is in the answer, of a type that it reads, and both know the same values."""
    misfits = []
    for method, path, status, kind in ANSWERS:
        content = description["paths"][f"/api/v1{path}"][method]["responses"][status]["content"]
        read = TypeAdapter(kind).json_schema()
        sent = content["application/json"]["schema"]
        misfits += [f"{method} {path}{each}" for each in find_misfits(read, read, sent, description)]

    assert misfits == []


def test_every_answer_is_compared() -> None:
    """No type that the dashboard reads answers as is left out of the comparison."""
    types = {each for module in (counts, imports, results) for each in vars(module).values() if is_dataclass(each)}
    compared = {TypeAdapter(kind).json_schema()["title"] for *_, kind in ANSWERS}
    for *_, kind in ANSWERS:
        compared |= set(TypeAdapter(kind).json_schema().get("$defs", {}))

    assert {each.__name__ for each in types - {ImportOptions} if isinstance(each, type)} == compared


def test_options_of_an_import_are_taken(description: Schema) -> None:
    """Each option is a parameter of the API, and the values of conflicts are the same."""
    options = ImportOptions("f", "n", "skip", True, ("a",), "UTC", "utf-8", True, True, "https", "-").parameters()
    asked = {each["name"]: each["schema"] for each in description["paths"]["/api/v1/imports"]["post"]["parameters"]}

    assert {*options, "id"} == asked.keys() - {"Authorization"}
    assert set(asked["on_conflict"]["enum"]) == set(get_args(OnConflict))


def test_fields_that_are_sent_are_taken(description: Schema) -> None:
    """Each field of the forms, of the table and of a list's columns is one that the API takes."""
    for name, fields in SENT.items():
        assert fields <= set(description["components"]["schemas"][name]["properties"]), name


def test_every_value_has_its_words() -> None:
    """What the API can say or take of a kind is what the dashboard has a text for."""
    assert set(STATUS_CODES) == set(get_args(StatusCode))
    assert set(shorten.REASONS) == set(get_args(CodeRefusal))
    assert set(keys.SCOPES) == set(SCOPES)
    assert {"country", *view.TITLES} == set(Dimensions._fields)


def test_a_comparison_finds_what_is_wrong() -> None:
    """A field that is missing, may be missing, may be null, has another type, form or values: each is found."""
    read = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"enum": ["x", "y"]}}},
    }
    parts: Schema = {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}}
    good: Schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}, "b": parts}}
    wrong: list[tuple[str, Schema]] = [
        (".a is not sent", {"type": "object", "properties": {"b": parts}}),
        (".a may be left out", {"type": "object", "properties": good["properties"]}),
        (".a", good | {"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "b": parts}}),
        (".b[]", good | {"properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"enum": ["x"]}}}}),
        (" is array", parts),
    ]

    assert find_misfits(read, read, good, good) == []
    for told, sent in wrong:
        (found,) = find_misfits(read, read, sent, sent)
        assert found.startswith(told), found


def find_misfits(read: Schema | bool, reader: Schema, sent: Schema, sender: Schema, at: str = "") -> list[str]:
    """Compare what is read with what is sent.

    Args:
        read: The schema of the reader's type.
        reader: The document in which its references lead.
        sent: The schema of the answer.
        sender: The document in which its references lead.
        at: Where in the answer they are.

    Returns:
        What the reader would not understand.
    """
    if not isinstance(read, dict):
        # The schema `true`: anything is taken.
        return []
    accepted = alternatives(read, reader)
    misfits: list[str] = []
    for each in merge_objects(alternatives(sent, sender)):
        found: list[list[str]] = [_find_in_one(one, reader, each, sender, at) for one in accepted]
        least = min(found, key=len)
        misfits += least
    return misfits


def alternatives(schema: Schema, document: Schema) -> list[Schema]:
    """The schemas of which one is met, without references."""
    if "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return alternatives(found, document)
    options = schema.get("anyOf") or schema.get("oneOf")
    return [schema] if not options else [each for option in options for each in alternatives(option, document)]


def merge_objects(schemas: list[Schema]) -> list[Schema]:
    """Several kinds of objects as one that has the fields of all, and is sure of those that all require."""
    objects = [each for each in schemas if each.get("type") == "object"]
    if len(objects) < 2:
        return schemas
    names = {name for each in objects for name in each["properties"]}
    merged = {
        "type": "object",
        "properties": {
            name: {"anyOf": [each["properties"][name] for each in objects if name in each["properties"]]}
            for name in names
        },
        "required": set.intersection(*(set(each.get("required", ())) for each in objects)),
    }
    return [merged, *(each for each in schemas if each.get("type") != "object")]


def _find_in_one(read: Schema, reader: Schema, sent: Schema, sender: Schema, at: str) -> list[str]:
    if "enum" in read:
        return [] if set(read["enum"]) == set(sent.get("enum", ())) else [f"{at} is {sent}, read as {read['enum']}"]
    if read["type"] != sent.get("type") or read.get("format") not in (None, sent.get("format")):
        return [f"{at} is {sent.get('type')} {sent.get('format', '')}, read as {read['type']} {read.get('format', '')}"]
    if "items" in read:
        return find_misfits(read["items"], reader, sent["items"], sender, f"{at}[]")
    misfits = []
    if "additionalProperties" in read:
        misfits += find_misfits(read["additionalProperties"], reader, sent["additionalProperties"], sender, f"{at}.*")
    for name, field in read.get("properties", {}).items():
        if name not in sent.get("properties", {}):
            misfits.append(f"{at}.{name} is not sent")
            continue
        if name in read.get("required", ()) and name not in sent.get("required", ()):
            misfits.append(f"{at}.{name} may be left out")
        misfits += find_misfits(field, reader, sent["properties"][name], sender, f"{at}.{name}")
    return misfits
