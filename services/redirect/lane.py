"""The fast lane: a plain GET of a link in memory is answered below ASGI, without a scope, a task or a framework.

uvicorn makes one `LaneProtocol` per connection (its `http=`). One anchored regular expression is the lane's whole parser;
a buffer that is not exactly one GET in the shape that our nginx sends goes to uvicorn's own protocol, untouched, and
from there to the app, which answers the same. What this buys is in `PROMISES.md`; a property test compares both ways.
"""

import asyncio
import re
from collections.abc import Callable
from time import time
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from services.redirect.memory import Memory
from services.redirect.protocol import VisitProtocol
from services.redirect.state import state_of
from shared.clicks import HEADERS, LONGEST_LANGUAGE, UNCUT_BYTES, Click, RecordClicks, cut_parts
from shared.codes import CODE_PATTERN
from shared.health import is_draining


def _compile_plain_get() -> re.Pattern[bytes]:
    """A GET with the headers that nginx sends (`HEADERS`), each of which but Host may be missing.

    The first group is the request's slice that names the link; the others are the parts of a click, by name.
    """
    host, *others = (header for header in HEADERS if header.lane_value)
    expression = rf"GET (/{CODE_PATTERN} HTTP/1\.1\r\nHost: {host.lane_value})\r\n"
    for header in others:
        group = f"?P<{header.part}>" if header.part else "?:"
        # `|)` costs a third of `)?`. `.` takes anything but LF, which is quick; `_CONTROLS` and the count of CR do the rest.
        expression += rf"(?:{header.name}: ({group}{header.lane_value})\r\n|)"
    return re.compile((expression + r"\r\n").encode())


_match_plain_get = _compile_plain_get().fullmatch

_CONTROLS = bytes(32 if (byte < 32 and byte not in b"\t\r\n") or byte == 127 else byte for byte in range(256))
"""Maps controls, which the ordinary way understands, to a blank: `translate` returns its very argument if there is none."""


class Lane:
    """What the connections of one process share: the answers in memory and the requests of this event-loop tick.

    Args:
        memory: Where the finished answers are.
        record_clicks: Called with the clicks of a tick before their answers are written.
    """

    def __init__(self, memory: Memory, record_clicks: RecordClicks | None) -> None:
        self.find = memory.entries.get
        self.hits = 0
        self._record_clicks = record_clicks
        self._call_soon = asyncio.get_running_loop().call_soon
        self.owed: list[tuple[Callable[[bytes], None], bytes, Click]] = []

    def flush_soon(self) -> None:
        self._call_soon(self.flush)

    def flush(self) -> None:
        """Record the clicks of this tick in one call, then write their answers."""
        owed = self.owed[:]
        # The connections hold this very list.
        self.owed.clear()
        if self._record_clicks is not None and owed:
            self._record_clicks([click for _, _, click in owed])
        self.hits += len(owed)
        for write, response, _ in owed:
            write(response)


class LaneProtocol(VisitProtocol):
    """A connection that takes the lane whenever nothing else is under way on it.

    Attributes:
        is_idle: Nothing fed to the parser is unfinished, no request waits or is being answered, and the transport takes
            what is written, and the server stays. The lane runs only then.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.is_idle = self._may_idle = not is_draining(app_state)
        self._lane = state_of(app_state).lane
        self._find = self._lane.find
        self._owed = self._lane.owed
        self._was_used = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._write = transport.write
        self._arm_keep_alive()

    def data_received(self, data: bytes) -> None:
        if self.is_idle and (match := _match_plain_get(data)) is not None:
            place, address, agent, referrer, language = match.groups()
            entry = self._find(place)
            if (
                entry is not None
                and (now := time()) < entry.answered_until
                and data.translate(_CONTROLS) is data
                and data.count(b"\r") == data.count(b"\n")
            ):
                # In the order of `ClickParts`; to make one of those would take a tenth of the visit's time.
                parts: tuple[bytes | None, ...] = (None, address, None, agent, referrer, language, None, None)
                if len(data) > UNCUT_BYTES or (language is not None and len(language) > LONGEST_LANGUAGE):
                    parts = cut_parts(parts)
                if not self._owed:
                    self._lane.flush_soon()
                self._owed.append((self._write, entry.response, (now, entry.link_id, parts)))
                self._was_used = True
                return
        self._lane.flush()
        super().data_received(data)
        self._settle()

    # uvicorn's own course, watched to know when the connection is idle again.

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._settle()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.is_idle = False

    def shutdown(self) -> None:
        self._lane.flush()
        super().shutdown()

    def drain(self) -> None:
        """Leave the lane: uvicorn's own way tells the client that the connection ends."""
        self.is_idle = self._may_idle = False

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection not used since the timer was set; the lane does not set it anew for each answer."""
        if self._was_used:
            self._arm_keep_alive()
        else:
            super().timeout_keep_alive_handler()

    def _arm_keep_alive(self) -> None:
        self._was_used = False
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _settle(self) -> None:
        self.is_idle = (
            self.is_between_messages
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and self._may_idle
        )
