"""How an answer becomes a typed value, and what is none."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import pytest

from shared import api
from shared.client import words
from shared.client.reading import NotUnderstood, read


@dataclass(frozen=True)
class Leaf:
    kind: Literal["a", "b"]
    at: datetime | None = None


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    shares: dict[str, float]
    other: list[dict[str, Any]] | None
    count: int = 0


GOOD = b'{"leaves": [{"kind": "a", "at": "2030-01-02T03:04:05Z"}], "shares": {"x": 1}, "other": [{"y": [1]}], "new": 1}'


def test_an_answer_is_read_by_its_types() -> None:
    """Objects, lists, times and numbers get their types; what is new is ignored, what is left out has its default."""
    assert read(Tree, GOOD) == Tree((Leaf("a", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),), {"x": 1}, [{"y": [1]}], 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[" * 100_000,
        b"[]",
        b'{"leaves": [], "shares": {}}',
        b'{"leaves": {}, "shares": {}, "other": null}',
        b'{"leaves": [{"kind": "c"}], "shares": {}, "other": null}',
        b'{"leaves": [{"kind": "a", "at": "soon"}], "shares": {}, "other": null}',
        b'{"leaves": [], "shares": {"x": "1"}, "other": null}',
        b'{"leaves": [], "shares": {}, "other": null, "count": true}',
        b'{"leaves": [], "shares": {}, "other": null, "count": 1.5}',
        b"\xff",
    ],
)
def test_what_has_another_form_is_not_understood(body: bytes) -> None:
    """A value of another type is an error of its own kind, however deep it is."""
    with pytest.raises(NotUnderstood):
        read(Tree, body)


@pytest.mark.parametrize("name", ["Scope", "LinkState", "Sort", "Bots", "Interval"])
def test_words_are_those_of_the_service(name: str) -> None:
    """The client repeats the words of the API, because it is installed without it; they are the same."""
    assert get_args(getattr(words, name)) == get_args(getattr(api, name))
    assert words.UNKNOWN == api.UNKNOWN
