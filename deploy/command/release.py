"""`tinyurl migrate`, `nginx-files` and `smoke`: the steps of a deployment that run in a container of the new release."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from deploy.command.runner import run
from deploy.command.smoke import Colour, SmokeFailed, smoke
from deploy.nginx.files import NginxFiles
from shared.postgres import FAILURES, open_connection
from shared.roles import set_login
from shared.schema import migrate
from shared.settings import MigrationSettings, NginxSettings, SmokeSettings, load_settings

LOGINS = {"links_database_url": "tinyurl_links", "redirect_database_url": "tinyurl_redirect"}


def migrate_command() -> None:
    """Bring the database of OWNER_DATABASE_URL up to this release.

    A deployment runs it before it starts the new services. It waits for another migration that runs, and does nothing if
    there is nothing to do. If LINKS_DATABASE_URL and REDIRECT_DATABASE_URL are set, their users get their passwords.
    """
    run("migrate", _migrate(load_settings(MigrationSettings)))


def nginx_files(
    output: Annotated[Path, typer.Option(help="Folder for the files.")],
    links: Annotated[list[str], typer.Option(help="Address of a write service, as nginx's `server` takes it.")],
    redirect: Annotated[list[str], typer.Option(help="Address of a redirector, likewise.")],
    *,
    dashboard: Annotated[
        list[str] | None, typer.Option(help="Address of a dashboard, likewise; there may be none, or an empty one.")
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Listen on 443, and on 80 for the way to it.")] = False,
    resolver: Annotated[str, typer.Option(help="Name server for addresses that are names, asked every second.")] = "",
) -> None:
    """Write nginx's configuration for the containers, with the settings of the environment.

    Example: tinyurl nginx-files --output /etc/tinyurl --links links:8000 --redirect redirect:8000 --resolver 127.0.0.11
    """
    settings = load_settings(NginxSettings)
    NginxFiles(
        run="/run/nginx",
        access_log="/dev/stdout json buffer=16k flush=1s",
        domains=settings.own_domains,
        links=links,
        redirect=redirect,
        dashboard=[address for address in dashboard or () if address],
        listen="" if tls else "80",
        certificate="/etc/certificates/live.pem",
        challenges="/var/challenges",
        resolver=resolver,
        aliases=() if tls else ("localhost", "127.0.0.1", "[::1]"),
        cors_origins=settings.cors_origins,
        compat=settings.compat,
        root_url=settings.root_url,
        limits=settings.limits,
        workers="auto",
        user="" if tls else "nginx",
        trusted_proxies=settings.trusted_proxies,
        redirect_rate=settings.redirect_rate,
        api_rate=settings.api_rate,
        keepalive_min_timeout="5s",
    ).write(output)


def smoke_command(
    links: Annotated[list[str], typer.Option(help="Address of a write service, as LISTEN has it.")],
    redirect: Annotated[list[str], typer.Option(help="Address of a redirector, likewise.")],
    dashboard: Annotated[list[str] | None, typer.Option(help="Address of a dashboard, likewise.")] = None,
) -> None:
    """Create, follow and delete a link, and sign in, at processes that nginx does not use yet.

    Example: tinyurl smoke --links unix:/run/tinyurl/links.sock --redirect unix:/run/tinyurl/redirect.sock
    """
    settings = load_settings(SmokeSettings)
    colour = Colour(links, redirect, dashboard or ())
    run("smoke", smoke(settings, colour), failures=(SmokeFailed, *FAILURES))
    typer.echo(f"{len(colour.links) + len(colour.redirect) + len(colour.dashboard)} processes work")


async def _migrate(settings: MigrationSettings) -> None:
    url = settings.owner_database_url.get_secret_value()
    applied = await migrate(url)
    typer.echo(f"applied: {', '.join(map(str, applied))}" if applied else "nothing to do")
    async with open_connection(url, "migrate", statement_timeout_s=None) as conn:
        for name, group in LOGINS.items():
            login: SecretStr | None = getattr(settings, name)
            if login:
                typer.echo(f"login: {await set_login(conn, login.get_secret_value(), group)}")
