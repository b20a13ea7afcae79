"""Bookmarks as browsers and linkding export them: Netscape's HTML. They have no codes, so that each link gets one."""

from collections.abc import Iterable, Iterator
from html.parser import HTMLParser

from services.links.sources.drafts import make_link, read_each
from services.links.sources.formats import kind_of
from services.links.sources.found import File, FoundCounts, FoundLink, FoundVisit, Hints, Unusable, UnusableFile
from services.links.sources.reading.tables import Record
from services.links.sources.reading.texts import LONGEST_FIELD, read_texts

NAME = "bookmarks"
TITLE = "Bookmarks (HTML)"

READ_CHARACTERS = 64 * 1024


def recognise(head: bytes, name: str) -> bool:
    return kind_of(head) == "html"


def read_links(file: File) -> Iterator[FoundLink | Unusable]:
    return read_each(_read(file), lambda record: _link(record, file.hints))


def read_visits(_file: File) -> Iterator[FoundVisit | FoundCounts | Unusable]:
    return iter(())


class _Parser(HTMLParser):
    """Collects bookmarks: an A with its text, and the text of a DD after it. Neither DT nor DD is closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Record] = []
        self.has_any = False
        self._cells: dict[str, str] | None = None
        self._line = 0
        self._into: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.finish()
            values = dict(attrs)
            self._line = self.getpos()[0]
            self._into = "title"
            self._cells = {
                "url": values.get("href") or "",
                "created": values.get("add_date") or "",
                "tags": values.get("tags") or "",
                "title": "",
                "notes": "",
            }
        elif tag == "dd":
            self._into = "notes"
        elif tag in ("dt", "dl", "h1", "h3"):
            self.finish()

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._into = None
        elif tag == "dl":
            self.finish()

    def handle_data(self, data: str) -> None:
        if self._cells is not None and self._into is not None and len(self._cells[self._into]) <= LONGEST_FIELD:
            self._cells[self._into] += data

    def finish(self) -> None:
        """End the bookmark that is open."""
        if self._cells is not None:
            self.has_any = True
            self.found.append(Record(self._line, self._cells))
        self._cells = self._into = None


def _read(file: File) -> Iterator[Record | Unusable]:
    parser = _Parser()
    for text in read_texts(file):
        for start in range(0, len(text), READ_CHARACTERS):
            parser.feed(text[start : start + READ_CHARACTERS])
            yield from parser.found
            parser.found.clear()
            if len(parser.rawdata) > 2 * READ_CHARACTERS + LONGEST_FIELD:
                raise UnusableFile(f"Line {parser.getpos()[0]}: a tag that begins here is not closed.")
    is_cut = parser.rawdata.lstrip().startswith("<")
    line = parser.getpos()[0]
    parser.close()
    if is_cut:
        raise UnusableFile(f"Line {line}: the file ends in the middle of a tag.")
    parser.finish()
    yield from parser.found
    if not parser.has_any:
        raise UnusableFile(f"Line {line}: the file ends without a bookmark.")


def _link(record: Record, hints: Hints) -> Iterable[FoundLink]:
    cells = record.cells
    if cells["url"].strip()[:5].lower() not in ("http:", "https"):
        raise ValueError("is no bookmark of a web page")
    yield make_link(
        record.line,
        hints,
        code="",
        url=cells["url"],
        created=cells["created"],
        title=cells["title"],
        tags=cells["tags"].split(","),
        notes=cells["notes"],
    )
