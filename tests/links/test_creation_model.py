"""Creations of every kind against a model: a dictionary that says what each request makes, finds or is refused."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.links.conftest import ClientOf

LINKS = "/api/v1/links"
MEANT = {"": None, "a\u0308": "\u00e4", "HTTPS://WWW.example.com/a": "https://www.example.com/a"}
"""How a text is stored that is spelled otherwise."""


@dataclass(frozen=True)
class Wanted:
    """What one creation asks for; `fields` as the API takes them."""

    fields: dict[str, Any]
    code: str | None = None
    find_existing: bool = False

    @property
    def body(self) -> dict[str, Any]:
        code = {} if self.code is None else {"code": self.code}
        return {**self.fields, **code, "find_existing": self.find_existing}

    @property
    def likeness(self) -> tuple[object, ...]:
        meant = {name: MEANT.get(value, value) for name, value in self.fields.items() if name != "tags"}
        given = {name: value for name, value in meant.items() if value is not None}
        return frozenset(self.fields.get("tags", ())), *sorted(given.items())


@dataclass(frozen=True)
class Request:
    """Creations of one owner: together in a batch, or one request for each, perhaps with a key to repeat it."""

    owner: str
    rows: list[Wanted]
    is_batch: bool
    has_key: bool = False


@dataclass(frozen=True)
class ModelEdit:
    """An edit of the title, or without one a deletion, of one of the links that were made."""

    number: int
    title: str | None


@dataclass(frozen=True)
class ModelLink:
    """What the model knows of a link: nothing but its code, once it is deleted."""

    owner: str
    wanted: Wanted | None
    made_by: int


@dataclass
class Model:
    """All links by their codes; those of one request are in the order in which it asked for them."""

    links: dict[str, ModelLink] = field(default_factory=dict)

    def answer(self, owner: str, wanted: Wanted, request: int) -> tuple[int, set[str]]:
        """Tell the status of a creation, and the codes of which its link may have one; none for a code to be drawn."""
        if not wanted.fields["url"].lower().startswith("https"):
            return 422, set()
        alike = [
            code
            for code, known in self.links.items()
            if known.owner == owner and known.wanted is not None and known.wanted.likeness == wanted.likeness
        ]
        if wanted.find_existing and wanted.code is not None and wanted.code in alike:
            return 200, {wanted.code}
        if wanted.find_existing and wanted.code is None and alike:
            oldest = self.links[alike[0]].made_by
            # Which of a request's links is the oldest is its own affair, once it is over.
            return 200, {code for code in alike if self.links[code].made_by == oldest < request} or {alike[0]}
        if wanted.code is not None:
            return (409, set()) if wanted.code in self.links else (201, {wanted.code})
        return 201, set()

    def check(self, owner: str, wanted: Wanted, request: int, status: int, link: dict[str, Any] | None) -> None:
        """Compare an answer with the model's own, and remember a link that was made."""
        expected, codes = self.answer(owner, wanted, request)
        assert status == expected, (wanted, status, expected)
        assert (link is not None) == (status < 300)
        if link is None:
            return
        assert link["code"] in codes if codes else link["code"] not in self.links, (wanted, link)
        assert link["owner"] == owner
        if status == 201:
            self.links[link["code"]] = ModelLink(owner, wanted, request)


def respell(fields: dict[str, Any]) -> dict[str, Any]:
    """The same fields, spelled otherwise."""
    spelled = {meant: text for text, meant in MEANT.items()}
    return {
        name: [*reversed(value), *value] if isinstance(value, list) else spelled.get(value, value)
        for name, value in fields.items()
    }


FIELDS = st.fixed_dictionaries(
    {"url": st.sampled_from(["https://www.example.com/a", "https://b.example/"])},
    optional={"title": st.sampled_from(["t", None, "\u00e4"]), "tags": st.sampled_from([["a", "b"], ["a"], []])},
)
RARE: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        *[{}] * 10,
        {"status_code": 301},
        {"cache_control": 60},
        {"valid_from": "2031-01-01T00:00:00Z"},
        {"expires_at": "2031-01-01T00:00:00Z"},
        {"expired_url": "https://www.example.com/"},
        {"enabled": False},
        {"forward_query": True},
        {"url": "ftp://www.example.com/"},
    ]
)


def wanted_from(fields: list[dict[str, Any]]) -> st.SearchStrategy[Wanted]:
    """Creations with some of these fields, so that many of them are the same."""
    return st.builds(
        Wanted,
        st.builds(
            lambda common, rare, is_respelled: {**(respell(common) if is_respelled else common), **rare},
            st.sampled_from(fields),
            RARE,
            st.booleans(),
        ),
        st.sampled_from([None, None, "one", "two", "One"]),
        st.sampled_from([True, True, False]),
    )


def steps_with(wanted: st.SearchStrategy[Wanted]) -> st.SearchStrategy[list[Request | ModelEdit]]:
    owners, rows = st.sampled_from(["alice", "alice", "bob"]), st.lists(wanted, min_size=1, max_size=8)
    requests = st.builds(Request, owners, rows, st.booleans(), st.booleans())
    changes = st.builds(ModelEdit, st.integers(0, 20), st.sampled_from(["t", None]))
    return st.lists(st.one_of(requests, requests, changes), min_size=3, max_size=6)


STEPS = st.lists(FIELDS, min_size=1, max_size=2).map(wanted_from).flatmap(steps_with)
_examples = itertools.count()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_every_creation_does_what_the_model_says(client_with: ClientOf, steps: list[Request | ModelEdit]) -> None:
    """Alone, with a key, or in a batch, a creation makes, finds or is refused what a dictionary of links tells."""
    example = next(_examples)
    clients = {owner: await client_with(f"{owner}{example}") for owner in ("alice", "bob")}
    model = Model()
    for number, step in enumerate(steps):
        if isinstance(step, ModelEdit):
            await change(clients, model, step)
            continue
        rows = [replace(row, code=row.code and f"{row.code}-{example}") for row in step.rows]
        answers = await create(clients[step.owner], rows, step, f"{example}-{number}")
        for place, (row, (status, link)) in enumerate(zip(rows, answers, strict=True)):
            # Requests of their own are older the earlier they come.
            made_by = number * 100 + (0 if step.is_batch else place)
            model.check(f"{step.owner}{example}", row, made_by, status, link)


async def create(
    client: httpx.AsyncClient, rows: list[Wanted], step: Request, key: str
) -> list[tuple[int, dict[str, Any] | None]]:
    """Send creations as the step wants it; the status of each, and its link."""
    headers = {"Idempotency-Key": key} if step.has_key else {}
    if step.is_batch:
        response = await client.post(f"{LINKS}/batch", json={"links": [row.body for row in rows]}, headers=headers)
        return [(result["status"], result.get("link")) for result in response.json()["results"]]
    answers = []
    for place, row in enumerate(rows):
        each = {name: f"{value}-{place}" for name, value in headers.items()}
        response = await client.post(LINKS, json=row.body, headers=each)
        answers.append((response.status_code, response.json() if response.is_success else None))
    return answers


async def change(clients: dict[str, httpx.AsyncClient], model: Model, step: ModelEdit) -> None:
    """Edit or delete a link, by the API and in the model."""
    if not model.links:
        return
    code = list(model.links)[step.number % len(model.links)]
    known = model.links[code]
    client = clients[known.owner.rstrip("0123456789")]
    response = await (
        client.delete(f"{LINKS}/{code}")
        if step.title is None
        else client.patch(f"{LINKS}/{code}", json={"title": step.title})
    )
    if known.wanted is None:
        assert response.status_code == 404
        return
    assert response.is_success
    edited = replace(known.wanted, fields={**known.wanted.fields, "title": step.title})
    model.links[code] = replace(known, wanted=None if step.title is None else edited)
