"""Decodes the bytes of a file. UTF-8 and UTF-16 are recognised by their form, and everything else is Windows-1252.

`parsing.py` reads links from the text. Files that are no text are refused, and the error names their kind.
"""

import codecs
import re

LARGEST_FILE_BYTES = 5 * 2**20

WINDOWS_1252 = "Windows-1252"

_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8 with a byte order mark"),
    # This mark comes before that of UTF-16, because it begins with it.
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)

_SIGNATURES = (
    (b"PK\x03\x04", "a spreadsheet (xlsx, ods) or a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old spreadsheet (xls)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF-", "a PDF"),
    (b"{\\rtf", "a text document (rtf)"),
)

_binary = re.compile(r"[\x00-\x08\x0e-\x1f]")
_text_in_utf16 = {"utf-16-le": re.compile(rb"(?:[\t\n\r -~]\0){4}"), "utf-16-be": re.compile(rb"(?:\0[\t\n\r -~]){4}")}


class RowsRefused(ValueError):
    """The text has no links that can be read. The message says why, and what to do."""


def decode(content: bytes) -> tuple[str, str]:
    """Decode a file.

    Returns:
        The text without its byte order mark, and the name of its encoding for people.

    Raises:
        RowsRefused: It is too large, empty, another kind of file, or no text.
    """
    if len(content) > LARGEST_FILE_BYTES:
        raise RowsRefused(f"The file has more than {LARGEST_FILE_BYTES // 2**20} MB. Split it.")
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            raise RowsRefused(f"This is {kind}. Save the table as CSV, and upload that.")
    for mark, codec, name in _MARKS:
        if content.startswith(mark):
            return _decode(content[len(mark) :], codec, name), name
    unmarked = _find_utf16(content)
    if unmarked is not None:
        return _decode(content, unmarked, "UTF-16"), "UTF-16"
    try:
        return check_text(content.decode("utf-8")), "UTF-8"
    except UnicodeDecodeError:
        return _decode(content, "cp1252", "UTF-8, UTF-16 or Windows-1252"), WINDOWS_1252


def check_text(text: str) -> str:
    """Refuse control characters: a table has none, a binary file has many."""
    found = _binary.search(text)
    if found is None:
        return text
    line = len(re.findall(r"\r\n|\r|\n", text[: found.start()])) + 1
    raise RowsRefused(f"Line {line} has the control character U+{ord(found[0]):04X}: this is no text. Save it as CSV.")


def _decode(content: bytes, codec: str, name: str) -> str:
    try:
        return check_text(content.decode(codec))
    except UnicodeDecodeError:
        raise RowsRefused(f"The file is not in {name}. Save it as CSV in UTF-8.") from None


def _find_utf16(content: bytes) -> str | None:
    """Recognise UTF-16 without a mark: its ASCII has zeros at even or at odd places, and never at both."""
    if b"\0" not in content:
        return None
    little, big = content[1::2].count(0), content[::2].count(0)
    codec = "utf-16-le" if little > big else "utf-16-be"
    return codec if _text_in_utf16[codec].search(content) else None
