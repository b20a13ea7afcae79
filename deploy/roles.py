"""Passwords of the database roles, set by whoever owns the server: the local stack, a deployment, a rotation."""

from shared.postgres import Connection


async def set_password(conn: Connection, role: str, password: str) -> None:
    """Let a role log in with a password. Connections that are open stay open.

    Args:
        conn: A connection of a role that may alter it.
        role: Its name.
        password: Sent to the server in this statement: use a Unix socket or TLS.
    """
    # ALTER ROLE takes no parameters, so the server itself quotes them.
    statement = await conn.fetchval(
        "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", role, password
    )
    await conn.execute(statement)
