"""Makes the API's answers into frozen dataclasses, by the types of their fields.

It ignores fields that a newer release of the API adds. Fields that an older release does not have get their default.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

Reader = Callable[[Any], Any]


class NotUnderstood(ValueError):
    """An answer is of another form than its type."""


def read(kind: type[T], body: bytes) -> T:
    """Read an answer.

    Raises:
        NotUnderstood: The answer is of another kind.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise NotUnderstood("is no JSON") from None
    made: T = _reader(kind)(value)  # type: ignore[arg-type]  # a class is hashable
    return made


@cache
def _reader(kind: Any) -> Reader:
    """Return what makes a value of a type from JSON."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value: value
    if is_dataclass(kind):
        return _object_reader(kind)
    if kind is datetime:
        return _read_time
    if origin is Literal:
        return lambda value: value if value in inner else _refuse(value, kind)
    if origin in (Union, UnionType):
        return _union_reader(kind, [_reader(each) for each in inner])
    if origin in (tuple, list):
        each = _reader(inner[0])
        return lambda value: origin(map(each, value)) if isinstance(value, list) else _refuse(value, kind)
    if origin is dict:
        of_value = _reader(inner[1])
        return lambda value: (
            {name: of_value(member) for name, member in value.items()}
            if isinstance(value, dict)
            else _refuse(value, kind)
        )
    types = {float: (float, int), NoneType: (NoneType,)}.get(kind, (kind,))
    # In Python True is an int; in JSON it is none.
    return lambda value: (
        value if isinstance(value, types) and (kind is bool or not isinstance(value, bool)) else _refuse(value, kind)
    )


def _object_reader(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    members = [
        (each.name, _reader(hints[each.name]), each.default is MISSING and each.default_factory is MISSING)
        for each in fields(kind)
    ]

    def read_object(value: Any) -> Any:
        if not isinstance(value, dict):
            _refuse(value, kind)
        found = {}
        for name, reader, is_required in members:
            if name in value:
                found[name] = reader(value[name])
            elif is_required:
                raise NotUnderstood(f"{kind.__name__} has no {name}")
        return kind(**found)

    return read_object


def _union_reader(kind: Any, readers: list[Reader]) -> Reader:
    def read_one(value: Any) -> Any:
        for reader in readers:
            try:
                return reader(value)
            except NotUnderstood:
                continue
        return _refuse(value, kind)

    return read_one


def _read_time(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise NotUnderstood(f"{type(value).__name__} is no time") from None


def _refuse(value: Any, kind: Any) -> Any:
    raise NotUnderstood(f"{type(value).__name__} is no {kind}")
