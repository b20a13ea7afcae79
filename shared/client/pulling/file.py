"""The file of a pull: a line of JSON for each thing, and lines that tell from where to go on.

`services/links/sources/formats.py` knows the first line, and `json_rows.py` the others.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_MARK = b'{"so_far":'


class PullFailed(Exception):
    """The links cannot be pulled. The text is for people; what was pulled stays in the file, and the same command goes on."""


@dataclass(slots=True)
class Pulled:
    """How far a pull is: links and visits that this run has written, and how many links there are, if it is known."""

    links: int = 0
    visits: int = 0
    all_links: int | None = None


class PullFile:
    """A file to write, open at its last mark.

    Attributes:
        so_far: What the last mark says; empty in a new file.
    """

    def __init__(self, path: Path, source: str, base: str) -> None:
        """Raises:
        PullFailed: There is another file of this name.
        """
        first = {"source": source, "base": base}
        self.so_far: Mapping[str, Any] = {}
        self._file = path.open("r+b") if path.exists() and path.stat().st_size else path.open("w+b")
        try:
            self._go_on(first, path)
        except BaseException:
            self._file.close()
            raise

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")

    def mark(self, **so_far: Any) -> None:
        """Note that all before is written; the next run begins here."""
        self.so_far = so_far
        self.write({"so_far": so_far})
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _go_on(self, first: Mapping[str, str], path: Path) -> None:
        """Cut off what follows the last mark."""
        line = self._file.readline()
        if not line:
            self._file.write(json.dumps(first).encode() + b"\n")
            return
        try:
            is_ours = json.loads(line) == first
        except ValueError:
            is_ours = False
        if not is_ours:
            raise PullFailed(f"{path} is there already, and is not what was pulled from {first['base']}")
        end = at = len(line)
        for line in self._file:
            at += len(line)
            if line.startswith(_MARK) and line.endswith(b"}\n"):
                self.so_far, end = json.loads(line)["so_far"], at
        self._file.seek(end)
        self._file.truncate()
