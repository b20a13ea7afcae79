"""The dashboard as a process of its own, as a browser meets it: forms, a cookie, and Streamlit's WebSocket."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, unix_connect
from websockets.typing import Subprotocol

from deploy.local.services import service
from services.dashboard.door.cookies import COOKIE
from tests.conftest import running
from tests.serving import ANSWER_TIMEOUT_S, NO_TLS

HOST = "sho.rt"
SECRET = "a secret of the dashboard's tests, long enough"  # noqa: S105  # theirs alone
RUN_TIMEOUT_S = 30


@dataclass(frozen=True)
class Dashboard:
    """A process.

    Attributes:
        socket: Where it listens.
        log: What it writes.
        scheme: As browsers see the site.
    """

    socket: Path
    log: Path
    scheme: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{HOST}"

    def client(self, cookie: str | None = None, **headers: str) -> httpx.Client:
        """A browser, which may have a cookie already."""
        return httpx.Client(
            transport=httpx.HTTPTransport(verify=NO_TLS, uds=str(self.socket)),
            base_url=f"http://{HOST}",
            headers=with_cookie(cookie) | headers,
            timeout=ANSWER_TIMEOUT_S,
        )

    def sign_in(self, key: str, **headers: str) -> httpx.Response:
        """Send the form."""
        with self.client(**({"Origin": self.origin} | headers)) as client:
            return client.post("/dashboard/sign-in", data={"key": key})

    def connect(self, cookie: str | None, origin: str | None = None, session: str = "") -> ClientConnection:
        """Open Streamlit's WebSocket, for a session of before if one is given."""
        headers = with_cookie(cookie) | ({"Origin": origin} if origin else {})
        return unix_connect(
            str(self.socket),
            f"ws://{HOST}/dashboard/_stcore/stream",
            additional_headers=headers,
            subprotocols=[
                Subprotocol(each) for each in (["streamlit", "unused", session] if session else ["streamlit"])
            ],
            compression=None,
        )

    def visit(self, cookie: str | None, page: str = "") -> "ScriptRun":
        """Run the script as a browser does that opens a page."""
        with self.connect(cookie, self.origin) as connection:
            return run_script(connection, page)


@dataclass(frozen=True)
class ScriptRun:
    """What a run of the script sent.

    Attributes:
        pages: The titles in the navigation.
        text: Everything, as the wire has it.
        session: Names the session, for a connection that goes on with it.
    """

    pages: list[str]
    text: str
    session: str


def run_script(connection: ClientConnection, page: str = "") -> ScriptRun:
    """Ask for a run of the script, and read until it has finished."""
    ask = BackMsg()
    ask.rerun_script.page_name = page
    connection.send(ask.SerializeToString())
    pages: list[str] = []
    text = session = ""
    while True:
        received = connection.recv(timeout=RUN_TIMEOUT_S)
        assert isinstance(received, bytes)
        message = ForwardMsg.FromString(received)
        text += str(message)
        kind = message.WhichOneof("type")
        if kind == "navigation":
            pages = [each.page_name for each in message.navigation.app_pages]
        elif kind == "new_session":
            session = message.new_session.initialize.session_id
        elif kind == "script_finished":
            return ScriptRun(pages, text, session)


@contextmanager
def running_dashboard(socket: Path, links: Path, scheme: str = "http", **settings: str) -> Iterator[Dashboard]:
    """Run the dashboard before a write service at a socket."""
    socket = socket.with_suffix(f".{secrets.token_hex(3)}.sock")
    log = socket.with_suffix(".log")
    environment = {
        "PUBLIC_BASE_URL": f"{scheme}://{HOST}",
        "LINKS_ADDRESS": f"unix:{links}",
        "DASHBOARD_SECRET_KEY": SECRET,
        "LOG_LEVEL": "debug",
    }
    program = service("dashboard", ["services.dashboard"], f"unix:{socket}", **(environment | settings))
    with running(program, log):
        yield Dashboard(socket, log, scheme)


def cookie_of(response: httpx.Response) -> str:
    """The cookie that an answer sets."""
    return SimpleCookie(response.headers["set-cookie"])[COOKIE].value


def with_cookie(cookie: str | None) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
