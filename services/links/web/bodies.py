"""Reads request bodies: JSON by its media type, of bounded size, and without anything that JSON parsers read differently."""

import asyncio
import json
import math
from collections import Counter

from fastapi import Request

from services.links.web.errors import (
    BodyTooLarge,
    BodyTooSlow,
    FieldError,
    InvalidInput,
    MalformedJson,
    WrongContentType,
)

LARGEST_BODY = 384 * 1024
"""Bytes. The largest link has two targets of 8192 characters, a title of 512, 20 tags of 64, notes of 4000 and 16 KiB of rules.
It has 356 KiB if each character is written with escapes: a pair of them, of 12 bytes, or one of 6 in rules of ASCII."""

BODY_TIMEOUT_S = 15.0

PARSED_AT_ONCE = 16 * 1024
"""Bytes. Larger bodies are rare and parsed in a thread, because the worst of them take 11 ms."""

MOST_ENTRIES = 100
"""The most fields of an object, or entries of a list, in a body."""

LEVELS = 5
"""How deep a field of a model may be nested: a parameter of a condition of a rule, in a list of them."""

_LARGEST_WHOLE = 2**53
"""Below it every whole number is one float, so that `60.0` and `6e1` are 60 (RFC 8259, section 6)."""


async def read_json(request: Request) -> object:
    """Read a JSON body.

    Raises:
        WrongContentType: It does not say that it is JSON. A form of another site cannot say so.
        BodyTooLarge, BodyTooSlow, MalformedJson: See `read_body` and `parse_json`.
        InvalidInput: It has more fields, or a field has more entries, than anything here takes.
    """
    check_content_type(request)
    body = await read_body(request)
    value = parse_json(body) if len(body) <= PARSED_AT_ONCE else await asyncio.to_thread(parse_json, body)
    check_entries(value)
    return value


def check_content_type(request: Request) -> None:
    """Refuse, with `WrongContentType`, a body that does not say that it is JSON."""
    content_type = request.headers.get("content-type", "")
    if content_type != "application/json" and not _is_json(content_type.partition(";")[0].strip().lower()):
        raise WrongContentType("Send the body as application/json.")


async def read_body(
    request: Request, largest: int = LARGEST_BODY, deadline_s: float = BODY_TIMEOUT_S, *, name: str = "The body"
) -> bytes:
    """Read a body of bounded size. nginx passes it on while it comes.

    Args:
        request: The request.
        largest: The most bytes.
        deadline_s: The time for the whole body.
        name: The name of the body in errors.

    Raises:
        BodyTooLarge: The body is larger; the rest of it is not read.
        BodyTooSlow: It takes longer than the deadline.
    """
    chunks, size = [], 0
    try:
        async with asyncio.timeout(deadline_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > largest:
                    raise BodyTooLarge(f"{name} must not be larger than {largest} bytes.")
                chunks.append(chunk)
    except TimeoutError:
        raise BodyTooSlow(f"{name} took more than {deadline_s:g} seconds.") from None
    return b"".join(chunks)


def parse_json(body: bytes) -> object:
    """Parse UTF-8 JSON (RFC 8259) strictly; a number without a fraction is an int, however it is written.

    Raises:
        MalformedJson: It is no JSON, names a field twice, has NaN or an infinite number, half a surrogate pair or a byte
            order mark, or is nested too deeply.
    """
    if not body.strip():
        raise MalformedJson("The body is empty.")
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_number
        )
        if b"\\u" in body:
            # JSON can spell half a surrogate pair, but UTF-8 cannot.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise MalformedJson("The JSON is nested too deep.") from None
    except UnicodeError:
        raise MalformedJson("The JSON must be UTF-8 without half surrogate pairs.") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"{error.msg} at line {error.lineno}, column {error.colno}.") from None
    except ValueError as error:
        raise MalformedJson(f"{error}.") from None
    return value


def check_entries(value: object) -> None:
    """Refuse, with `InvalidInput`, an object with more fields, or a field with more entries in it, than any model has.

    Each unknown field would be a line of the answer, and a hundred thousand of them would take a tenth of a second.
    """
    if not isinstance(value, dict):
        return
    if len(value) > MOST_ENTRIES:
        raise InvalidInput(FieldError("body", f"must not have more than {MOST_ENTRIES} fields"))
    long = [name for name, each in value.items() if isinstance(each, dict | list) and _is_long(each)]
    if long:
        raise InvalidInput(*(FieldError(name, f"must not have more than {MOST_ENTRIES} entries") for name in long))


def _is_long(entries: dict[str, object] | list[object], levels: int = LEVELS) -> bool:
    """Whether an object or a list, or one within it, has too many entries."""
    if len(entries) > MOST_ENTRIES:
        return True
    inner = entries.values() if isinstance(entries, dict) else entries
    return levels > 1 and any(_is_long(each, levels - 1) for each in inner if isinstance(each, dict | list))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"The field {twice!r} is given twice")
    return fields


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _number(text: str) -> int | float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large for a number")
    return int(number) if number.is_integer() and abs(number) < _LARGEST_WHOLE else number


def _is_json(media_type: str) -> bool:
    """Match `application/json` and its kinds (RFC 6839), such as `application/merge-patch+json`. No form can be sent as one."""
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
