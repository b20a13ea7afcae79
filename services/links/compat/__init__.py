"""The APIs of other shorteners, for clients that speak them: thin adapters over what the API of this site does.

A folder for each. The app includes the routers that `COMPAT` names; `docs/compat.md` tells what each of them can do.
"""

from collections.abc import Callable, Mapping

from fastapi import APIRouter

from services.links.compat.kutt.routes import kutt_router
from services.links.compat.polr.routes import polr_router
from services.links.compat.shlink.routes import shlink_router
from services.links.compat.yourls.routes import yourls_router
from shared.api import ForeignApi

FOREIGN_ROUTERS: Mapping[ForeignApi, Callable[[], APIRouter]] = {
    "yourls": yourls_router,
    "shlink": shlink_router,
    "kutt": kutt_router,
    "polr": polr_router,
}
