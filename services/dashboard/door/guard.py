"""Stands before Streamlit: people who are not signed in get only the sign-in page, and requests of other sites are refused.

Streamlit's own check of a WebSocket's origin accepts every page of the visitor's machine, so this module checks it strictly.
"""

import base64
import hashlib
import re
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.dashboard.door.cookies import COOKIE, PATH, KeyCookies
from shared.health import OPERATIONS

SIGN_IN = f"{PATH}/sign-in"
SIGN_OUT = f"{PATH}/sign-out"

ICON = f"{PATH}/icon.svg"

STATIC = f"{PATH}/static/"
PUBLIC = OPERATIONS | {
    SIGN_IN,
    SIGN_OUT,
    ICON,
    f"{PATH}/favicon.png",
    f"{PATH}/manifest.json",
    f"{PATH}/_stcore/health",
    f"{PATH}/_stcore/host-config",
}
"""The paths that a browser may have before anyone signs in. They have no data of users."""

FILES = tuple(f"{PATH}/{part}/" for part in ("_stcore", "media", "component"))
"""The paths that pages fetch and people do not open."""

_closed = re.compile(r"/_stcore/(agent|metrics)(/|$)")
"""Parts of Streamlit that the dashboard does not use."""

XSRF_COOKIE = "_streamlit_xsrf"


class Guard:
    """ASGI middleware around Streamlit.

    Args:
        app: What it wraps.
        cookies: Reads who is signed in.
        scheme: `https` or `http`, as browsers see this site.
        policy: The Content-Security-Policy of every answer that has none of its own.
    """

    def __init__(self, app: ASGIApp, cookies: KeyCookies, scheme: str, policy: str) -> None:
        self._app = app
        self._cookies = cookies
        self._scheme = scheme
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if self._may_connect(HTTPConnection(scope)):
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            answer = self._refusal(HTTPConnection(scope))
            await (answer or self._app)(scope, receive, self._with_headers(send))
        else:
            await self._app(scope, receive, send)

    def _may_connect(self, connection: HTTPConnection) -> bool:
        # An old cookie is accepted here, and the page says so. A browser would try a refused WebSocket again for ever.
        return is_same_origin(connection.headers, self._scheme) and self._cookies.is_ours(
            connection.cookies.get(COOKIE)
        )

    def _refusal(self, connection: HTTPConnection) -> Response | None:
        # Not `connection.url`: it has the Host header, and a strange one would change the path.
        path = connection.scope["path"]
        if _closed.search(path):
            return PlainTextResponse("Not found\n", HTTPStatus.NOT_FOUND)
        if path in PUBLIC or path.startswith(STATIC) or self._cookies.read(connection.cookies.get(COOKIE)):
            return None
        if connection.scope["method"] in {"GET", "HEAD"} and not path.startswith(FILES):
            return RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
        return PlainTextResponse("Sign in first\n", HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})

    def _with_headers(self, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", self._policy)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("X-Frame-Options", "DENY")
                # With `no-referrer` a browser would not send the origin of the form that signs out.
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("X-Robots-Tag", "noindex")
                if self._scheme == "https":
                    message["headers"] = [_secured(name, value) for name, value in message["headers"]]
            await send(message)

        return send_with_headers


def is_same_origin(headers: Headers, scheme: str) -> bool:
    """Tell whether a request comes from a page of the host that it is sent to.

    nginx lets no other host than ours through, and every browser sends `Origin` with a WebSocket and with a POST.
    """
    return headers.get("origin", "").lower() == f"{scheme}://{headers.get('host', '').lower()}"


def page_policy(html: str) -> str:
    """Return the Content-Security-Policy for Streamlit's page: everything comes from this host, and only its own scripts run.

    Args:
        html: The page; the scripts within it are allowed by their digests.
    """
    inline = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    scripts = " ".join(["'self'", *(digest_source(script) for script in inline)])
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts}",
            # Streamlit's components have styles of their own.
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def digest_source(text: str) -> str:
    """Return the name that a policy has for a script or a style within a page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _secured(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Add `Secure` to Streamlit's cookie: Streamlit does not know that nginx speaks TLS for it."""
    if name.lower() == b"set-cookie" and value.startswith(XSRF_COOKIE.encode()) and b"secure" not in value.lower():
        return name, value + b"; Secure"
    return name, value
