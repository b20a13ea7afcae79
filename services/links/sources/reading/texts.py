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


def read_texts(file: File, *, keeps_wrong: bool = False) -> Iterator[str]:
    """Decode a file, block by block: by its byte order mark, else by the hint, else as UTF-8.

    Args:
        keeps_wrong: Let wrong bytes through, as lone surrogates. A dump has them in tables that nobody wants.

    Raises:
        UnusableFile: It is of another encoding, or no text; with the line.
    """
    decoder: _Decoder | None = None
    first = b""
    for block in file.blocks():
        if decoder is None:
            first += block
            if len(first) < 4:
                continue
            decoder, block = _Decoder(first, file, keeps_wrong=keeps_wrong), first  # noqa: PLW2901  # all of the beginning
        text = decoder.decode(block)
        if text:
            yield text
    if decoder is None:
        decoder = _Decoder(first, file, keeps_wrong=keeps_wrong)
        yield decoder.decode(first)
    yield decoder.decode(b"", final=True)


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


def wrong_bytes(line: int, encoding: str | None) -> UnusableFile:
    """The error of a line that is of another encoding."""
    name = (encoding or "utf-8").upper()
    advice = "" if name != "UTF-8" else " If it is from an old Windows program, say encoding=windows-1252."
    return UnusableFile(f"Line {line} has bytes that are no {name}.{advice}")


def shorten(text: str) -> str:
    """Return a row, or its beginning, as an error shows it."""
    return text if len(text) <= LONGEST_QUOTED else text[:LONGEST_QUOTED] + "…"


def _encoding_of(head: bytes, hint: str | None) -> str:
    if head.startswith((b"\x1f\x8b", b"PK\3\4")):
        raise UnusableFile(
            "Line 1: the file is compressed, or a workbook: unpack it, send it with `Content-Encoding: gzip`, "
            "or save it as CSV."
        )
    if head.startswith(b"PGDMP"):
        raise UnusableFile(
            "Line 1: the file is an archive of pg_dump: make SQL of it with `pg_restore -f FILE.sql FILE`."
        )
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


class _Decoder:
    """Decodes a file, and knows in which line it is."""

    def __init__(self, head: bytes, file: File, *, keeps_wrong: bool) -> None:
        self._encoding = _encoding_of(head, file.hints.encoding)
        self._decoder = codecs.getincrementaldecoder(self._encoding)()
        self._keeps_wrong = keeps_wrong
        self._feeds = self._returns = 0

    def decode(self, block: bytes, *, final: bool = False) -> str:
        try:
            text = self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            if not self._keeps_wrong or self._decoder.errors != "strict":
                before = error.object[: error.start].decode(self._encoding, "ignore")
                raise wrong_bytes(self._line + before.count("\n"), self._encoding) from None
            # A decoder that has failed is where it was before.
            self._decoder.errors = "surrogateescape"
            return self.decode(block, final=final)
        except UnicodeError:
            raise wrong_bytes(self._line, self._encoding) from None
        if "\0" in text:
            line = self._line + text.count("\n", 0, text.index("\0"))
            raise UnusableFile(f"Line {line} has a NUL: the file is no text, or UTF-16 without its byte order mark.")
        self._feeds += text.count("\n")
        self._returns += text.count("\r")
        return text

    @property
    def _line(self) -> int:
        return 1 + max(self._feeds, self._returns)
