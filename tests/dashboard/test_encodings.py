"""Bytes of files as text: what spreadsheets save is read, what is no text is refused by what it is."""

import codecs

import pytest

from services.dashboard.lists.encodings import LARGEST_FILE_BYTES, WINDOWS_1252, RowsRefused, decode

TEXT = "url,title\r\nhttps://a.example/,Größe – Žižkov\r\n"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "UTF-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "UTF-8 with a byte order mark"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "UTF-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "UTF-16"),
        (TEXT.encode("utf-16-le"), "UTF-16"),
        (TEXT.encode("utf-16-be"), "UTF-16"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), "UTF-32"),
        (codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), "UTF-32"),
        (TEXT.encode("cp1252"), WINDOWS_1252),
    ],
)
def test_encodings_are_told(content: bytes, encoding: str) -> None:
    """Each encoding, with and without its mark, gives the same text; Windows-1252 is what is left."""
    assert decode(content) == (TEXT, encoding)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_of_other_scripts_is_told(codec: str) -> None:
    """Without a mark, the ASCII of one address tells UTF-16 among letters of two bytes."""
    text = "名前,url\n" + "東京都" * 500 + ",https://a.example/\n"

    assert decode(text.encode(codec)) == (text, "UTF-16")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00", "spreadsheet .*Save the table as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "xls"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"%PDF-1.7", "PDF"),
        (b"url\nhttps://a.example/\0\n", r"Line 2 .*U\+0000"),
        (b"\x7fELF\x02\x01\x01\x00", r"Line 1 .*U\+0002"),
        (b"\xff\xfe\xfa", "not in UTF-16"),
        (b"caf\xe9 \x81", "not in UTF-8, UTF-16 or Windows-1252"),
        (b"x" * (LARGEST_FILE_BYTES + 1), "more than 5 MB"),
    ],
)
def test_other_files_are_refused(content: bytes, reason: str) -> None:
    """The reason says what the file is, or where it is no text, and what to do."""
    with pytest.raises(RowsRefused, match=reason):
        decode(content)
