"""Whether services that nginx does not use yet do their work: a link is created, followed, deleted and gone.

A deployment runs it, in a container of the new release, against the processes that it is about to switch to.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPException

import asyncpg

from services.links.keys import create_key, revoke_key
from shared.listen import parse_address
from shared.postgres import CONNECT_TIMEOUT_S, server_settings

OWNER = "smoke-test"
TARGET = "https://example.com/"

_CALL_TIMEOUT_S = 5.0
_VISIBLE_TIMEOUT_S = 2.0
"""An edit is promised within a second of its commit."""


class SmokeFailed(Exception):
    """A service does not do what it should; the message says which and what."""


@dataclass(frozen=True)
class Service:
    """A process at an address, as LISTEN has it."""

    address: str

    def call(self, method: str, path: str, headers: Mapping[str, str], body: str | None = None) -> tuple[int, str]:
        """Send a request.

        Returns:
            The status and the body.
        """
        connection = parse_address(self.address).connect(_CALL_TIMEOUT_S)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (OSError, HTTPException) as error:
            raise SmokeFailed(f"{self.address} cannot be reached: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def expect(self, status: int, method: str, path: str, headers: Mapping[str, str], body: str | None = None) -> str:
        seen, text = self.call(method, path, headers, body)
        if seen != status:
            raise SmokeFailed(f"{self.address} answers {method} {path} with {seen}, not {status}: {text[:500]}")
        return text

    def expect_soon(self, status: int, path: str, headers: Mapping[str, str]) -> None:
        deadline = time.monotonic() + _VISIBLE_TIMEOUT_S
        while (seen := self.call("GET", path, headers)[0]) != status:
            if time.monotonic() > deadline:
                raise SmokeFailed(f"{self.address} answers GET {path} with {seen}, not {status}")
            time.sleep(0.05)


async def smoke(database_url: str, domain: str, release: str, links: Sequence[str], redirect: Sequence[str]) -> None:
    """Try every process of a colour.

    Args:
        database_url: As the write service's role, for a key that is revoked at the end.
        domain: The default domain of the short links.
        release: What `/readyz` has to name.
        links: Addresses of the write service, as LISTEN has them.
        redirect: Those of the redirectors.

    Raises:
        SmokeFailed: One of them does not do its work.
    """
    writers, readers = [Service(address) for address in links], [Service(address) for address in redirect]
    for service in (*writers, *readers):
        named = json.loads(service.expect(200, "GET", "/readyz", {}))["release"]
        if named != release:
            raise SmokeFailed(f"{service.address} is release {named}, not {release}")
    conn = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT_S, server_settings=server_settings("smoke"))
    try:
        end = datetime.now(UTC) + timedelta(minutes=5)
        scopes = ["links:read", "links:write"]
        row, key = await create_key(conn, owner=OWNER, name="deployment", scopes=scopes, expires_at=end)
        try:
            for writer in writers:
                await asyncio.to_thread(_live_through, writer, readers, domain, key)
        finally:
            await revoke_key(conn, row.id)
    finally:
        await conn.close(timeout=CONNECT_TIMEOUT_S)


def _live_through(writer: Service, readers: Sequence[Service], domain: str, key: str) -> None:
    """A link's whole life."""
    host = {"Host": domain}
    api = {**host, "Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    code = f"smoke-{secrets.token_urlsafe(12)}"
    writer.expect(201, "POST", "/api/v1/links", api, json.dumps({"url": TARGET, "code": code}))
    for reader in readers:
        reader.expect_soon(302, f"/{code}", host)
    writer.expect(204, "DELETE", f"/api/v1/links/{code}", api)
    for reader in readers:
        reader.expect_soon(410, f"/{code}", host)
