"""Tries services that nginx does not use yet: creates a link, follows it, deletes it, and signs in to the dashboard.

A deployment runs it, in a container of the new release, against the processes that it is about to switch to.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPException, HTTPMessage
from urllib.parse import urlencode, urlsplit

from services.links.keys.rows import create_key, renew_key, revoke_key
from shared.listen import parse_address
from shared.postgres import open_connection
from shared.settings import SmokeSettings

OWNER = "smoke-test"
KEY_NAME = "deployment"
TARGET = "https://example.com/"

_CALL_TIMEOUT_S = 5.0
_DASHBOARD_TIMEOUT_S = 30.0
"""The dashboard runs its script for the first time, on a host that is busy with a deployment."""
_VISIBLE_TIMEOUT_S = 2.0
"""An edit is promised within a second of its commit."""


class SmokeFailed(Exception):
    """A service does not do what it should; the message says which and what."""


@dataclass(frozen=True)
class SmokeResponse:
    """An answer of a service."""

    status: int
    headers: HTTPMessage
    text: str


@dataclass(frozen=True)
class Service:
    """A process at an address, as LISTEN has it."""

    address: str
    timeout_s: float = _CALL_TIMEOUT_S

    def call(self, method: str, path: str, headers: Mapping[str, str], body: str | None = None) -> SmokeResponse:
        """Send a request."""
        connection = parse_address(self.address).connect(self.timeout_s)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return SmokeResponse(response.status, response.headers, response.read().decode(errors="replace"))
        except (OSError, HTTPException) as error:
            raise SmokeFailed(f"{self.address} cannot be reached: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def expect(
        self, status: int, method: str, path: str, headers: Mapping[str, str], body: str | None = None
    ) -> SmokeResponse:
        seen = self.call(method, path, headers, body)
        if seen.status != status:
            raise SmokeFailed(
                f"{self.address} answers {method} {path} with {seen.status}, not {status}: {seen.text[:500]}"
            )
        return seen

    def expect_soon(self, status: int, path: str, headers: Mapping[str, str]) -> None:
        deadline = time.monotonic() + _VISIBLE_TIMEOUT_S
        while (seen := self.call("GET", path, headers).status) != status:
            if time.monotonic() > deadline:
                raise SmokeFailed(f"{self.address} answers GET {path} with {seen}, not {status}")
            time.sleep(0.05)


@dataclass(frozen=True)
class Colour:
    """Addresses of the processes of a release, as LISTEN has them."""

    links: Sequence[str]
    redirect: Sequence[str]
    dashboard: Sequence[str] = ()


async def smoke(settings: SmokeSettings, colour: Colour) -> None:
    """Try every process of a colour.

    Args:
        settings: The database, for a key that is revoked at the end, and the release that `/readyz` must name.
        colour: The processes.

    Raises:
        SmokeFailed: One of them does not do its work.
    """
    writers, readers = ([Service(address) for address in addresses] for addresses in (colour.links, colour.redirect))
    dashboards = [Service(address, _DASHBOARD_TIMEOUT_S) for address in colour.dashboard]
    for service in (*writers, *readers, *dashboards):
        named = json.loads(service.expect(200, "GET", "/readyz", {}).text)["release"]
        if named != settings.release:
            raise SmokeFailed(f"{service.address} is release {named}, not {settings.release}")
    database_url = settings.links_database_url.get_secret_value()
    async with open_connection(database_url, "smoke") as conn:
        end = datetime.now(UTC) + timedelta(minutes=5)
        scopes = ["links:read", "links:write"]
        row, key = await renew_key(conn, owner=OWNER, name=KEY_NAME, scopes=scopes, expires_at=end) or await create_key(
            conn, owner=OWNER, name=KEY_NAME, scopes=scopes, expires_at=end
        )
        try:
            for writer in writers:
                await asyncio.to_thread(_live_through, writer, readers, settings.default_domain, key)
            for dashboard in dashboards:
                await asyncio.to_thread(_sign_in, dashboard, settings.public_base_url, key)
        finally:
            await revoke_key(conn, row.id)


def _live_through(writer: Service, readers: Sequence[Service], domain: str, key: str) -> None:
    """Create a link, follow it, delete it, and see that it is gone."""
    host = {"Host": domain}
    api = {**host, "Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    code = f"smoke-{secrets.token_urlsafe(12)}"
    writer.expect(201, "POST", "/api/v1/links", api, json.dumps({"url": TARGET, "code": code}))
    for reader in readers:
        reader.expect_soon(302, f"/{code}", host)
    writer.expect(204, "DELETE", f"/api/v1/links/{code}", api)
    for reader in readers:
        reader.expect_soon(410, f"/{code}", host)


def _sign_in(dashboard: Service, base_url: str, key: str) -> None:
    """Sign in by the form, and let Streamlit's script run once."""
    browser = {"Host": urlsplit(base_url).netloc, "Origin": base_url}
    form = {**browser, "Content-Type": "application/x-www-form-urlencoded"}
    signed_in = dashboard.expect(303, "POST", "/dashboard/sign-in", form, urlencode({"key": key}))
    cookie = {**browser, "Cookie": signed_in.headers["Set-Cookie"].partition(";")[0]}
    dashboard.expect(200, "GET", "/dashboard/", cookie)
    dashboard.expect(200, "GET", "/dashboard/_stcore/script-health-check", cookie)
