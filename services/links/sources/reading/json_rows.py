"""Reads the objects of JSON as a stream: a list, a list inside of what an API answers, or one object a line.

Python's own parser reads one object at a time from a part of the file, so that memory holds a part alone; it is faster than a
parser of events, whose objects would be put together here.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from services.links.sources.found import File, Unusable
from services.links.sources.reading.texts import shorten
from services.links.sources.reading.windows import Window

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


class _Json(Window):
    """A file of JSON, of which a part is in memory."""

    def values(self) -> Iterator[Any]:
        """The rows of all values of the file, one after another."""
        while self._next():
            yield from self._rows(0)

    def _rows(self, depth: int) -> Iterator[Any]:
        """The rows of the value that begins here. One that is whole in memory is read at once."""
        letter = self.text[self.at]
        if letter == "[":
            yield from self._list()
            return
        if letter != "{":
            yield self._value()
            return
        try:
            value, end = _decoder.raw_decode(self.text, self.at)
        except (ValueError, RecursionError):
            yield from self._object(depth)
            return
        self.at = end
        yield from _unwrap(value, is_inside=depth > 0)

    def _list(self) -> Iterator[Any]:
        """The objects of a list; of answers that were put into a list, page by page, their rows."""
        self.at += 1
        while self._expect() != "]":
            value = self._value()
            pages = [value[name] for name in LISTS & value.keys()] if isinstance(value, dict) else []
            if len(pages) == 1 and isinstance(pages[0], list) and all(isinstance(each, dict) for each in pages[0]):
                yield from pages[0]
            else:
                yield value
        self.at += 1

    def _object(self, depth: int) -> Iterator[Any]:
        """An object that is longer than what is in memory: an answer with its rows, or a long row."""
        self.at += 1
        members: dict[str, Any] = {}
        has_rows = False
        while (letter := self._expect()) != "}":
            if letter != '"':
                self.fail("the file has no name where a member begins")
            name = self._value()
            if self._expect() != ":":
                self.fail("the file has no colon after the name of a member")
            self.at += 1
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
        self.at += 1
        if not has_rows:
            yield members

    def _value(self) -> Any:
        """Read a value that has to fit into memory."""
        while True:
            try:
                value, end = _decoder.raw_decode(self.text, self.at)
            except RecursionError:
                self.fail("the file has lists or objects in one another, too deep to be read")
            except ValueError as error:
                if self.is_whole:
                    self._refuse(error)
                self.need_more()
                continue
            if end < len(self.text) or self.is_whole:
                self.at = end
                return value
            self.read_more()

    def _next(self) -> bool:
        """Go to the next value; False at the end of the file."""
        while True:
            found = _blank(self.text, self.at)
            self.at = self.at if found is None else found.end()
            if self.at < len(self.text):
                return True
            if self.is_whole:
                return False
            self.read_more()

    def _expect(self) -> str:
        if not self._next():
            self.fail("the file ends in the middle")
        return self.text[self.at]

    def _refuse(self, error: ValueError) -> NoReturn:
        if isinstance(error, json.JSONDecodeError):
            if error.pos >= len(self.text) or error.msg.startswith("Unterminated"):
                self.fail("the file ends in the middle")
            self.at = error.pos
            self.fail(f"the file is no JSON: {error.msg}")
        self.fail("the file is no JSON: a number is too long")


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
