"""What a search looks for: the text as it was typed, and how the same is spelled in what is stored.

A target is stored as browsers send it, in ASCII, but read and typed in letters; a short URL is nowhere stored, but copied.
`checks.py` asks here, and the statements in `rows.py` look for all of it.
"""

import re
import string
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

import ada_url

from shared.codes import TAIL_MARKS, TRAILING, spell_code

_KEPT = "".join(sorted(set(string.punctuation) - set('"<>`{}')))
"""Punctuation that a URL's path keeps; what the parser encodes beside it depends on the part."""

_address = re.compile(r"(https?://)?([^/?#]*)(.*)", re.DOTALL | re.IGNORECASE).fullmatch
_no_host = re.compile(r"[@\\\s]").search
_port = re.compile(r":[0-9]+$")
_leading_path = re.compile(r"/([^?#]+)").match


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; a link is found by any of it.

    Attributes:
        text: As typed: part of the code, the target or the title.
        targets: Parts of a target, as the text is spelled in one; the case of ASCII does not matter.
        domains, code: Of the short link, if the text is the address of one or begins like it.
    """

    text: str
    targets: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    code: str | None = None


def read_search(text: str) -> Search:
    """Find out what a text may mean; it is in the form NFC."""
    address = _address(text)
    assert address is not None, "any text is one"
    scheme, typed, rest = address.groups()
    host = _host(scheme or "https://", typed)
    targets = set() if scheme else {quote(each, safe=_KEPT).lower() for each in _spellings(text)}
    if host:
        targets |= {(host + quote(each, safe=_KEPT)).lower() for each in _spellings(rest)}
    targets.discard(text.lower())
    code = _leading_code(rest) if host else None
    if code is None:
        return Search(text, tuple(targets))
    name = _port.sub("", host)
    return Search(text, tuple(targets), tuple({name: None, name.removeprefix("www."): None}), code)


def _leading_code(path: str) -> str | None:
    """The code that a path is, or begins with."""
    found = _leading_path(path)
    if found is None:
        return None
    text = unquote(found[1])
    # A code with a mark at its end is found by what comes before.
    for part in (text.rstrip(TRAILING + TAIL_MARKS), text.partition("/")[0]):
        try:
            return spell_code(part)
        except ValueError:
            continue
    return None


def _host(scheme: str, text: str) -> str:
    """A host as a target has it, with a port that is not the scheme's own; empty for what is none."""
    if not text or _no_host(text):
        return ""
    try:
        return str(ada_url.parse_url(scheme + text, attributes=("host",))["host"]).rstrip(".")
    except ValueError:
        return ""


def _spellings(text: str) -> Iterator[str]:
    """What may have become of a text in a target.

    Letters outside of ASCII are percent-encoded and have no case there, so it is guessed; the normal form in which they
    were given stays.
    """
    if text.isascii():
        yield text
        return
    for cased in (text, text.lower(), text.upper(), text.title()):
        for form in ("NFC", "NFD"):
            yield unicodedata.normalize(form, cased)
