"""Chooses the media type of an answer from those that a route offers (RFC 9110, 12.5.1). FastAPI has nothing for this."""

import re
from collections.abc import Sequence

from services.links.web.errors import NotAcceptable

_name = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_quoted = re.compile(r'"(?:[^"\\]|\\.?)*(?:"|\Z)', re.DOTALL)
_range = re.compile(rf"\s*({_name})/({_name})\s*((?:;.*)?)", re.DOTALL).fullmatch
_weight = re.compile(r";\s*q=([^;\s]*)", re.IGNORECASE).search
_is_weight = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """Choose the offered media type that the client likes best.

    Args:
        accept: The request's `Accept`. None and an empty one accept any type.
        offered: Types without parameters, the server's favourite first.

    Returns:
        One of `offered`. Parameters other than `q` are ignored, and so is text that is no media range.

    Raises:
        NotAcceptable: The client accepts none of them.
    """
    if accept is None or not accept.strip():
        return offered[0]
    weights = _weights(accept)
    liked = [(_weight_of(each, weights), -place) for place, each in enumerate(offered)]
    weight, place = max(liked)
    if weight == 0:
        raise NotAcceptable(f"Here is {' or '.join(offered)}.")
    return offered[-place]


def _weights(accept: str) -> dict[str, float]:
    """Return each media range with its weight. A range that is named twice has the greater weight."""
    weights: dict[str, float] = {}
    for text in _quoted.sub("", accept).split(","):
        found = _range(text)
        if found is None:
            continue
        weight = _weight(found[3])
        if weight is not None and not _is_weight(weight[1]):
            continue
        name = f"{found[1]}/{found[2]}".lower()
        weights[name] = max(weights.get(name, 0.0), 1.0 if weight is None else float(weight[1]))
    return weights


def _weight_of(media_type: str, weights: dict[str, float]) -> float:
    """Return the weight of the most specific range that matches."""
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((weights[each] for each in ranges if each in weights), 0.0)
