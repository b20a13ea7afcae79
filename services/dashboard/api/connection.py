"""How the client reaches the API: kept connections, deadlines, and a second try where that is safe."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from time import monotonic

import httpx
from pydantic_core import to_jsonable_python

from services.dashboard.api.problems import Unreachable, problem_of, unreachable
from services.dashboard.api.questions import Parameters

CONNECT_TIMEOUT_S = 3

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: each would read the list of authorities else, which takes 20 ms."""


class ApiConnection:
    """Sends requests with the user's key, and turns every failure into an `ApiError`.

    Args:
        base_url: `http://host:port`, or `unix:/path/to.sock`.
        api_key: The user's key.
        timeout_s: The time for an ordinary answer, and for a silence within a long one.
    """

    def __init__(self, base_url: str, api_key: str, timeout_s: float) -> None:
        socket = base_url.removeprefix("unix:") if base_url.startswith("unix:/") else None
        # A text that no header can carry is no key; the API says so.
        key = api_key if api_key.isascii() and api_key.isprintable() else ""
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url="http://links" if socket else base_url,
            headers={"Authorization": f"Bearer {key.strip() or '-'}", "Accept": "application/json"},
            timeout=_timeout(timeout_s),
            transport=httpx.HTTPTransport(verify=_NO_TLS, uds=socket),
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        parameters: Parameters | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, object] | None = None,
        content: bytes | None = None,
    ) -> httpx.Request:
        """Make a request of a path under `/api/v1`, with fields as JSON or with content as it is."""
        json = None if fields is None else to_jsonable_python(fields)
        return self._http.build_request(
            method, f"/api/v1{path}", params=parameters, headers=headers, json=json, content=content
        )

    def send(self, request: httpx.Request, timeout_s: float | None = None) -> bytes:
        """Send a request and read its answer; send it again where that is safe and a kept connection was closed."""
        try:
            return self._send_once(request, timeout_s or self._timeout_s)
        except Unreachable as error:
            is_repeatable = request.method == "GET" or "Idempotency-Key" in request.headers
            if not is_repeatable or not isinstance(error.__cause__, httpx.NetworkError | httpx.RemoteProtocolError):
                raise
        return self._send_once(request, timeout_s or self._timeout_s)

    def _send_once(self, request: httpx.Request, timeout_s: float) -> bytes:
        deadline = monotonic() + timeout_s
        request.extensions["timeout"] = _timeout(timeout_s).as_dict()
        with self.open(request) as answer:
            return b"".join(chunks(answer, deadline))

    @contextmanager
    def open(self, request: httpx.Request) -> Iterator[httpx.Response]:
        """Send a request and leave its answer to be read within the block."""
        try:
            answer = self._http.send(request, stream=True)
            with closing(answer):
                if not answer.is_success:
                    raise problem_of(answer.status_code, answer.read())
                yield answer
        except (httpx.RequestError, TimeoutError) as error:
            raise unreachable(error) from error


def chunks(answer: httpx.Response, deadline: float) -> Iterator[bytes]:
    """Yield the body as it comes. httpx bounds the silence between two pieces; this bounds the whole."""
    for chunk in answer.iter_bytes():
        if monotonic() > deadline:
            raise TimeoutError
        yield chunk


def _timeout(timeout_s: float) -> httpx.Timeout:
    return httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
