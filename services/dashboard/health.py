"""`/livez`, `/readyz` and `/metrics` of the dashboard."""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from services.dashboard.metrics import DashboardMetrics
from shared.health import is_draining


class Health:
    """The routes.

    Args:
        release: Which release this is.
        metrics: What `/metrics` tells.
    """

    def __init__(self, release: str, metrics: DashboardMetrics) -> None:
        self._release = release
        self._metrics = metrics

    def routes(self) -> list[BaseRoute]:
        return [Route("/livez", self.livez), Route("/readyz", self.readyz), Route("/metrics", self.metrics)]

    async def livez(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """Answer that it is ready until it stops. Pages work again by themselves when an API that was away is back."""
        if is_draining(request.scope["state"]):
            return JSONResponse({"status": "not ready", "missing": ["draining"]}, status_code=503)
        return JSONResponse({"status": "ready", "release": self._release})

    async def metrics(self, request: Request) -> Response:
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)
