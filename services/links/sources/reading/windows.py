"""A part of a text file in memory, which moves forward; `sql.py` and `json_rows.py` look for rows in it."""

from typing import NoReturn

from services.links.sources.found import File, UnusableFile
from services.links.sources.reading.texts import LONGEST_LINE, read_texts

READ_CHARACTERS = 256 * 1024


class Window:
    """A part of a file.

    Attributes:
        text: The part.
        at: What is before it is used up.
        is_whole: Nothing follows the part.
    """

    def __init__(self, file: File, *, keeps_wrong: bool = False) -> None:
        self._texts = read_texts(file, keeps_wrong=keeps_wrong)
        self._line = 1
        self._counted = 0
        self.text = ""
        self.at = 0
        self.is_whole = False

    def read_more(self) -> None:
        """Let go of what is used up, and read as much as is left, so that a long row is not read again and again."""
        self.line_at(self.at)
        parts, size, wanted = [self.text[self.at :]], 0, max(READ_CHARACTERS, len(self.text) - self.at)
        for text in self._texts:
            parts.append(text)
            size += len(text)
            if size >= wanted:
                break
        else:
            self.is_whole = True
        self.text, self.at, self._counted = "".join(parts), 0, 0

    def need_more(self) -> None:
        """Read more, which must be there.

        Raises:
            UnusableFile: The file ends here, or what begins here does not.
        """
        if self.is_whole:
            self.fail("the file ends in the middle of what begins here")
        if len(self.text) - self.at > LONGEST_LINE:
            self.fail(f"what begins here does not end within {LONGEST_LINE:,} characters")
        self.read_more()

    def line_at(self, place: int) -> int:
        """Return the line of a place, none of which was asked for behind it."""
        self._line += self.text.count("\n", self._counted, place)
        self._counted = max(self._counted, place)
        return self._line

    def fail(self, reason: str) -> NoReturn:
        raise UnusableFile(f"Line {self.line_at(self.at)}: {reason}.")
