"""Checks the parameters in an address: a route takes those that it declares, and each once unless it is a list.

FastAPI ignores the others: a misspelt filter would do nothing, and only one of two values would count.
"""

from collections import Counter
from collections.abc import Iterator
from typing import get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from services.links.web.errors import LONGEST_NAME, UNKNOWN_FIELD, FieldError, InvalidInput


class Parameters:
    """The parameters that a route declares.

    Args:
        declared: FastAPI's reading of the route's endpoint.
    """

    def __init__(self, declared: Dependant) -> None:
        self._declared = dict(_parameters(declared))
        # A model that forbids unknown fields names them itself, together with the other errors.
        self._is_open = not any(_model(field.field_info.annotation) for field in declared.query_params)

    def check(self, request: Request) -> None:
        """Refuse parameters that the route does not declare, and those that come twice and are no list.

        Raises:
            InvalidInput: The error names each of them.
        """
        if not request.scope["query_string"]:
            return
        counts = Counter(name for name, _ in request.query_params.multi_items())
        errors = [
            FieldError(name[:LONGEST_NAME], "must not be given more than once")
            for name, count in counts.items()
            if count > 1 and not self._declared.get(name, False)
        ]
        if not errors and self._is_open:
            errors = [FieldError(name[:LONGEST_NAME], UNKNOWN_FIELD) for name in counts if name not in self._declared]
        if errors:
            raise InvalidInput(*errors)


def _parameters(declared: Dependant) -> Iterator[tuple[str, bool]]:
    """Return the parameters by their names in an address, and whether each is a list."""
    for each in declared.dependencies:
        yield from _parameters(each)
    for field in declared.query_params:
        model = _model(field.field_info.annotation)
        if model is None:
            yield field.alias, get_origin(field.field_info.annotation) is list
        else:
            for name, of_model in model.model_fields.items():
                yield of_model.alias or name, get_origin(of_model.annotation) is list


def _model(annotation: object) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
