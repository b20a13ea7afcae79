"""A connection that understands what browsers send against the standard: uvicorn's own, made lenient.

nginx passes queries and headers on as they came. A visitor gets the redirect all the same; a request that cannot be
understood gets an error of ours. The fast lane (`lane.py`) comes before it.
"""

import re
from dataclasses import replace

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from services.redirect.answers import error, read_error_format
from services.redirect.memory import response_bytes

_NOT_ASCII = re.compile(rb"[\x80-\xff]")


class VisitProtocol(HttpToolsProtocol):
    """A connection whose request lines may hold raw bytes, and whose headers may hold control characters."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: object | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)  # type: ignore[arg-type]  # uvicorn's own argument
        self.is_between_messages = True
        self._is_in_request_line = False
        # Values may hold control characters. nginx has read the message already, so its end is not in doubt.
        self.parser.set_dangerous_leniencies(lenient_headers=True, lenient_data_after_close=True)

    def data_received(self, data: bytes) -> None:
        if self.is_between_messages or self._is_in_request_line:
            # The URL standard encodes what is not ASCII in this way (https://url.spec.whatwg.org/#query-state).
            line, line_end, rest = data.partition(b"\n")
            self._is_in_request_line = not line_end
            if not line.isascii():
                data = _NOT_ASCII.sub(_percent_encode, line) + line_end + rest
        super().data_received(data)

    def on_message_begin(self) -> None:
        self.is_between_messages = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self.is_between_messages = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refuses, and end the connection, because the next request's beginning is not known."""
        answer = error(400, read_error_format(dict(self.headers or [])))
        closing = (*answer.headers, *self.server_state.default_headers, (b"connection", b"close"))
        self.transport.write(response_bytes(replace(answer, headers=closing)))
        self.transport.close()


def _percent_encode(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
