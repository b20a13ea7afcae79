"""Opens connections to Postgres, with a deadline on every wait: for the services, the migrations and the commands."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

CONNECT_TIMEOUT_S = 2.0
DEADLINE_S = 5.0

# The classes are generic for the type checker only.
OwnConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connection: TypeAlias = "OwnConnection | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    # A restore is exchanging the database.
    asyncpg.InvalidCatalogNameError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.PostgresIOError,
)
"""The errors of a statement when the server is away, overloaded or restarting. The same statement can succeed later."""

FAILURES = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError)
"""All errors of a statement."""


@asynccontextmanager
async def open_pool(
    url: str, *, size: int, application: str, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Pool]:
    """Open a pool that connects on first use, so that a service starts while its database is away.

    Args:
        url: A libpq URL.
        size: The most connections.
        application: Shown in `pg_stat_activity`.
        settings: More settings of the sessions.
    """
    pool = asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=60.0,
        timeout=CONNECT_TIMEOUT_S,
        # Nobody changes the state of a connection, so it needs no statement that resets it.
        reset=_keep_state,
        server_settings={**_session(application, DEADLINE_S), **(settings or {})},
    )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(pool)
        stack.callback(pool.terminate)
        yield pool


@asynccontextmanager
async def open_connection(
    url: str,
    application: str,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    statement_timeout_s: float | None = DEADLINE_S,
    command_timeout_s: float | None = None,
) -> AsyncIterator[OwnConnection]:
    """Open a connection that closes at the end; the arguments are those of `connect`."""
    conn = await connect(
        url,
        application,
        connect_timeout_s=connect_timeout_s,
        statement_timeout_s=statement_timeout_s,
        command_timeout_s=command_timeout_s,
    )
    try:
        yield conn
    finally:
        # The work is done, so it is no failure if the server is gone by now.
        try:
            await conn.close(timeout=CONNECT_TIMEOUT_S)
        except FAILURES:
            conn.terminate()


async def connect(
    url: str,
    application: str,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    statement_timeout_s: float | None = DEADLINE_S,
    command_timeout_s: float | None = None,
) -> OwnConnection:
    """Connect. The caller keeps the connection and closes it.

    Args:
        url: A libpq URL.
        application: Shown in `pg_stat_activity`.
        connect_timeout_s: The deadline of the connection itself.
        statement_timeout_s: The server ends a statement after it; None for work that sets its own deadlines.
        command_timeout_s: The client ends a statement after it.
    """
    return await asyncpg.connect(
        url,
        timeout=connect_timeout_s,
        command_timeout=command_timeout_s,
        server_settings=_session(application, statement_timeout_s),
    )


@asynccontextmanager
async def connection(pool: Pool, *, deadline_s: float = DEADLINE_S) -> AsyncIterator[Connection]:
    """Lend a connection for at most `deadline_s`; the wait for a free one counts, too.

    A connection that misses the deadline is closed at once, because a server that hangs would hang its return as well.

    Raises:
        TimeoutError: The deadline has passed.
    """
    async with asyncio.timeout(deadline_s):
        conn = await pool.acquire()
        try:
            yield conn
        except (TimeoutError, asyncio.CancelledError):
            conn.terminate()
            raise
        finally:
            await pool.release(conn, timeout=1.0)


def _session(application: str, statement_timeout_s: float | None) -> dict[str, str]:
    """Return the settings of a session: its name, its time zone, and its deadlines."""
    settings = {"application_name": f"tinyurl {application}", "timezone": "UTC"}
    if statement_timeout_s is None:
        return settings | {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
    return settings | {
        "statement_timeout": f"{statement_timeout_s:g}s",
        "lock_timeout": "3s",
        "idle_in_transaction_session_timeout": "10s",
    }


async def _keep_state(conn: Connection) -> None:
    """Leave the session as it is."""
