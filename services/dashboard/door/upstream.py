"""Finds where the API listens now, from the dashboard's setting."""

import socket

from shared.listen import find_sockets, parse_address

CONNECT_TIMEOUT_S = 1.0


def links_url(address: str) -> str:
    """Return the address for the API's client: `http://host:port`, or `unix:/path` of the newest socket that answers.

    Args:
        address: An address as in `LISTEN`. The path of a socket may be a pattern (`unix:/run/tinyurl/links-*.sock`), because
            during a deployment there are several sockets, and nobody listens at some of them.
    """
    parsed = parse_address(address)
    if not parsed.path:
        host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
        return f"http://{host}:{parsed.port}"
    for path in find_sockets(parsed.path):
        if _answers(path):
            return f"unix:{path}"
    return f"unix:{parsed.path}"


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_TIMEOUT_S)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
