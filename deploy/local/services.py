"""Describes our own services as programs of the local stack."""

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local.programs import Program

READY_TIMEOUT_S = 2.0


def service(name: str, module: Sequence[str], listen: str, **environment: str) -> Program:
    """Describe a service that runs under this Python and is ready when its `/readyz` says so.

    Args:
        name: The name of the process.
        module: What follows `python -m`.
        listen: `unix:/path` or `host:port`.
        environment: Its settings.
    """
    address = Path(listen.removeprefix("unix:")) if listen.startswith("unix:") else int(listen.rpartition(":")[2])
    return Program(
        name=name,
        command=[sys.executable, "-m", *module],
        is_ready=lambda: _is_ready(address),
        environment={"LISTEN": listen, "LOG_FORMAT": "json", "DRAIN_SECONDS": "0", **environment},
        address=address,
    )


def _is_ready(address: Path | int) -> bool:
    with socket.socket(socket.AF_INET if isinstance(address, int) else socket.AF_UNIX) as connection:
        connection.settimeout(READY_TIMEOUT_S)
        try:
            connection.connect(("127.0.0.1", address) if isinstance(address, int) else str(address))
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n")
            return connection.makefile("rb").readline().startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False
