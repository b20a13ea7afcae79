"""A server that answers each request as a test says, for what the real service does seldom."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TIMEOUT_S = 10


@dataclass
class Asked:
    """A request, with its body as far as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    is_whole: bool = True


@dataclass
class Answer:
    """An answer; None in place of one closes the connection.

    Attributes:
        missing: Bytes that are announced and never sent.
    """

    status: int
    body: bytes = b""
    missing: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """A running server.

    Attributes:
        breaks_after: Bytes of a body in parts after which a connection breaks, once for each number.
    """

    url: str
    asked: list[Asked] = field(default_factory=list)
    breaks_after: list[int] = field(default_factory=list)


@contextmanager
def answering(answer: Callable[[Asked], Answer | None]) -> Iterator[Server]:
    """Run a server on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = TIMEOUT_S

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            address = urlsplit(self.path)
            body, is_whole = self._body()
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, address.path, parse_qs(address.query), headers, body, is_whole)
            server.asked.append(asked)
            found = answer(asked)
            if found is None or not is_whole:
                self.close_connection = True
                return
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(found.body) + found.missing))
            self.end_headers()
            self.wfile.write(found.body)
            self.close_connection = found.missing > 0

        def _body(self) -> tuple[bytes, bool]:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0)), True
            most = server.breaks_after.pop(0) if server.breaks_after else None
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
                if most is not None and len(body) >= most:
                    return body, False
            self.rfile.readline()
            return body, True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the base class names it
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        server = Server(f"http://127.0.0.1:{listening.server_address[1]}")
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join(TIMEOUT_S)
