"""Reads what a client of a foreign API sends: a query, and a form or JSON in the body. What nobody asks for is ignored.

The API of this site is stricter: there, a misspelt name is an error.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.formparsers import MultiPartException, MultiPartParser

from services.links.web.bodies import PARSED_AT_ONCE, check_entries, parse_json, read_body
from services.links.web.errors import FieldError, InvalidInput

LARGEST_FORM = 64 * 1024
"""Bytes: a target of 8,192 characters and a title, each byte of them percent-encoded."""

MOST_FIELDS = 100

_list_name = re.compile(r"(.+)\[[0-9]{0,3}\]", re.DOTALL).fullmatch
_not_utf8 = re.compile("[\udc80-\udcff]")


def read_query(request: Request) -> dict[str, str]:
    """Read the parameters of the query. The last of a name counts.

    Raises:
        InvalidInput: There are too many.
    """
    return dict(_split(request.scope["query_string"]))


def read_query_lists(request: Request) -> dict[str, list[str]]:
    """Read all values of each parameter. `name[]` and `name[0]`, as PHP writes lists, are `name`.

    Raises:
        InvalidInput: There are too many.
    """
    return _gather(_split(request.scope["query_string"]))


async def read_form(request: Request) -> dict[str, str]:
    """Read the fields of a form, urlencoded or in parts. Any other body has none.

    Raises:
        InvalidInput: There are too many, or the form is malformed.
        BodyTooLarge, BodyTooSlow: See `read_body`.
    """
    return dict(await _read_fields(request))


async def read_members(request: Request) -> dict[str, object]:
    """Read the members of a JSON object, or the fields of a form, of which `name[]` is a list. An empty body has none.

    Raises:
        InvalidInput, MalformedJson: The body is neither.
        BodyTooLarge, BodyTooSlow: See `read_body`.
    """
    if not _media_type(request).endswith("json"):
        fields = await _read_fields(request)
        lists = _gather((name, value) for name, value in fields if _list_name(name))
        return {**{name: value for name, value in fields if not _list_name(name)}, **lists}
    body = await read_body(request)
    if not body.strip():
        return {}
    value = parse_json(body) if len(body) <= PARSED_AT_ONCE else await asyncio.to_thread(parse_json, body)
    check_entries(value)
    if not isinstance(value, dict):
        raise InvalidInput(FieldError("body", "must be a JSON object"))
    return value


async def _read_fields(request: Request) -> list[tuple[str, str]]:
    media_type = _media_type(request)
    if media_type == "application/x-www-form-urlencoded":
        return _split(await read_body(request, LARGEST_FORM))
    if media_type == "multipart/form-data":
        return await _read_parts(request, await read_body(request, LARGEST_FORM))
    return []


async def _read_parts(request: Request, body: bytes) -> list[tuple[str, str]]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    # Files would be written to a folder.
    parser = MultiPartParser(request.headers, stream(), max_files=0, max_fields=MOST_FIELDS, max_part_size=LARGEST_FORM)
    try:
        form = await parser.parse()
    # A part's header names the encoding of its text.
    except (MultiPartException, KeyError, LookupError, UnicodeError):
        raise _malformed() from None
    return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


def _split(text: bytes) -> list[tuple[str, str]]:
    """Split what is urlencoded. A byte that is no UTF-8 stays what it was in the address: percent-encoded."""
    try:
        pairs = parse_qsl(
            text.decode("utf-8", "surrogateescape"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise _malformed() from None
    return [(_spell(name), _spell(value)) for name, value in pairs]


def _gather(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for name, value in pairs:
        found = _list_name(name)
        lists.setdefault(found[1] if found else name, []).append(value)
    return lists


def _spell(text: str) -> str:
    return _not_utf8.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", text)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _malformed() -> InvalidInput:
    return InvalidInput(FieldError("body", f"or the query is malformed, or has more than {MOST_FIELDS} fields"))
