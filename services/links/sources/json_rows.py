"""Reads the objects of JSON as a stream: a list, a list inside of what an API answers, or one object a line.

Python's own parser reads one object at a time from a part of the file, so that memory holds a part alone; it is faster than a
parser of events, whose objects would be put together here.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from services.links.sources.found import File, Unusable, UnusableFile
from services.links.sources.texts import LONGEST_LINE, read_texts, shorten

READ_CHARACTERS = 256 * 1024

LISTS = frozenset({"data", "links", "shortUrls", "visits", "items", "results", "result", "urls"})
"""Members of an answer that hold its rows, or another answer."""

MOST_ANSWERS = 4
"""In one another."""

PULLED = frozenset({"source", "base"})
"""The members of the first line of a file that `tinyurl import URL` has written."""

PULLED_SO_FAR = frozenset({"so_far"})
"""The member of a line from which it goes on."""

_blank = re.compile(r"[\s,\x1e]*+").match
_decoder = json.JSONDecoder(strict=False)
"""Not strict about controls in texts: Bitly sends them."""


class JsonRow(NamedTuple):
    """An object: its number, from 1, and its members."""

    number: int
    members: dict[str, Any]


def read_json(file: File) -> Iterator[JsonRow | Unusable]:
    """Read all objects of a file.

    Raises:
        UnusableFile: It is cut, or no JSON.
    """
    for number, value in enumerate(_Json(file).values(), 1):
        if isinstance(value, dict):
            if value.keys() not in (PULLED, PULLED_SO_FAR):
                yield JsonRow(number, value)
        else:
            yield Unusable(number, shorten(str(value)), "is no object")


class _Json:
    """A file of JSON, of which a part is in memory."""

    def __init__(self, file: File) -> None:
        self._texts = read_texts(file)
        self._text = ""
        self._at = 0
        self._line = 1
        self._is_whole = False

    def values(self) -> Iterator[Any]:
        """The rows of all values of the file, one after another."""
        while self._next():
            yield from self._rows(0)

    def _rows(self, depth: int) -> Iterator[Any]:
        """The rows of the value that begins here. One that is whole in memory is read at once."""
        letter = self._text[self._at]
        if letter == "[":
            yield from self._list()
            return
        if letter != "{":
            yield self._value()
            return
        try:
            value, end = _decoder.raw_decode(self._text, self._at)
        except (ValueError, RecursionError):
            yield from self._object(depth)
            return
        self._at = end
        yield from _unwrap(value, is_inside=depth > 0)

    def _list(self) -> Iterator[Any]:
        self._at += 1
        while self._expect() != "]":
            yield self._value()
        self._at += 1

    def _object(self, depth: int) -> Iterator[Any]:
        """An object that is longer than what is in memory: an answer with its rows, or a long row."""
        self._at += 1
        members: dict[str, Any] = {}
        has_rows = False
        while (letter := self._expect()) != "}":
            if letter != '"':
                self._fail("has no name where a member begins")
            name = self._value()
            if self._expect() != ":":
                self._fail("has no colon after the name of a member")
            self._at += 1
            opening = self._expect()
            if name in LISTS and opening in "[{" and depth < MOST_ANSWERS:
                has_rows = True
                yield from self._rows(depth + 1)
            else:
                members[name] = self._value()
                if depth and isinstance(members[name], dict):
                    # YOURLS numbers its links: {"link_1": {…}}.
                    has_rows = True
                    yield members.pop(name)
        self._at += 1
        if not has_rows:
            yield members

    def _value(self) -> Any:
        """Read a value that has to fit into memory."""
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._at)
            except RecursionError:
                self._fail("has lists or objects in one another, too deep to be read")
            except ValueError as error:
                if self._is_whole:
                    self._refuse(error)
                self._need()
                continue
            if end < len(self._text) or self._is_whole:
                self._at = end
                return value
            self._more()

    def _next(self) -> bool:
        """Go to the next value; False at the end of the file."""
        while True:
            found = _blank(self._text, self._at)
            self._at = self._at if found is None else found.end()
            if self._at < len(self._text):
                return True
            if self._is_whole:
                return False
            self._more()

    def _expect(self) -> str:
        if not self._next():
            self._fail("ends in the middle")
        return self._text[self._at]

    def _need(self) -> None:
        if len(self._text) - self._at > LONGEST_LINE:
            self._fail(f"has a value of more than {LONGEST_LINE:,} characters, or is no JSON")
        self._more()

    def _more(self) -> None:
        """Let go of what is read, and read as much as is left, so that a long value is not read again and again."""
        self._line += self._text.count("\n", 0, self._at)
        rest = self._text[self._at :]
        parts, size, wanted = [rest], 0, max(READ_CHARACTERS, len(rest))
        for text in self._texts:
            parts.append(text)
            size += len(text)
            if size >= wanted:
                break
        else:
            self._is_whole = True
        self._text, self._at = "".join(parts), 0

    def _refuse(self, error: ValueError) -> NoReturn:
        if isinstance(error, json.JSONDecodeError):
            if error.pos >= len(self._text) or error.msg.startswith("Unterminated"):
                self._fail("ends in the middle")
            self._at = error.pos
            self._fail(f"is no JSON: {error.msg}")
        self._fail("is no JSON: a number is too long")

    def _fail(self, reason: str) -> NoReturn:
        line = self._line + self._text.count("\n", 0, self._at)
        raise UnusableFile(f"Line {line}: the file {reason}.")


def _unwrap(value: dict[str, Any], *, is_inside: bool) -> Iterator[Any]:
    """The rows of an answer; or the object itself, if it holds none."""
    has_rows = False
    for name, inner in value.items():
        if name not in LISTS:
            continue
        if isinstance(inner, list):
            has_rows = True
            yield from inner
        elif isinstance(inner, dict):
            has_rows = True
            yield from _unwrap(inner, is_inside=True)
    if has_rows:
        return
    inner_rows = [each for each in value.values() if isinstance(each, dict)] if is_inside else []
    if inner_rows and len(inner_rows) == len(value):
        yield from inner_rows
    else:
        yield value
