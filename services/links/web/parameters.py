"""Parameters in an address that are given more than once: only for a list that is more than one value.

Otherwise one would count and the other would be dropped without a word, and which one depends on the reader.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from fastapi import Request

from services.links.web.errors import FieldError, InvalidInput


async def refuse_repeats(request: Request) -> None:
    """Refuse a parameter that is given twice, unless the API's description says that it is a list.

    Raises:
        InvalidInput: It names each of them.
    """
    if b"&" not in request.scope["query_string"]:
        return
    counts = Counter(name for name, _ in request.query_params.multi_items())
    repeated = [name for name, count in counts.items() if count > 1]
    wrong = [name for name in repeated if name not in _lists(request)]
    if wrong:
        raise InvalidInput(*(FieldError(name, "must not be given more than once") for name in wrong))


def _lists(request: Request) -> set[str]:
    """The parameters of a route that are lists; what is not of the framework has none."""
    route = request.scope.get("route")
    if route is None:
        return set()
    methods: Mapping[str, Any] = request.app.openapi()["paths"].get(route.path_format, {})
    parameters = methods.get(request.method.lower(), {}).get("parameters", ())
    return {each["name"] for each in parameters if each["schema"].get("type") == "array"}
