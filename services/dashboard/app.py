"""The dashboard: Streamlit as an ASGI app under `/dashboard/`, with the sign-in before it.

nginx sends it `/dashboard/`, WebSockets included; it speaks the API with the key of whoever is signed in, and nothing else.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp
from streamlit import config
from streamlit.starlette import App

# With the pages, so that one that cannot be imported stops the start. pandas and Altair come with the first table and chart.
from services.dashboard import main
from services.dashboard.door.cookies import KeyCookies
from services.dashboard.door.frontend import Frontend
from services.dashboard.door.guard import Guard, page_policy
from services.dashboard.door.sign_in import SignIn
from services.dashboard.health import Health
from services.dashboard.metrics import DashboardMetrics
from services.dashboard.widgets.failures import explain
from shared.logs import configure_logs
from shared.settings import DashboardSettings, load_settings

SCRIPT = Path(main.__file__)

FIXED_OPTIONS = {
    "server.baseUrlPath": "dashboard",
    "server.enableXsrfProtection": True,
    "server.enableCORS": True,
    "server.enableAgentApi": False,
    "server.enableStaticServing": False,
    # A deployment asks whether the script runs; the guard lets nobody else.
    "server.scriptHealthCheckEnabled": True,
    "client.showErrorDetails": "none",
    "browser.gatherUsageStats": False,
}
"""What no file and no environment variable of Streamlit's own may change; the rest is in `.streamlit/config.toml`."""


def create_app(settings: DashboardSettings | None = None, clock: Callable[[], float] = time.time) -> ASGIApp:
    """Build the service. Without settings it reads them from the environment. A process has at most one."""
    settings = settings or load_settings(DashboardSettings)
    configure_logs(settings)
    metrics = DashboardMetrics()
    secret = settings.dashboard_secret_key.get_secret_value()
    previous = settings.dashboard_secret_key_previous
    secret_before = previous.get_secret_value() if previous else ""
    cookies = KeyCookies(secret, secret_before, days=settings.sign_in_days, clock=clock)
    frontend = Frontend()

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[dict[str, Any] | None]:
        _join_logs()
        yield None

    app = App(
        SCRIPT,
        # In a table of its own: Streamlit puts what is at the top into the environment.
        secrets={
            "dashboard": {
                "links_address": settings.links_address,
                "cookie_secret": secret,
                "cookie_secret_previous": secret_before,
                "sign_in_days": settings.sign_in_days,
            }
        },
        routes=[
            *Health(settings.release, metrics).routes(),
            *SignIn(settings, cookies, metrics, clock).routes(),
            *frontend.routes(page[0] for page in main.PAGES),
        ],
        middleware=[
            Middleware(
                Guard,
                cookies=cookies,
                scheme="https" if settings.is_https else "http",
                policy=page_policy(frontend.html),
            )
        ],
        lifespan=lifespan,
        on_script_error=explain,
    )
    for name, value in FIXED_OPTIONS.items():
        config.set_option(name, value)
    return app


def _join_logs() -> None:
    """Make Streamlit's loggers write like all others."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "streamlit":
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
