"""The two clients. They send what `operations.py` declares, at once or awaited; the rules of both are in `sending.py`."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from .calls import AsyncSender, Call, Sender
from .operations import Operations, archive_export, links_export, refused_rows
from .problems import ApiError, problem_of, unreachable
from .questions import LinkQuestion
from .sending import (
    LARGEST_ANSWER,
    LARGEST_PROBLEM,
    NO_TLS,
    TIMEOUT_S,
    Place,
    Tries,
    build_request,
    check_size,
    headers_of,
    read_answer,
    timeout_of,
)

T = TypeVar("T")


class Client(Operations, Sender):
    """Asks the API of an instance, and waits for the answers.

    Args:
        base_url: The address of the instance: `https://go.example.com`, `http://host:port`, or `unix:/path/to.sock`.
        api_key: The user's key.
        timeout_s: The time for an ordinary answer, with all tries, and for a silence within a long one.
    """

    def __init__(self, base_url: str, api_key: str, timeout_s: float = TIMEOUT_S) -> None:
        place = Place.of(base_url)
        transport = None if place.has_tls else httpx.HTTPTransport(verify=NO_TLS, uds=place.socket)
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=place.url, headers=headers_of(api_key), timeout=timeout_of(timeout_s), transport=transport
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def export(self, wanted: LinkQuestion, media_type: str) -> AbstractContextManager[Iterator[bytes]]:
        """Stream all links that a filter wants, as `text/csv` or `application/x-ndjson`."""
        return self.open(links_export(wanted, media_type))

    def archive(
        self, *, passwords: bool = True, raw_clicks: bool = False, owner: str | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Stream everything that the key's owner has, as one file that an import reads back; an admin has everyone's."""
        return self.open(archive_export(passwords=passwords, raw_clicks=raw_clicks, owner=owner))

    def refused(self, import_id: str) -> AbstractContextManager[Iterator[bytes]]:
        """Stream the rows of an import that were refused, as CSV."""
        return self.open(refused_rows(import_id))

    def send(self, call: Call[T]) -> T:
        """Send a call, again where that is safe, and read its answer."""
        tries = Tries(call, monotonic() + (call.timeout_s or self._timeout_s))
        while True:
            try:
                with self._open(call, tries.deadline) as parts:
                    return read_answer(call, b"".join(_bounded(parts)))
            except ApiError as error:
                pause_s = tries.pause_after(error)
                if pause_s is None:
                    raise
            sleep(pause_s)

    @contextmanager
    def open(self, call: Call[bytes]) -> Iterator[Iterator[bytes]]:
        """Send a call once, and leave its answer to be read within the block."""
        with self._open(call, monotonic() + (call.timeout_s or self._timeout_s)) as parts:
            yield parts

    @contextmanager
    def _open(self, call: Call[Any], deadline: float) -> Iterator[Iterator[bytes]]:
        request = build_request(self._http, call, self._timeout_s, deadline)
        try:
            with _closing(self._http.send(request, stream=True)) as answer:
                if not answer.is_success:
                    body = b"".join(_bounded(answer.iter_bytes(), LARGEST_PROBLEM))
                    raise problem_of(answer.status_code, answer.headers, body)
                yield _until(answer.iter_bytes(), deadline)
        except (httpx.RequestError, TimeoutError) as error:
            raise unreachable(error) from error


class AsyncClient(Operations, AsyncSender):
    """Asks the API of an instance; every method of `Client` is here, to be awaited.

    Args:
        base_url: The address of the instance: `https://go.example.com`, `http://host:port`, or `unix:/path/to.sock`.
        api_key: The user's key.
        timeout_s: The time for an ordinary answer, with all tries, and for a silence within a long one.
    """

    def __init__(self, base_url: str, api_key: str, timeout_s: float = TIMEOUT_S) -> None:
        place = Place.of(base_url)
        transport = None if place.has_tls else httpx.AsyncHTTPTransport(verify=NO_TLS, uds=place.socket)
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            base_url=place.url, headers=headers_of(api_key), timeout=timeout_of(timeout_s), transport=transport
        )

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def export(self, wanted: LinkQuestion, media_type: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Stream all links that a filter wants, as `text/csv` or `application/x-ndjson`."""
        return self.open(links_export(wanted, media_type))

    def archive(
        self, *, passwords: bool = True, raw_clicks: bool = False, owner: str | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Stream everything that the key's owner has, as one file that an import reads back; an admin has everyone's."""
        return self.open(archive_export(passwords=passwords, raw_clicks=raw_clicks, owner=owner))

    def refused(self, import_id: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Stream the rows of an import that were refused, as CSV."""
        return self.open(refused_rows(import_id))

    async def send(self, call: Call[T]) -> T:
        """Send a call, again where that is safe, and read its answer."""
        tries = Tries(call, monotonic() + (call.timeout_s or self._timeout_s))
        while True:
            try:
                async with self._open(call, tries.deadline) as parts:
                    body = bytearray()
                    async for part in parts:
                        body += part
                        check_size(len(body), LARGEST_ANSWER)
                    return read_answer(call, bytes(body))
            except ApiError as error:
                pause_s = tries.pause_after(error)
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)

    @asynccontextmanager
    async def open(self, call: Call[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send a call once, and leave its answer to be read within the block."""
        async with self._open(call, monotonic() + (call.timeout_s or self._timeout_s)) as parts:
            yield parts

    @asynccontextmanager
    async def _open(self, call: Call[Any], deadline: float) -> AsyncIterator[AsyncIterator[bytes]]:
        if call.content is not None and not isinstance(call.content, bytes):
            call = replace(call, content=_in_threads(call.content))  # type: ignore[arg-type]  # as this httpx takes it
        request = build_request(self._http, call, self._timeout_s, deadline)
        try:
            async with asyncio.timeout(deadline - monotonic()):
                answer = await self._http.send(request, stream=True)
                try:
                    if not answer.is_success:
                        body = bytearray()
                        async for part in answer.aiter_bytes():
                            body += part
                            check_size(len(body), LARGEST_PROBLEM)
                        raise problem_of(answer.status_code, answer.headers, bytes(body))
                    yield answer.aiter_bytes()
                finally:
                    await answer.aclose()
        except (httpx.RequestError, TimeoutError) as error:
            raise unreachable(error) from error


@contextmanager
def _closing(answer: httpx.Response) -> Iterator[httpx.Response]:
    try:
        yield answer
    finally:
        answer.close()


def _until(parts: Iterable[bytes], deadline: float) -> Iterator[bytes]:
    """Yield the body as it comes. httpx bounds the silence between two parts; this bounds the whole."""
    for part in parts:
        if monotonic() > deadline:
            raise TimeoutError
        yield part


def _bounded(parts: Iterable[bytes], most: int = LARGEST_ANSWER) -> Iterator[bytes]:
    size = 0
    for part in parts:
        size += len(part)
        check_size(size, most)
        yield part


async def _in_threads(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield parts that may have to be read from a disk."""
    remaining = iter(parts)
    while (part := await asyncio.to_thread(next, remaining, None)) is not None:
        yield part
