"""Makes links of what sources hold: places of short URLs, and texts, tags and numbers as the API takes them. What has to be
changed for that is said in a notice.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote

import ada_url

from services.links.sources.found import ROOT, FoundLink, Hints, Unusable
from services.links.sources.reading.texts import LONGEST_FIELD, shorten
from services.links.sources.reading.times import is_usable, read_creation, read_time, spell_time
from services.links.web.invisible import find_hidden
from services.links.web.texts import normalize
from shared.api import LONGEST_NOTES, LONGEST_TAG, LONGEST_TITLE, MOST_CLICKS, MOST_TAGS

ARCHIVED = "It is archived there, where archived links still lead to their targets."
LOCKED = "It has a password there, which the source does not tell: it comes switched off."

MOST_COUNTED = 2**53
MOST_REMOVED = 20
"""Hidden characters of a text that are taken out; one with more of them is left out."""

_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
_NO = frozenset({"", "0", "false", "f", "no", "n", "off", "null", "none"})

_grouped = re.compile(r"[,']|\.0$")
"""What is between digits; and the end that data frames write of a column with gaps."""

Row = TypeVar("Row", bound=tuple[Any, ...])
Found = TypeVar("Found")


def read_each(
    rows: Iterable[Row | Unusable], make: Callable[[Row], Iterable[Found | Unusable]]
) -> Iterator[Found | Unusable]:
    """Make something of each row; of one that raises ValueError, `Unusable`.

    A row begins with its line and ends with its values.
    """
    for row in rows:
        if isinstance(row, Unusable):
            yield row
            continue
        try:
            yield from make(row)
        except ValueError as error:
            yield Unusable(row[0], quote(row[-1]), str(error))


def quote(values: Mapping[str, Any]) -> str:
    """Show the values of a row in an error, but no password."""
    shown = (str(value)[:100] for name, value in values.items() if value not in (None, "") and "password" not in name)
    return shorten(", ".join(shown))


def make_link(
    line: int,
    hints: Hints,
    *,
    code: str,
    url: str,
    domain: str | None = None,
    short_url: str | None = None,
    created: str | None = None,
    clicks: object = None,
    bots: int | None = None,
    title: str | None = None,
    tags: Iterable[str] = (),
    notes: str | None = None,
    expires: str | None = None,
    begins: str | None = None,
    most: object = None,
    password_hash: str | None = None,
    fields: Mapping[str, object] | None = None,
    notices: Iterable[str] = (),
) -> FoundLink:
    """Make a link of the texts of a source.

    Raises:
        ValueError: Something of it cannot be read; the text says what.
    """
    url = url.strip()
    if not url:
        raise ValueError("has no target")
    told = list(notices)
    made: dict[str, object] = {}
    if title:
        made["title"] = clean_line(title, LONGEST_TITLE, "title", told)
    kept = clean_tags(tags, told)
    if kept:
        made["tags"] = kept
    if notes:
        made["notes"] = clean_lines(notes, told)
    for name, text in (("valid_from", begins), ("expires_at", expires)):
        moment = read_time(text, hints)
        if moment is not None and is_usable(moment):
            made[name] = spell_time(moment)
        elif moment is not None:
            told.append(f"Its {name} is {moment:%Y-%m-%d}, which is none.")
    limit = read_number(most, "limit of visits")
    if limit:
        made["max_clicks"] = min(limit, MOST_CLICKS)
    made = {name: value for name, value in made.items() if value}
    made.update(fields or {})
    return FoundLink(
        line,
        code,
        url,
        domain,
        short_url,
        read_creation(created, hints, told),
        read_number(clicks, "number of clicks"),
        bots,
        password_hash,
        made,
        tuple(told),
    )


def find_place(short_url: str) -> tuple[str | None, str]:
    """Find host and code of a short URL, with or without its scheme; of a code alone, the host is None."""
    text = short_url.strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        rest = scheme
    rest = rest.split("#", 1)[0].split("?", 1)[0]
    host, slash, path = rest.partition("/")
    if not separator and not ("." in host and slash):
        return None, decode_code(rest.strip("/")) or ROOT
    return clean_host(host), decode_code(path.strip("/")) or ROOT


def decode_code(code: str) -> str:
    """Undo the encoding of a code once."""
    if "%" not in code:
        return code
    try:
        return unquote(code, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("has a code whose percent encoding is no UTF-8") from None


def clean_host(text: str) -> str | None:
    """Spell a host as DNS does: in lower case, in ASCII, without port and user."""
    host = text.strip().lower().rpartition("@")[2]
    if not host.endswith("]"):
        host = host.partition(":")[0] if not host.startswith("[") else host.rpartition(":")[0]
    host = host.rstrip(".")
    if host.isascii():
        return host or None
    return ada_url.idna.encode(host).decode() or None


def clean_line(text: str, longest: int, what: str, notices: list[str]) -> str:
    """Make a text one line of so many characters, without characters that hide."""
    line = " ".join(text.split()) if not text.isprintable() else text.strip()
    line = _show(line, what, notices, str.isprintable)
    if len(line) > longest:
        notices.append(f"Its {what} is cut to {longest} characters.")
        line = line[:longest].strip()
    return line


def clean_lines(text: str, notices: list[str]) -> str:
    """Like `clean_line`, for notes."""
    lines = text.strip().replace("\r\n", "\n").replace("\r", "\n")
    parts = [_show(line, "notes", notices, str.isprintable) for line in lines.replace("\t", " ").split("\n")]
    notes = "\n".join(parts)
    if len(notes) > LONGEST_NOTES:
        notices.append(f"Its notes are cut to {LONGEST_NOTES} characters.")
        notes = notes[:LONGEST_NOTES].strip()
    return notes


def clean_tags(tags: Iterable[str], notices: list[str]) -> list[str]:
    """Drop empty and repeated tags, and those beyond the most that a link has."""
    kept = list(dict.fromkeys(clean_line(tag, LONGEST_TAG, "tag", notices) for tag in tags if tag.strip()))
    kept = [tag for tag in kept if tag]
    if len(kept) > MOST_TAGS:
        notices.append(f"It has {len(kept)} tags; the first {MOST_TAGS} are kept.")
        del kept[MOST_TAGS:]
    return kept


def read_number(value: object, what: str) -> int:
    """Read a number that is not below 0: 0 for nothing."""
    if value is None or value == "":
        return 0
    try:
        number = int(_grouped.sub("", value)) if isinstance(value, str) else int(value)  # type: ignore[call-overload]
    except (ValueError, TypeError, OverflowError):
        if isinstance(value, str) and value.strip().lower() in _NO:
            return 0
        raise ValueError(f"has a {what} that is none: {str(value)[:40]}") from None
    if not 0 <= number <= MOST_COUNTED:
        raise ValueError(f"has a {what} that cannot be: {number if abs(number) < 10**30 else 'it is too long'}")
    return int(number)


def read_flag(value: object, what: str) -> bool:
    """Read yes or no, in the ways that files spell it."""
    text = str(value).strip().lower() if value is not None else ""
    if text in _YES:
        return True
    if text in _NO:
        return False
    raise ValueError(f"has a {what} that is neither yes nor no: {text[:40]}")


def text_of(members: Mapping[str, Any], *names: str) -> str:
    """The first of some members of an object that is there, as text; empty if none is.

    Raises:
        ValueError: It is a list or an object.
    """
    for name in names:
        value = members.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, str):
            if len(value) > LONGEST_FIELD:
                raise ValueError(f"has a {name} of more than {LONGEST_FIELD:,} characters")
            return value
        if isinstance(value, bool | int | float):
            return str(value)
        raise ValueError(f"has a {name} that is no text")
    return ""


def texts_of(members: Mapping[str, Any], name: str, inner: str = "name") -> Sequence[str]:
    """A list of texts, or of objects that have them; a text alone is one of commas."""
    value = members.get(name)
    if value is None:
        return ()
    if isinstance(value, str):
        return value.split(",")
    if not isinstance(value, list):
        raise ValueError(f"has {name} that are no list")
    return [text_of(each, inner) if isinstance(each, dict) else text_of({name: each}, name) for each in value]


def object_of(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A member that is an object; empty if it is not there."""
    value = members.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"has a {name} that is no object")
    return value


def _show(text: str, what: str, notices: list[str], is_clean: Callable[[str], bool]) -> str:
    """Take out what hides."""
    if is_clean(text) and text.isascii():
        return text
    try:
        text = str(normalize(text))
    except ValueError:
        notices.append(f"Its {what} has letters with too many marks, and is left out.")
        return ""
    for _ in range(MOST_REMOVED):
        hidden = find_hidden(text)
        if hidden is None:
            return text.strip()
        text = text.replace(hidden, "")
        notices.append(f"Its {what} loses the invisible character U+{ord(hidden):04X}.")
    notices.append(f"Its {what} has too many invisible characters, and is left out.")
    return ""
