"""Signing in and out: plain pages and forms, because Streamlit can set no cookie that scripts cannot read.

The API checks a key, and the cookie keeps it for the pages. No address ever has the key.
"""

import hmac
import time
from collections.abc import Callable
from html import escape
from http import HTTPStatus
from pathlib import Path
from string import Template
from urllib.parse import parse_qs

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from services.dashboard.door.cookies import COOKIE, PATH, KeyCookies
from services.dashboard.door.guard import ICON, SIGN_IN, SIGN_OUT, digest_source, is_same_origin
from services.dashboard.door.upstream import links_url
from services.dashboard.metrics import DashboardMetrics
from shared.client import ApiError, Client, KeyRefused
from shared.settings import DashboardSettings

LARGEST_FORM = 4096
TIMEOUT_S = 5

_page = Template((Path(__file__).parent / "sign_in.html").read_text())
_style = _page.template.partition("<style>")[2].partition("</style>")[0]

PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; img-src 'self'; style-src {digest_source(_style)}; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}

log = structlog.get_logger()


class SignIn:
    """The routes.

    Args:
        settings: Where the API is, whether browsers come over TLS, and the code of the local stack.
        cookies: Writes the cookie.
        metrics: Counts.
        clock: Tells the time, seconds since 1970.
    """

    def __init__(
        self,
        settings: DashboardSettings,
        cookies: KeyCookies,
        metrics: DashboardMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._scheme = "https" if settings.is_https else "http"
        self._cookies = cookies
        self._metrics = metrics
        self._clock = clock
        self._is_code_used = False

    def routes(self) -> list[BaseRoute]:
        return [
            Route(SIGN_IN, self.show, methods=["GET"]),
            Route(SIGN_IN, self.sign_in, methods=["POST"]),
            Route(SIGN_OUT, self.sign_out, methods=["GET", "POST"]),
            Route(ICON, _icon),
        ]

    async def show(self, request: Request) -> Response:
        """Show the form. With the code of the local stack, sign in at once."""
        code = request.query_params.get("code")
        if code is None:
            return _form()
        key = self._key_of(code) if request.method == "GET" else None
        if key is None:
            self._metrics.count("code refused")
            return _form("This link was used, or is older than five minutes. Sign in with the key.", HTTPStatus.GONE)
        self._metrics.count("signed in")
        return self._let_in(key)

    async def sign_in(self, request: Request) -> Response:
        """Try the key, and keep it in the cookie if it is valid."""
        if not is_same_origin(request.headers, self._scheme):
            return _foreign()
        key = await _read_key(request)
        if key is None:
            return _form("Enter a key.", HTTPStatus.BAD_REQUEST)
        try:
            await run_in_threadpool(self._check, key)
        except KeyRefused:
            self._metrics.count("key refused")
            log.info("sign_in_refused")
            return _form("This key does not count: it is mistyped, revoked or expired.", HTTPStatus.UNAUTHORIZED)
        except ApiError as error:
            self._metrics.count("not reached")
            log.warning("sign_in_not_possible", status=error.status, problem=error.type)
            return _form("The link service cannot be reached. Try again in a moment.", HTTPStatus.SERVICE_UNAVAILABLE)
        self._metrics.count("signed in")
        return self._let_in(key)

    async def sign_out(self, request: Request) -> Response:
        """Forget the key. Pages of other sites cannot sign a visitor out."""
        if request.method != "POST":
            return PlainTextResponse("Send the form.\n", HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "POST"})
        if not is_same_origin(request.headers, self._scheme):
            return _foreign()
        response = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
        response.delete_cookie(COOKIE, PATH, secure=self._settings.is_https, httponly=True, samesite="lax")
        return response

    def _check(self, key: str) -> None:
        with Client(links_url(self._settings.links_address), key, TIMEOUT_S) as client:
            client.current_key()

    def _let_in(self, key: str) -> Response:
        response = RedirectResponse(
            f"{PATH}/", HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        )
        response.set_cookie(
            COOKIE,
            self._cookies.write(key),
            max_age=self._cookies.max_age_s,
            path=PATH,
            secure=self._settings.is_https,
            httponly=True,
            # Lax, so that a link to the dashboard works; what changes anything is a WebSocket or a form, which get it
            # from our own pages only.
            samesite="lax",
        )
        return response

    def _key_of(self, code: str) -> str | None:
        """Return the key that belongs to the code: once, and until the code expires."""
        wanted, key = self._settings.sign_in_code, self._settings.sign_in_code_key
        if wanted is None or key is None or self._is_code_used or self._clock() >= self._settings.sign_in_code_until:
            return None
        if not hmac.compare_digest(code.encode(), wanted.get_secret_value().encode()):
            return None
        self._is_code_used = True
        return key.get_secret_value()


async def _icon(request: Request) -> Response:
    return FileResponse(Path(__file__).parents[1] / "icon.svg", headers={"Cache-Control": "public, max-age=86400"})


async def _read_key(request: Request) -> str | None:
    """Return the field `key` of the form; None if there is none."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            return None
    try:
        fields = parse_qs(body.decode(), max_num_fields=10)
    except ValueError:
        return None
    return fields.get("key", [""])[0].strip() or None


def _form(trouble: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    shown = f'<p class="trouble" role="alert">{escape(trouble)}</p>' if trouble else ""
    headers = dict(PAGE_HEADERS)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    return HTMLResponse(_page.substitute(action=SIGN_IN, icon=ICON, trouble=shown), status, headers)


def _foreign() -> Response:
    return PlainTextResponse("This form was sent from another site.\n", HTTPStatus.FORBIDDEN, PAGE_HEADERS)
