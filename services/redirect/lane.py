"""The fast lane answers a plain GET of a link in memory below ASGI, without a scope, a task or a framework.

uvicorn makes one `LaneProtocol` for each connection (its option `http`). One regular expression is the lane's whole parser. It
matches a buffer that is exactly one GET as our nginx sends it. Any other buffer goes unchanged to uvicorn's own protocol and to
the app, which gives the same answers. A property test compares the two; `PROMISES.md` has the speed.
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
from shared.clicks import HEADERS, LONGEST_LANGUAGE, UNCUT_BYTES, Click, RecordClicks, Visit, cut_parts
from shared.codes import CODE_PATTERN
from shared.health import is_draining


def _compile_plain_get() -> re.Pattern[bytes]:
    """Return the expression for a GET with the headers that nginx sends (`HEADERS`). Any of them but Host may be missing.

    The first group is the part of the request that names the link. The others are the parts of a click, by name.
    """
    host, *others = (header for header in HEADERS if header.lane_value)
    expression = rf"GET (/{CODE_PATTERN} HTTP/1\.1\r\nHost: {host.lane_value})\r\n"
    for header in others:
        group = f"?P<{header.part}>" if header.part else "?:"
        # `|)` costs a third of `)?`. `.` is quick and matches all but LF; `_CONTROLS` and the count of CR refuse the rest.
        expression += rf"(?:{header.name}: ({group}{header.lane_value})\r\n|)"
    return re.compile((expression + r"\r\n").encode())


_match_plain_get = _compile_plain_get().fullmatch

_CONTROLS = bytes(32 if (byte < 32 and byte not in b"\t\r\n") or byte == 127 else byte for byte in range(256))
"""Maps controls to a blank. `translate` returns the same object if there are none; the app takes requests that have some."""


class Lane:
    """The answers in memory and the requests of this event-loop tick, which all connections of a process share.

    Args:
        memory: Has the finished answers.
        record_clicks: Is called with the clicks of a tick before their answers are written.
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
        # Not a new list: the connections have a reference to this one.
        self.owed.clear()
        if self._record_clicks is not None and owed:
            self._record_clicks([click for _, _, click in owed])
        self.hits += len(owed)
        for write, response, _ in owed:
            write(response)


class LaneProtocol(VisitProtocol):
    """A connection that uses the lane while it is idle.

    Attributes:
        is_idle: uvicorn's parser is between two requests, no request waits or is answered, the transport takes more, and
            the server is not about to stop.
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
                response, variant = entry.response, None
                if not response:
                    response, variant = entry.answer(Visit(address, agent, referrer, language, b"", now))
                # In the order of `ClickParts`; to make one of those would take a tenth of the visit's time.
                parts: tuple[bytes | None, ...] = (None, address, None, agent, referrer, language, None, None, variant)
                if len(data) > UNCUT_BYTES or (language is not None and len(language) > LONGEST_LANGUAGE):
                    parts = cut_parts(parts)
                if not self._owed:
                    self._lane.flush_soon()
                self._owed.append((self._write, response, (now, entry.link_id, parts)))
                self._was_used = True
                return
        self._lane.flush()
        super().data_received(data)
        self._settle()

    # These methods of uvicorn tell when the connection is idle again.

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
        """Use the lane no more: uvicorn's own answers tell the client that the connection ends."""
        self.is_idle = self._may_idle = False

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was not used since the timer was set. The lane does not set the timer for each answer."""
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
