"""`/openapi.json` and `/docs`: the description of the API, and a page that shows it without files of other hosts.

A thread makes all answers once, for the first client, because the description takes some 100 ms.
"""

import asyncio
import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

VENDOR = Path(__file__).parents[3] / "shared" / "vendor"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TinyURL API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
"""The page has no validator. By default every browser would ask one on another host."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # Swagger UI's pictures are in its style sheet.
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@dataclass(frozen=True, slots=True)
class _File:
    """A finished answer, plain and compressed."""

    media_type: str
    plain: bytes
    compressed: bytes
    etag: str


class Documentation:
    """The routes of the description and its page.

    Args:
        describe: Makes the OpenAPI description of the API.
    """

    def __init__(self, describe: Callable[[], dict[str, Any]]) -> None:
        self._describe = describe
        self._making: asyncio.Task[dict[str, _File]] | None = None

    def routes(self) -> list[Route]:
        paths = ("/openapi.json", "/docs", "/docs/{name}")
        return [Route(path, self._answer, methods=["GET"], include_in_schema=False) for path in paths]

    async def _answer(self, request: Request) -> Response:
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        files = await asyncio.shield(self._making)
        file = files.get(request.url.path)
        if file is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        headers = {
            "ETag": file.etag,
            "Cache-Control": "no-cache",
            "Vary": "Accept-Encoding",
            "Content-Security-Policy": POLICY,
        }
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
        return Response(file.plain, headers=headers, media_type=file.media_type)

    def _make(self) -> dict[str, _File]:
        description = json.dumps(self._describe(), ensure_ascii=False, separators=(",", ":")).encode()
        return {
            "/openapi.json": _file("application/json", description),
            "/docs": _file("text/html", PAGE.encode()),
            "/docs/start.js": _file("text/javascript", START.encode()),
            "/docs/swagger-ui.css": _file("text/css", (VENDOR / "swagger-ui.css").read_bytes()),
            "/docs/swagger-ui-bundle.js": _file("text/javascript", (VENDOR / "swagger-ui-bundle.js").read_bytes()),
        }


def _file(media_type: str, content: bytes) -> _File:
    compressed = gzip.compress(content, mtime=0)
    return _File(media_type, content, compressed, f'W/"{hashlib.sha256(content).hexdigest()[:32]}"')
