"""Decodes files. Every reader of text begins here, and a byte that is none of the encoding ends the file with its line."""

import codecs
import io
from collections.abc import Iterator
from functools import lru_cache

from services.links.sources.found import File, UnusableFile

LONGEST_LINE = 16 * 1024 * 1024
"""Characters of what is read as a whole: a line, a row or an object. A quote that nothing closes ends here."""

LONGEST_FIELD = 128 * 1024
"""Characters of a field; csv's own limit is the same. A longer one makes its row unusable, and the next one follows."""

LONGEST_QUOTED = 200
"""Characters of an unusable row that are shown."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_NO_ENCODINGS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})
"""Python has them for other ends."""


def read_texts(file: File) -> Iterator[str]:
    """Decode a file, block by block: by its byte order mark, else by the hint, else as UTF-8.

    Raises:
        UnusableFile: It is of another encoding, or no text; with the line.
    """
    decoder: codecs.IncrementalDecoder | None = None
    feeds, returns = 0, 0
    encoding, first = "", b""
    for block in file.blocks():
        if decoder is None:
            first += block
            if len(first) < 4:
                continue
            encoding = _encoding_of(first, file.hints.encoding)
            decoder, block = codecs.getincrementaldecoder(encoding)(), first  # noqa: PLW2901  # the beginning comes along
        text = _decode(decoder, block, encoding, 1 + max(feeds, returns))
        feeds, returns = _count(text, feeds, returns)
        if text:
            yield text
    if decoder is None:
        encoding = _encoding_of(first, file.hints.encoding)
        decoder = codecs.getincrementaldecoder(encoding)()
        yield _decode(decoder, first, encoding, 1)
    yield _decode(decoder, b"", encoding, 1 + max(feeds, returns), final=True)


@lru_cache(4)
def read_head(head: bytes) -> str:
    """Decode the beginning of a file to recognise it. What cannot be decoded is left for `read_texts` to refuse."""
    try:
        text = head.decode(_encoding_of(head, None), "replace")
    except UnusableFile:
        return ""
    return text.removeprefix("\ufeff")


def read_lines(file: File) -> Iterator[str]:
    """Split a file at LF, CRLF or CR, and nowhere else. Every line keeps its end.

    Raises:
        UnusableFile: A line has more than `LONGEST_LINE` characters.
    """
    rest, number = "", 1
    for text in read_texts(file):
        whole = rest + text
        # A return at the end may be the first half of CRLF.
        cut = 1 + max(whole.rfind("\n"), whole.rfind("\r", 0, -1))
        for line in io.StringIO(whole[:cut], newline=""):
            yield line
            number += 1
        rest = whole[cut:]
        if len(rest) > LONGEST_LINE:
            raise UnusableFile(f"Line {number} has more than {LONGEST_LINE:,} characters.")
    yield from io.StringIO(rest, newline="")


def shorten(text: str) -> str:
    """Return a row, or its beginning, as an error shows it."""
    return text if len(text) <= LONGEST_QUOTED else text[:LONGEST_QUOTED] + "…"


def _encoding_of(head: bytes, hint: str | None) -> str:
    if head.startswith((b"\x1f\x8b", b"PK\3\4")):
        raise UnusableFile("Line 1: the file is compressed: unpack it, or send it with `Content-Encoding: gzip`.")
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if hint is None:
        return "utf-8"
    try:
        name = codecs.lookup(hint).name
        # Codecs that turn bytes into other bytes are looked up, too, and say so here.
        b"    ".decode(name, "ignore")
    except (LookupError, ValueError):
        name = ""
    if name in _NO_ENCODINGS or not name:
        raise UnusableFile(f"{hint[:40]} is no encoding of text that is known here.")
    return name


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, encoding: str, line: int, *, final: bool = False) -> str:
    try:
        text = decoder.decode(block, final)
    except UnicodeError as error:
        before = b""
        if isinstance(error, UnicodeDecodeError):
            before = error.object[: error.start]
        line += before.decode(encoding, "ignore").count("\n")
        advice = "" if encoding != "utf-8" else " If it is from an old Windows program, say encoding=windows-1252."
        raise UnusableFile(f"Line {line} has bytes that are no {encoding.upper()}.{advice}") from None
    if "\0" in text:
        line += text.count("\n", 0, text.index("\0"))
        raise UnusableFile(f"Line {line} has a NUL: the file is no text, or UTF-16 without its byte order mark.")
    return text


def _count(text: str, feeds: int, returns: int) -> tuple[int, int]:
    return feeds + text.count("\n"), returns + text.count("\r")
