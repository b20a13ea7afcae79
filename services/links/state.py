"""What the app opens at its start, and how a route reaches it.

The rooms' classes are named for the type checker alone, so a room that reads the state loads no other room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import Request

    from services.links.claims.claimer import Claimer
    from services.links.clicks.queue import ClickQueue
    from services.links.clicks.routes import InternalTokens
    from services.links.imports.routes import UploadGate
    from services.links.imports.starter import ImportStarter
    from services.links.keys.authentication import Keyring
    from services.links.links.batch import BatchGate
    from services.links.links.creation import Creator
    from services.links.links.exports import ExportGate
    from services.links.metrics import Metrics
    from services.links.site import Site
    from services.links.unlocks.unlocking import Unlocker
    from services.links.web.hashing import HashGate
    from services.links.web.idempotency import AnswerMemory
    from services.links.web.shares import Shares
    from shared.postgres import Pool

STATE = "links"
"""The name under which the lifespan yields the state; the server adds another name (`shared/health.py`)."""


@dataclass(frozen=True, slots=True)
class LinksState:
    """What the lifespan opens, for the routes.

    Attributes:
        pool: Connections for single links. The other pools are for what their names say.
        release: Which release this is.
    """

    site: Site
    pool: Pool
    key_pool: Pool
    list_pool: Pool
    export_pool: Pool
    stats_pool: Pool
    shares: Shares
    memory: AnswerMemory
    keyring: Keyring
    creator: Creator
    claimer: Claimer
    hashing: HashGate
    unlocker: Unlocker
    batch_gate: BatchGate
    export_gate: ExportGate
    uploads: UploadGate
    imports: ImportStarter
    metrics: Metrics
    internal_tokens: InternalTokens
    clicks: ClickQueue
    release: str


def state_of(request: Request) -> LinksState:
    """Return the state of the app that a request came to."""
    state: LinksState = request.scope["state"][STATE]
    return state
