"""A client that calls Shlink's API as its clients do, for the tests of it."""

from dataclasses import dataclass
from typing import Any

import httpx

PROBLEMS = "https://shlink.io/api/error/"
URL = "https://example.com"
"""Without the slash that a parser adds: it has to come back as it was sent."""


@dataclass
class Shlink:
    """Calls the API with a key."""

    client: httpx.AsyncClient
    key: str
    prefix: str = "/rest/v3"

    async def call(self, method: str, path: str, **sent: Any) -> httpx.Response:
        headers = {"x-api-key": self.key, **sent.pop("headers", {})}
        return await self.client.request(method, f"{self.prefix}{path}", headers=headers, **sent)

    async def read(self, path: str, status: int = 200, method: str = "GET", **sent: Any) -> Any:
        """Call, and return the body of an answer that has to have a status."""
        answer = await self.call(method, path, **sent)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def create(self, **members: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.read("/short-urls", method="POST", json={"longUrl": URL, **members})
        return made

    async def listed(self, **parameters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.read("/short-urls", params=parameters))["shortUrls"]["data"]
        return found

    async def codes(self, **parameters: Any) -> list[str]:
        return [each["shortCode"] for each in await self.listed(**parameters)]

    async def refused(
        self, slug: str, status: int, method: str, path: str, members: dict[str, Any] | None = None, **sent: Any
    ) -> None:
        """Call, and check that the answer is this problem and has these members."""
        answer = await self.call(method, path, **sent)
        problem = answer.json()

        assert (problem.get("type"), answer.status_code) == (f"{PROBLEMS}{slug}", status), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["status"] == status
        assert problem["title"]
        assert problem["detail"]
        extra = {name: value for name, value in problem.items() if name not in ("type", "title", "detail", "status")}
        assert extra == (members or {})
