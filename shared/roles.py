"""Sets up logins of the database, for the owner of the server: the local stack, a deployment, a rotation."""

from urllib.parse import unquote, urlsplit

from shared.postgres import Connection


async def set_password(conn: Connection, role: str, password: str) -> None:
    """Let a role log in with a password. Connections that are open stay open.

    Args:
        conn: A connection of a role that may alter it.
        role: Its name.
        password: Sent to the server in this statement: use a Unix socket, a private network or TLS.
    """
    # ALTER ROLE takes no parameters, so the server itself quotes them.
    statement = await conn.fetchval(
        "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", role, password
    )
    await conn.execute(statement)


async def set_login(conn: Connection, url: str, group: str) -> str:
    """Let the user of a service's URL log in with the URL's password, with the rights of a role.

    A service with two logins in turn changes its password without a moment in which its login is refused.

    Args:
        conn: A connection of the database's owner.
        url: The URL of the service, `postgresql://user:password@…`.
        group: The role that has the service's rights; the user may be that role itself.

    Returns:
        The user.
    """
    parts = urlsplit(url)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not await conn.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", user):
        await conn.execute(
            await conn.fetchval("SELECT format('CREATE ROLE %I IN ROLE %I', $1::text, $2::text)", user, group)
        )
    await set_password(conn, user, password)
    return user
