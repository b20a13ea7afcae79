"""Reads where a service listens, for the services, their health check and the commands that call them.

It needs the standard library alone, because the health check of a container imports it every few seconds.
"""

import contextlib
import http.client
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Address:
    """A Unix socket (`path`), or a host and a port."""

    path: str = ""
    host: str = ""
    port: int = 0

    def connect(self, timeout_s: float) -> http.client.HTTPConnection:
        """Make a connection, which opens when it is used."""
        if self.path:
            return _UnixConnection(self.path, timeout_s)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)


def parse_address(text: str) -> Address:
    """Read `unix:/path/to.sock` or `host:port`; `{hostname}` stands for the name of this machine or container.

    Raises:
        ValueError: The text is neither.
    """
    text = text.replace("{hostname}", socket.gethostname())
    if text.startswith("unix:/"):
        return Address(path=text.removeprefix("unix:"))
    host, _, port = text.rpartition(":")
    if host and port.isdigit() and int(port) < 65536:
        return Address(host=host.strip("[]"), port=int(port))
    raise ValueError("must be unix:/path or host:port")


def find_sockets(pattern: str) -> list[str]:
    """Return the paths that match a pattern, the newest first."""
    times = {}
    for path in Path("/").glob(pattern.lstrip("/")):
        with contextlib.suppress(OSError):
            times[str(path)] = path.stat().st_mtime_ns
    return sorted(times, key=times.__getitem__, reverse=True)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("service", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
