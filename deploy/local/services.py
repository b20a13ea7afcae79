"""Describes our own services as programs of the local stack."""

import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from deploy.local.programs import Program, accepts_connections

READY_TIMEOUT_S = 2.0

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: each would read the list of authorities else, which takes 20 ms."""


def service(name: str, module: Sequence[str], listen: str, **environment: str) -> Program:
    """Describe a service that runs under this Python and is ready when its `/readyz` says so.

    Args:
        name: The name of the process.
        module: What follows `python -m`.
        listen: `unix:/path` or `host:port`.
        environment: Its settings.
    """
    uds = listen.removeprefix("unix:") if listen.startswith("unix:") else None
    url = f"http://{'service' if uds else listen}/readyz"

    address = Path(uds) if uds else int(listen.rpartition(":")[2])

    def is_ready() -> bool:
        if not accepts_connections(address):
            return False
        try:
            with httpx.Client(
                transport=httpx.HTTPTransport(verify=_NO_TLS, uds=uds), timeout=READY_TIMEOUT_S
            ) as client:
                return client.get(url).status_code == 200
        except httpx.HTTPError:
            return False

    return Program(
        name=name,
        command=[sys.executable, "-m", *module],
        is_ready=is_ready,
        environment={"LISTEN": listen, "LOG_FORMAT": "json", "DRAIN_SECONDS": "0", **environment},
        address=address,
    )
