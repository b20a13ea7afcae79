"""A constant load of GET and POST, over kept and over new connections, that counts whatever goes wrong."""

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Target:
    """Where the load goes.

    Attributes:
        port: Of 127.0.0.1.
        host: As the clients name it.
        key: Of the API.
        codes: Links that are followed; every one answers 302.
        tls: Whether over TLS; the certificate is not what is tested here.
    """

    port: int
    host: str
    key: str
    codes: list[str]
    tls: bool = False


@dataclass
class LoadOutcome:
    """What the clients saw.

    Attributes:
        answers: By kind and status.
        sent: Requests, answered or not.
        failures: What was not as it should be: another status, a reset, no answer in time.
        acknowledged: The URLs of the links whose creation was answered with 201.
    """

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    sent: int = 0


@asynccontextmanager
async def load(target: Target, rate: int = 320, clients: int = 16) -> AsyncIterator[LoadOutcome]:
    """Send `rate` requests a second while the block runs: half GET and half POST, half over kept connections."""
    outcome = LoadOutcome()
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(_client(n, target, outcome, stopping, pause_s=clients / rate)) for n in range(clients)]
    try:
        yield outcome
    finally:
        stopping.set()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)


async def _client(number: int, target: Target, outcome: LoadOutcome, stopping: asyncio.Event, pause_s: float) -> None:
    creates, keeps = number % 2 == 0, number % 4 < 2
    kind = f"{'POST' if creates else 'GET'}, {'kept' if keeps else 'new'} connections"
    connection = _Connection(target)
    due = time.monotonic() + pause_s * number / 16
    count = 0
    while not stopping.is_set():
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due = max(due + pause_s, time.monotonic() - 1)
        count += 1
        url = f"https://www.example.com/{number}/{count}/{time.time_ns()}"
        path = "/api/v1/links" if creates else f"/{target.codes[count % len(target.codes)]}"
        began = time.time()
        outcome.sent += 1
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                status = await connection.exchange(path, json.dumps({"url": url}) if creates else None, keeps)
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            outcome.failures.append(f"{began:.3f} {kind}: {type(error).__name__} {error}")
            connection.close()
            continue
        outcome.answers[f"{kind}: {status}"] += 1
        if status != (201 if creates else 302):
            outcome.failures.append(f"{began:.3f} {kind}: {status}")
        elif creates:
            outcome.acknowledged.append(url)
    connection.close()


class _Connection:
    """One client's connection; opened when it is needed, as a client that behaves does."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._tls: ssl.SSLContext | None = None
        if target.tls:
            self._tls = ssl.create_default_context()
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE

    async def exchange(self, path: str, body: str | None, keep: bool) -> int:
        """Send a request and read the answer.

        Returns:
            The status.
        """
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            name = self._target.host if self._tls else None
            self._streams = await asyncio.open_connection(
                "127.0.0.1", self._target.port, ssl=self._tls, server_hostname=name
            )
        reader, writer = self._streams
        lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"Host: {self._target.host}"]
        if body is not None:
            lines += [f"Authorization: Bearer {self._target.key}", "Content-Type: application/json"]
            lines += [f"Content-Length: {len(body)}"]
        if not keep:
            lines += ["Connection: close"]
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + (body or "")).encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next((line for line in head.split("\r\n") if line.startswith("content-length:")), None)
        if length is not None:
            await reader.readexactly(int(length.partition(":")[2]))
        elif "transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        if not keep or "connection: close" in head:
            self.close()
        return int(head.split()[1])

    def close(self) -> None:
        if self._streams is not None:
            # The answer was read to its end; TLS's own farewell would only outlive the test.
            self._streams[1].transport.abort()
        self._streams = None
