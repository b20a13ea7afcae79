"""How far something is, in one line of stderr: on a terminal it is written anew, in a file now and then."""

import sys
from collections.abc import Callable
from time import monotonic

EVERY_S = 0.2
EVERY_IN_A_FILE_S = 10.0
BAR = 24


class Progress:
    """A line that says how far something is.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._clock = clock
        self._began = clock()
        self._next = self._began if self._is_terminal else self._began + EVERY_IN_A_FILE_S
        self._width = 0

    def show_bytes(self, done: int, total: int) -> None:
        """Show bytes that were sent, with the time that is left if all goes on as before."""
        took = self._clock() - self._began
        left = "" if not done or took < 1 else f", {clock_text(took * (total - done) / done)} left"
        self.show(f"sent {bar(done, total)} {size_text(done)} of {size_text(total)}{left}")

    def show(self, text: str) -> None:
        """Show a text, unless the one before has just been shown."""
        now = self._clock()
        if now >= self._next:
            self._next = now + (EVERY_S if self._is_terminal else EVERY_IN_A_FILE_S)
            self._write(text)

    def end(self) -> None:
        """Take the line away."""
        if self._is_terminal and self._width:
            sys.stderr.write(f"\r{' ' * self._width}\r")
            sys.stderr.flush()
            self._width = 0

    def _write(self, text: str) -> None:
        if self._is_terminal:
            sys.stderr.write(f"\r{text.ljust(self._width)}")
            self._width = len(text)
        else:
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def bar(done: int, total: int) -> str:
    filled = BAR if total <= 0 else min(BAR * done // total, BAR)
    return f"[{'#' * filled}{'.' * (BAR - filled)}]"


def size_text(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def clock_text(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
