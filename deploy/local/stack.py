"""Runs everything on one machine: real PostgreSQL, Valkey and nginx, with the services between them.

`tinyurl up` calls it. The data stay in a folder, and so do the secrets, which are drawn when the folder is made.
"""

import asyncio
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from deploy.local.folder import load_secrets, locked, store_secrets, write_environment, write_private
from deploy.local.nginx import Nginx, choose_binary
from deploy.local.postgres import OWNER, ROLES, SUPERUSER, Postgres
from deploy.local.preparation import prepared_database
from deploy.local.programs import Program, StartFailed
from deploy.local.services import service
from deploy.local.supervisor import Supervisor
from deploy.local.valkey import Valkey
from shared.api import ForeignApi

COMPAT = get_args(ForeignApi)
"""A newcomer who tries an old client should find that it works."""

SIGN_IN_CODE_S = 300
"""How long the link that signs in works."""


@dataclass(frozen=True)
class StackOptions:
    """The options of `tinyurl up`.

    Attributes:
        nginx: Another nginx than `choose_binary` takes by itself.
    """

    data: Path
    port: int = 8080
    workers: int = 1
    durable: bool = True
    limits: bool = True
    nginx: str | None = None
    dashboard: bool = True


@dataclass(frozen=True)
class RunningStack:
    """A stack that is ready, but for its dashboard, which takes longer than all the rest.

    Attributes:
        url: Where it answers.
        api_key: The key of an admin.
        sign_in_url: Gets the address that opens the dashboard signed in, once and within five minutes, when it is ready.
    """

    url: str
    api_key: str
    sign_in_url: asyncio.Future[str]


@asynccontextmanager
async def run_stack(options: StackOptions, say: Callable[[str], None]) -> AsyncIterator[RunningStack]:
    """Start the stack, and stop it at the end.

    Raises:
        StartFailed: The port or the folder is in use, or a part does not start.
    """
    options.data.mkdir(parents=True, exist_ok=True)
    with locked(options.data), _socket_folder() as sockets:
        _check_port(options.port)
        stack = _Stack(options, sockets, say)
        try:
            yield await stack.start()
        finally:
            await stack.stop()


class _Stack:
    def __init__(self, options: StackOptions, sockets: Path, say: Callable[[str], None]) -> None:
        self._options = options
        self._sockets = sockets
        self._say = say
        self._url = f"http://127.0.0.1:{options.port}"
        self._secrets = load_secrets(options.data)
        self._is_ready = False
        logs = options.data / "logs"
        logs.mkdir(exist_ok=True)
        self._supervisor = Supervisor(logs, say, self._write_state)

    async def start(self) -> RunningStack:
        options, supervisor = self._options, self._supervisor
        # One that was killed could leave it.
        (options.data / "state.json").unlink(missing_ok=True)
        # It asks programs for some 40 ms, while others start.
        choosing = asyncio.get_running_loop().run_in_executor(None, choose_binary, options.nginx)
        postgres_sockets = self._sockets / "postgres"
        postgres_sockets.mkdir()
        # PostgreSQL, where it runs as another user than we do, makes its socket here.
        postgres_sockets.chmod(0o777)
        passwords = {role: self._secrets[role] for role in (SUPERUSER, OWNER, *ROLES)}
        postgres = Postgres(options.data / "postgres", postgres_sockets, passwords, durable=options.durable)
        valkey = Valkey(self._sockets / "valkey.sock", self._secrets["valkey"], self._secrets["valkey_admin"])
        async with prepared_database() as prepare:
            await asyncio.to_thread(postgres.init)
            await supervisor.start(postgres.program(), valkey.program())
            api_key = self._keep_key(await prepare(postgres, self._secrets.get("api_key", "")))
        links = self._links(postgres)
        redirects = [self._redirect(n, postgres, valkey) for n in range(1, options.workers + 1)]
        owner = {
            "OWNER_DATABASE_URL": postgres.url(OWNER),
            "REDIS_ADMIN_URL": valkey.admin_url,
            "BACKUP_DIR": str(options.data / "backups"),
        }
        write_environment(options.data, links.environment, redirects[0].environment, owner)
        code = secrets.token_urlsafe(32)
        dashboard = self._dashboard(api_key, code) if options.dashboard else None
        binary = await choosing
        self._say(str(binary))
        nginx = Nginx(
            folder=self._sockets / "nginx",
            port=options.port,
            domains=["127.0.0.1"],
            links=[_path(links)],
            redirect=[_path(each) for each in redirects],
            dashboard=[_path(dashboard)] if dashboard else [],
            access_log=f"{options.data / 'logs' / 'access.log'} json buffer=64k flush=1s",
            options={"limits": options.limits, "compat": COMPAT},
            binary=binary.path,
        )
        await supervisor.start(links, *redirects, nginx.program())
        self._is_ready = True
        self._write_state()
        sign_in_url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if dashboard:
            shown = f"{self._url}/dashboard/sign-in?code={code}"
            supervisor.start_later(dashboard, lambda: sign_in_url.set_result(shown))
        return RunningStack(self._url, api_key, sign_in_url)

    async def stop(self) -> None:
        await self._supervisor.stop()
        (self._options.data / "state.json").unlink(missing_ok=True)

    def _links(self, postgres: Postgres) -> Program:
        return service(
            "links",
            ["services.links"],
            f"unix:{self._sockets / 'links.sock'}",
            LINKS_DATABASE_URL=postgres.url("tinyurl_links"),
            FASTAPI_SECRET_KEY=self._secrets["fastapi_secret_key"],
            PUBLIC_BASE_URL=self._url,
            INTERNAL_TOKEN=self._secrets["internal_token"],
            COMPAT=",".join(COMPAT),
        )

    def _redirect(self, number: int, postgres: Postgres, valkey: Valkey) -> Program:
        return service(
            f"redirect-{number}",
            ["services.redirect"],
            f"unix:{self._sockets / f'redirect-{number}.sock'}",
            REDIRECT_DATABASE_URL=postgres.url("tinyurl_redirect"),
            REDIS_URL=valkey.url,
            JOURNAL_DIR=str(self._options.data / "journal"),
            LINKS_ADDRESS=f"unix:{self._sockets / 'links.sock'}",
            INTERNAL_TOKEN=self._secrets["internal_token"],
        )

    def _dashboard(self, api_key: str, code: str) -> Program:
        return service(
            "dashboard",
            ["services.dashboard"],
            f"unix:{self._sockets / 'dashboard.sock'}",
            PUBLIC_BASE_URL=self._url,
            LINKS_ADDRESS=f"unix:{self._sockets / 'links.sock'}",
            DASHBOARD_SECRET_KEY=self._secrets["dashboard_secret_key"],
            SIGN_IN_CODE=code,
            SIGN_IN_CODE_KEY=api_key,
            SIGN_IN_CODE_UNTIL=str(int(time.time()) + SIGN_IN_CODE_S),
        )

    def _keep_key(self, key: str) -> str:
        if key != self._secrets.get("api_key"):
            self._secrets["api_key"] = key
            store_secrets(self._options.data, self._secrets)
        return key

    def _write_state(self) -> None:
        """Say where everything is. The file appears when all but the dashboard is ready: scripts wait for it."""
        if not self._is_ready:
            return
        processes = []
        for name, process in self._supervisor.processes.items():
            address = self._supervisor.programs[name].address
            place = {"port": address} if isinstance(address, int) else {"socket": str(address)}
            processes.append({"name": name, "pid": process.pid, **place})
        state = {"url": self._url, "api_key": self._secrets["api_key"], "processes": processes}
        write_private(self._options.data / "state.json", json.dumps(state, indent=2) + "\n")


def _path(program: Program) -> Path:
    assert isinstance(program.address, Path)
    return program.address


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StartFailed(
                f"Port {port} cannot be used ({error.strerror}): choose another one with --port."
            ) from None


@contextmanager
def _socket_folder() -> Iterator[Path]:
    """Make a folder with a short path: the path of a Unix socket may have 107 bytes at most."""
    folder = Path(tempfile.mkdtemp(prefix="tinyurl-"))
    # When root runs the stack, nginx's workers enter as `nobody`; every socket within checks who it talks to.
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
