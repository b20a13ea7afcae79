"""Reads the values of SQL: strings with the escapes of each database, numbers, hexadecimals, and what dumps write besides."""

import re
from collections.abc import Callable
from typing import NamedTuple

_mysql = re.compile(
    r"^-- (?:MySQL|MariaDB) dump|^-- phpMyAdmin|^-- Adminer|^/\*!4|\bENGINE ?=|"
    r"^ *(?:INSERT|REPLACE|CREATE|DROP|LOCK|ALTER)[A-Z ]*`",
    re.MULTILINE,
).search
_standard = re.compile(
    r"^-- PostgreSQL database dump|^SET standard_conforming_strings = on|^COPY .* FROM stdin|INTO \"?public\"?\.|"
    r"^PRAGMA foreign_keys|\bAUTOINCREMENT\b|^BEGIN TRANSACTION;",
    re.MULTILINE,
).search

_MYSQL_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}
_POSTGRES_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

_mysql_escape = re.compile(r"\\(.)|''|\"\"", re.DOTALL)
_postgres_escape = re.compile(
    r"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))|''", re.DOTALL
)
_unistr_escape = re.compile(r"\\(?:\\|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-9A-Fa-f]{4})|\+([0-9A-Fa-f]{6}))")

_BLANK = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*+"
_blank = re.compile(_BLANK, re.DOTALL).match
_escaped_string = re.compile(r"'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'(?!')", re.DOTALL).match
_plain_string = re.compile(r"'[^']*+(?:''[^']*+)*+'(?!')", re.DOTALL).match
_double_string = re.compile(r'"[^"\\]*+(?:(?:\\.|"")[^"\\]*+)*+"(?!")', re.DOTALL).match
_prefix = re.compile(r"_[a-z0-9]+\s*(?=['\"0xX])|[EeNnXxBb](?=')").match
_bare = re.compile(r"0[xX][0-9A-Fa-f]+|[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?|[A-Za-z_][A-Za-z0-9_]*").match
_cast = re.compile(
    r"\s*::\s*(?:\"[^\"]+\"|[\w. ]+?)(?:\([0-9, ]*\))?(?:\[\])?(?=\s*[,)])|\s+COLLATE\s+[\w.\"]+", re.IGNORECASE
).match


class MoreNeeded(Exception):
    """The value goes on behind what is there of the file."""


class Dialect(NamedTuple):
    """Attributes:
    has_backslashes: In `'…'` a backslash escapes, as in MySQL. Elsewhere it is a letter.
    string: An expression for `'…'`.
    """

    has_backslashes: bool
    string: str

    def read(self, raw: str) -> str | None:
        """Read a value as a dump of this database nearly always has it."""
        if raw[0] == "'":
            return self.unescape(raw[1:-1])
        if raw[0] == "_":
            return self.unescape(raw.partition("'")[2][:-1])
        if raw[:2] in ("0x", "0X"):
            return from_hex(raw[2:])
        return None if raw[0] in "nN" else raw

    def unescape(self, text: str) -> str:
        if self.has_backslashes and "\\" in text:
            return _mysql_escape.sub(_unescape_mysql, text)
        return text.replace("''", "'") if "''" in text else text


MYSQL = Dialect(True, r"'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'")
STANDARD = Dialect(False, r"'[^']*+(?:''[^']*+)*+'")


def find_dialect(head: str) -> Dialect:
    """Tell by the beginning of a dump what a backslash is in it. Without a sign it is MySQL's escape."""
    mysql, standard = _mysql(head), _standard(head)
    if standard is None:
        return MYSQL
    # Rows may hold what looks like a sign: the first one counts.
    return STANDARD if mysql is None or standard.start() < mysql.start() else MYSQL


def row_expression(dialect: Dialect, columns: int) -> re.Pattern[str]:
    """An expression for a whole row, and what follows it. It fails at rows that need `read_row`."""
    number = r"0[xX][0-9A-Fa-f]+|[-+]?[0-9][0-9.]*+(?:[eE][-+]?[0-9]+)?"
    value = rf"\s*+((?i:NULL|TRUE|FALSE)|(?:_binary )?+{dialect.string}|{number})\s*+"
    return re.compile(rf"\s*+\({','.join([value] * columns)}\)\s*+([,;])", re.DOTALL)


def read_row(text: str, at: int, dialect: Dialect, *, is_whole: bool) -> tuple[list[str | None] | str, int]:
    """Read a row that begins with a bracket.

    Args:
        is_whole: Nothing follows the text.

    Returns:
        Its values, or why it is none; and where it ends.

    Raises:
        MoreNeeded: The row does not end in the text.
        ValueError: Here is no row.
    """
    if text[at : at + 1] != "(":
        raise ValueError("has no row here")
    values: list[str | None] = []
    at += 1
    reason = None
    while True:
        at = _skip_blank(text, at)
        start = at
        try:
            value, at = _read_value(text, at, dialect)
            values.append(value)
        except _Expression as error:
            reason = str(error)
            at = _end_of_expression(text, start, dialect)
        cast = _cast(text, at)
        at = _skip_blank(text, at if cast is None else cast.end())
        if at >= len(text) - (0 if is_whole else 1):
            raise MoreNeeded
        if text[at] == ")":
            return (values if reason is None else reason), at + 1
        if text[at] != ",":
            reason = reason or f"has {text[at : at + 20]!r} where a comma belongs"
            at = _end_of_expression(text, at, dialect)
            if text[at] == ")":
                return reason, at + 1
        at += 1


def from_hex(digits: str) -> str:
    """Read a hexadecimal number as text, as dumps of binary columns have it."""
    try:
        return bytes.fromhex(digits).decode()
    except ValueError:
        raise ValueError("has bytes that are no UTF-8") from None


def unescape_copy(text: str) -> str:
    """Unescape a cell of pg_dump's COPY (PostgreSQL, COPY, text format)."""
    return _postgres_escape.sub(_unescape_postgres, text)


class _Expression(ValueError):
    pass


def _skip_blank(text: str, at: int) -> int:
    found = _blank(text, at)
    return at if found is None else found.end()


def _read_value(text: str, at: int, dialect: Dialect) -> tuple[str | None, int]:
    prefix = _prefix(text, at)
    kind = "" if prefix is None else prefix[0].strip().upper()
    start = at if prefix is None else prefix.end()
    quote = text[start : start + 1]
    if not quote:
        raise MoreNeeded
    if quote in "'\"":
        return _read_string(text, start, dialect, kind)
    found = _bare(text, start)
    if found is None:
        raise _Expression(f"has {text[start : start + 20]!r} where a value belongs")
    if found.end() == len(text):
        raise MoreNeeded
    word = found[0]
    if word[:2] in ("0x", "0X"):
        return _checked(from_hex, word[2:]), found.end()
    if not word[0].isalpha() and word[0] != "_":
        return word, found.end()
    if word.upper() in ("NULL", "DEFAULT"):
        return None, found.end()
    if word.upper() in ("TRUE", "FALSE"):
        return word.lower(), found.end()
    return _read_call(text, found.end(), dialect, word.lower())


def _read_string(text: str, at: int, dialect: Dialect, kind: str) -> tuple[str, int]:
    is_escaped = dialect.has_backslashes or kind == "E"
    match = _double_string if text[at] == '"' else _escaped_string if is_escaped else _plain_string
    found = match(text, at)
    if found is None or found.end() == len(text):
        raise MoreNeeded
    inside = found[0][1:-1]
    if kind == "X":
        return _checked(from_hex, inside), found.end()
    if kind == "B":
        return str(int(inside or "0", 2)) if set(inside) <= {"0", "1"} else inside, found.end()
    if kind == "E" and not dialect.has_backslashes:
        return unescape_copy(inside), found.end()
    if text[at] == '"' and not dialect.has_backslashes:
        return inside.replace('""', '"'), found.end()
    return dialect.unescape(inside), found.end()


def _read_call(text: str, at: int, dialect: Dialect, name: str) -> tuple[str, int]:
    """SQLite's `.dump` writes a newline as `replace('a\\nb','\\n',char(10))`, or by unistr. Nothing else is understood."""
    at = _skip_blank(text, at)
    if text[at : at + 1] == "" and at >= len(text):
        raise MoreNeeded
    if text[at] != "(" or name not in ("replace", "char", "unistr"):
        raise _Expression(f"has the expression {name!r}, and nothing of a file is computed")
    values, end = read_row(text, at, dialect, is_whole=False)
    if isinstance(values, str):
        raise _Expression(values)
    match name, values:
        case "replace", [str(whole), str(old), str(new)] if old and whole.count(old) * len(new) <= len(text):
            return whole.replace(old, new), end
        case "char", [str(number)] if number.isdecimal() and int(number) < 0x110000:
            return chr(int(number)), end
        case "unistr", [str(whole)]:
            return _unistr_escape.sub(_unescape_unistr, whole), end
    raise _Expression(f"has the expression {name!r}, and nothing of a file is computed")


def _end_of_expression(text: str, at: int, dialect: Dialect) -> int:
    """Find the comma or bracket after an expression."""
    depth = 0
    while at < len(text):
        letter = text[at]
        if letter in "'\"":
            match = _double_string if letter == '"' else _escaped_string if dialect.has_backslashes else _plain_string
            found = match(text, at)
            if found is None:
                raise MoreNeeded
            at = found.end()
            continue
        if depth == 0 and letter in ",)":
            return at
        depth += (letter == "(") - (letter == ")")
        at += 1
    raise MoreNeeded


def _checked(read: Callable[[str], str], text: str) -> str:
    try:
        return read(text)
    except ValueError as error:
        raise _Expression(str(error)) from None


def _unescape_mysql(found: re.Match[str]) -> str:
    escaped = found[1]
    return found[0][0] if escaped is None else _MYSQL_ESCAPES.get(escaped, escaped)


def _unescape_postgres(found: re.Match[str]) -> str:
    hexadecimal, octal, short, long, letter = found.groups()
    if letter is not None:
        return _POSTGRES_ESCAPES.get(letter, letter)
    if octal is not None:
        return chr(int(octal, 8) & 0xFF)
    digits = hexadecimal or short or long
    return "'" if digits is None else _character(digits)


def _unescape_unistr(found: re.Match[str]) -> str:
    digits = found[1] or found[2] or found[3] or found[4]
    return "\\" if digits is None else _character(digits)


def _character(digits: str) -> str:
    number = int(digits, 16)
    return chr(number) if number < 0x110000 else "\ufffd"
