"""The frame around the pages: what a key opens, and what is said when something fails."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from services.links.keys.rows import revoke_key
from shared.postgres import Connection
from tests.dashboard.process import Dashboard, cookie_of, run_script, running_dashboard
from tests.dashboard.stack import Stack

REVOKED_WITHIN_S = 10


pytestmark = pytest.mark.xdist_group(name="dashboard")


@pytest.fixture(scope="module")
def stack(shared_stack: Stack) -> Stack:
    return shared_stack


@pytest.fixture(scope="module")
def dashboard(stack: Stack) -> Iterator[Dashboard]:
    with running_dashboard(stack.socket, stack.socket) as process:
        yield process


@pytest.mark.parametrize(
    ("scopes", "pages"),
    [
        (["links:read", "links:write", "stats:read"], ["Shorten", "Links", "Statistics", "Import"]),
        (["links:read"], ["Links"]),
        (["stats:read"], ["Statistics"]),
        (["admin"], ["Shorten", "Links", "Statistics", "Import", "Domains", "Keys"]),
    ],
)
def test_scopes_open_pages(scopes: list[str], pages: list[str], dashboard: Dashboard, stack: Stack) -> None:
    """The navigation has the pages that the key opens, and no others."""
    cookie = cookie_of(dashboard.sign_in(stack.key("alice", *scopes)))

    assert dashboard.visit(cookie).pages == pages


def test_revoked_key(dashboard: Dashboard, stack: Stack) -> None:
    """A visit with a key that was revoked since the sign-in says so, and leads to the sign-in."""
    text = stack.key()
    cookie = cookie_of(dashboard.sign_in(text))

    async def revoke(conn: Connection) -> None:
        await revoke_key(conn, text.split("_")[1])

    stack.query(revoke)
    deadline = time.monotonic() + REVOKED_WITHIN_S
    while "does not count" not in (seen := dashboard.visit(cookie)).text and time.monotonic() < deadline:
        pass

    assert "does not count any more" in seen.text
    assert 'action=\\"/dashboard/sign-in\\"' in seen.text
    assert "Traceback" not in seen.text


def test_expired_key(dashboard: Dashboard, stack: Stack) -> None:
    expired = stack.key(expires_at=datetime.now(UTC) - timedelta(seconds=1))

    assert dashboard.sign_in(expired).status_code == 401


def test_service_that_is_away(dashboard: Dashboard, stack: Stack) -> None:
    """While the API cannot be reached a visit says so and offers another try; when it is back, the try works."""
    cookie = cookie_of(dashboard.sign_in(stack.key()))
    hidden = stack.socket.with_suffix(".hidden")
    with dashboard.connect(cookie, dashboard.origin) as connection:
        stack.socket.rename(hidden)
        away = run_script(connection)
        hidden.rename(stack.socket)
        back = run_script(connection)

    assert "cannot be reached right now" in away.text
    assert "Try again" in away.text
    assert "cannot be reached right now" not in back.text
    assert back.pages == ["Shorten", "Links", "Statistics", "Import"]


def test_session_that_somebody_else_goes_on_with(dashboard: Dashboard, stack: Stack) -> None:
    """A page that lost its connection goes on with its session; after another sign-in of its browser, nothing of it is left."""
    alice, bob = (cookie_of(dashboard.sign_in(stack.key(*who))) for who in (("alice",), ("bob", "links:read")))
    first = dashboard.visit(alice)
    with dashboard.connect(alice, dashboard.origin, first.session) as connection:
        again = run_script(connection)
    with dashboard.connect(bob, dashboard.origin, first.session) as connection:
        other = run_script(connection)

    assert first.session == again.session == other.session
    assert "alice" in again.text
    assert "bob" in other.text
    assert "alice" not in other.text
    assert other.pages == ["Links"]
