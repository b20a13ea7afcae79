"""What a search looks for: the text as it was typed, and how the same is spelled in what is stored.

A target is stored as browsers send it, in ASCII, but read and typed in letters; a short URL is nowhere stored, but copied.
`link_checks.py` asks here, and the statements in `link_rows.py` look for all of it.
"""

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote

import ada_url

from shared.codes import CODE_PATTERN

_address = re.compile(r"(https?://)?([^/?#]*)(.*)", re.DOTALL | re.IGNORECASE).fullmatch
_no_host = re.compile(r"[@\\\s]").search
_port = re.compile(r":[0-9]+$")
_leading_code = re.compile(rf"/({CODE_PATTERN})(?![0-9A-Za-z_-])").match
_is_plain = re.compile(r"[0-9A-Za-z!#$&()*+,./:;=?@_~%-]*").fullmatch


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; a link is found by any of it.

    Attributes:
        text: As typed: part of the code, the target or the title.
        target: A regular expression of Postgres for the text within a target, where that is spelled in another way.
        domains, code: Of the short link, if the text is the address of one or begins like it.
    """

    text: str
    target: str | None = None
    domains: tuple[str, ...] = ()
    code: str | None = None


def read_search(text: str) -> Search:
    """Find out what a text may mean; it is in the form NFC."""
    address = _address(text)
    assert address is not None, "any text is one"
    scheme, typed, rest = address.groups()
    host = _host(scheme or "https://", typed)
    spellings = [] if _is_plain(text) else ["".join(map(_spellings, text))]
    if host and (scheme or host != typed.lower()):
        spellings.append(re.escape(host) + "".join(map(_spellings, rest)))
    target = "|".join(spellings) or None
    found = _leading_code(rest) if host else None
    if found is None:
        return Search(text, target)
    name = _port.sub("", host)
    return Search(text, target, tuple({name: None, name.removeprefix("www."): None}), found[1])


def _host(scheme: str, text: str) -> str:
    """A host as a target has it, with a port that is not the scheme's own; empty for what is none."""
    if not text or _no_host(text):
        return ""
    try:
        return str(ada_url.parse_url(scheme + text, attributes=("host",))["host"]).rstrip(".")
    except ValueError:
        return ""


def _spellings(character: str) -> str:
    """One character as it may be in a path or a query: as it is, or percent-encoded.

    A letter outside of ASCII has no case there, and a target keeps the normal form in which it was given.
    """
    if character.isascii():
        if character.isalnum():
            return character
        encoded = {re.escape(character), f"%{ord(character):02x}", *(("\\+",) if character == " " else ())}
    else:
        cased = {character, character.lower(), character.upper()}
        encoded = {quote(unicodedata.normalize(form, each)) for each in cased for form in ("NFC", "NFD")}
    return f"(?:{'|'.join(sorted(encoded))})"
