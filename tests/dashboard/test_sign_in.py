"""Signing in to the real dashboard with keys of the real write service, and every way around it that we know."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from websockets.exceptions import InvalidStatus

from services.dashboard.door.cookies import COOKIE, DAY_S, KeyCookies
from services.dashboard.door.sign_in import SignIn
from services.dashboard.metrics import DashboardMetrics
from shared.settings import DashboardSettings
from tests.dashboard.process import HOST, SECRET, Dashboard, cookie_of, running_dashboard
from tests.dashboard.stack import Stack

CODE = "a code of the local stack that nobody guesses"
OLD_SECRET = "the secret that it had before this one"  # noqa: S105  # of these tests alone

LEAVE_A_KEY = """
import streamlit

set_page_config = streamlit.set_page_config


def leave_a_key(**options):
    streamlit.session_state["api_key"] = "{key}"
    set_page_config(**options)


streamlit.set_page_config = leave_a_key
"""
"""Before the script looks who is signed in."""

FORMS = [
    "",
    "key=",
    "other=tu_x",
    "key=%00%ff",
    "key=" + "x" * 5000,
    "&".join(f"field{n}=x" for n in range(100)),
]


pytestmark = pytest.mark.xdist_group(name="sign-in")


@pytest.fixture(scope="module")
def stack(shared_stack: Stack) -> Stack:
    return shared_stack


@pytest.fixture(scope="module")
def dashboard(stack: Stack) -> Iterator[Dashboard]:
    with running_dashboard(stack.socket, stack.socket, DASHBOARD_SECRET_KEY_PREVIOUS=OLD_SECRET) as process:
        yield process


def is_let_in(dashboard: Dashboard, cookie: str | None) -> bool:
    """Open the dashboard: it is shown, or leads to the sign-in."""
    with dashboard.client(cookie) as client:
        response = client.get("/dashboard/")
    assert response.status_code in (200, 303)
    if response.status_code == 303:
        assert response.headers["location"] == "/dashboard/sign-in"
    return response.status_code == 200


def is_connected(dashboard: Dashboard, cookie: str | None, origin: str | None) -> bool:
    try:
        with dashboard.connect(cookie, origin):
            return True
    except InvalidStatus as refused:
        if refused.response.status_code == 403:
            return False
        raise


def sign_ins(dashboard: Dashboard) -> Counter[str]:
    """How many there were, by their result."""
    with dashboard.client() as client:
        found = re.findall(
            r'^dashboard_sign_ins_total\{result="(.+)"\} (\S+)$', client.get("/metrics").text, re.MULTILINE
        )
    return Counter({result: round(float(number)) for result, number in found})


def test_right_key_signs_in(dashboard: Dashboard, stack: Stack) -> None:
    """The answer leads to the dashboard, which is shown then; the cookie hides the key from scripts and from readers."""
    key = stack.key()
    response = dashboard.sign_in(key)
    cookie = SimpleCookie(response.headers["set-cookie"])[COOKIE]

    assert (response.status_code, response.headers["location"]) == (303, "/dashboard/")
    assert response.headers["cache-control"] == "no-store"
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "lax", "/dashboard")
    assert (cookie["max-age"], cookie["secure"], cookie["domain"]) == (str(14 * DAY_S), "", "")
    assert key not in cookie.value
    assert is_let_in(dashboard, cookie.value)
    assert not is_let_in(dashboard, None)


def test_cookies_are_secure_over_tls(stack: Stack, socket: Path) -> None:
    """Where the site has TLS, no cookie of ours or of Streamlit's is sent without it."""
    with running_dashboard(socket, stack.socket, scheme="https") as dashboard:
        signed_in = dashboard.sign_in(stack.key())
        plain = dashboard.sign_in(stack.key(), Origin=f"http://{HOST}")
        with dashboard.client(cookie_of(signed_in)) as client:
            health = client.get("/dashboard/_stcore/health")

    assert "; Secure" in signed_in.headers["set-cookie"]
    assert "_streamlit_xsrf=" in health.headers["set-cookie"]
    assert "; Secure" in health.headers["set-cookie"]
    assert plain.status_code == 403


def test_wrong_keys_do_not(dashboard: Dashboard, stack: Stack) -> None:
    """A key that is mistyped or made up gets the form again, with the reason and without a cookie."""
    for key in (stack.key()[:-1] + "-", "tu_made_up", "schlüssel", "a\r\nSet-Cookie: b"):
        response = dashboard.sign_in(key)

        assert response.status_code == 401
        assert "mistyped, revoked or expired" in response.text
        assert "set-cookie" not in response.headers


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_are_none(form: str, dashboard: Dashboard) -> None:
    with dashboard.client(Origin=dashboard.origin) as client:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = client.post("/dashboard/sign-in", content=form, headers=headers)

    assert response.status_code in (400, 401)
    assert "set-cookie" not in response.headers


def test_service_that_is_away(socket: Path) -> None:
    """Who cannot be asked did not refuse: 503, to be tried again."""
    with running_dashboard(socket, socket.with_suffix(".nobody")) as dashboard:
        response = dashboard.sign_in("tu_any")

    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "cannot be reached" in response.text
    assert "set-cookie" not in response.headers


def test_altered_cookies_do_not_count(dashboard: Dashboard, stack: Stack) -> None:
    """Not one that was changed anywhere, was cut, or was made with a secret that is not ours."""
    good = cookie_of(dashboard.sign_in(stack.key()))
    changed = [good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :] for at in (0, 20, 60, len(good) - 8)]
    foreign = KeyCookies("a secret that somebody else made up").write(stack.key())

    assert is_let_in(dashboard, good)
    for cookie in (*changed, good[:-10], foreign, stack.key(), "x" * 7000):
        assert not is_let_in(dashboard, cookie)
        assert not is_connected(dashboard, cookie, dashboard.origin)


def test_old_cookies_end(dashboard: Dashboard, stack: Stack) -> None:
    """After the days of the settings one has to sign in again, and the page that is open says so."""
    ages = {14 * DAY_S - 60: True, 14 * DAY_S + 60: False}
    key = stack.key()
    for age, counts in ages.items():
        then = time.time() - age
        cookie = KeyCookies(SECRET, clock=lambda then=then: then).write(key)  # type: ignore[misc]

        assert is_let_in(dashboard, cookie) is counts
        assert ("not signed in any more" in dashboard.visit(cookie).text) is not counts


def test_key_that_is_in_no_cookie(stack: Stack, socket: Path, tmp_path: Path) -> None:
    """A valid key in the session's state signs nobody in: the script believes the cookie alone."""
    key = stack.key("alice")
    (tmp_path / "sitecustomize.py").write_text(LEAVE_A_KEY.format(key=key))
    long_ago = KeyCookies(SECRET, clock=lambda: 0).write(key)
    with running_dashboard(socket, stack.socket, PYTHONPATH=str(tmp_path)) as dashboard:
        seen = dashboard.visit(long_ago)

    assert "not signed in any more" in seen.text
    assert "alice" not in seen.text


def test_cookies_outlive_a_change_of_the_secret(dashboard: Dashboard, stack: Stack) -> None:
    """One of the secret before still counts; one of no secret of ours does not."""
    key = stack.key()

    assert is_let_in(dashboard, KeyCookies(OLD_SECRET).write(key))
    assert "Shorten" in dashboard.visit(KeyCookies(OLD_SECRET).write(key)).pages
    assert not is_let_in(dashboard, KeyCookies("one of long before, which is forgotten").write(key))


def test_cookies_outlive_the_process(dashboard: Dashboard, stack: Stack, socket: Path) -> None:
    """Another process with the same secret, such as the next release, knows who is signed in."""
    cookie = cookie_of(dashboard.sign_in(stack.key("alice")))
    with running_dashboard(socket, stack.socket) as other:
        seen = other.visit(cookie)

    assert "alice" in seen.text
    assert seen.pages == ["Shorten", "Links", "Statistics", "Import"]


def test_code_signs_in_once(stack: Stack, socket: Path) -> None:
    """The link of the local stack works once, and neither the address nor a referrer has the code afterwards."""
    key = stack.key("carol")
    code = {
        "SIGN_IN_CODE": CODE,
        "SIGN_IN_CODE_KEY": key,
        "SIGN_IN_CODE_UNTIL": str(int(time.time()) + 300),
        "PUBLIC_BASE_URL": "http://127.0.0.1:8080",
    }
    with running_dashboard(socket, stack.socket, **code) as dashboard, dashboard.client() as client:
        wrong = client.get("/dashboard/sign-in", params={"code": CODE[:-1]})
        looked = client.head("/dashboard/sign-in", params={"code": CODE})
        first = client.get("/dashboard/sign-in", params={"code": CODE})
        second = client.get("/dashboard/sign-in", params={"code": CODE})
        seen = dashboard.visit(cookie_of(first))

    assert (wrong.status_code, looked.status_code, second.status_code) == (410, 410, 410)
    assert not any("set-cookie" in each.headers for each in (wrong, looked, second))
    assert (first.status_code, first.headers["location"]) == (303, "/dashboard/")
    assert first.headers["referrer-policy"] == "no-referrer"
    assert "carol" in seen.text
    assert CODE not in dashboard.log.read_text()


@pytest.mark.parametrize(("age_s", "status"), [(299, 303), (300, 410)])
async def test_code_is_void_after_five_minutes(age_s: int, status: int) -> None:
    made_at = 1_800_000_000
    settings = DashboardSettings(
        public_base_url="http://localhost:8080",
        links_address="unix:/nonexistent.sock",
        dashboard_secret_key=SecretStr(SECRET),
        sign_in_code=SecretStr(CODE),
        sign_in_code_key=SecretStr("tu_key"),
        sign_in_code_until=made_at + 300,
    )
    sign_in = SignIn(settings, KeyCookies(SECRET), DashboardMetrics(), clock=lambda: made_at + age_s)
    transport = httpx.ASGITransport(Starlette(routes=sign_in.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
        response = await client.get("/dashboard/sign-in", params={"code": CODE})

    assert response.status_code == status
    assert ("set-cookie" in response.headers) is (status == 303)


def test_code_is_for_this_machine_alone() -> None:
    """No installation that others can reach takes one."""
    with pytest.raises(ValueError, match="of this machine alone"):
        DashboardSettings(
            public_base_url="https://sho.rt",
            links_address="unix:/nonexistent.sock",
            dashboard_secret_key=SecretStr(SECRET),
            sign_in_code=SecretStr(CODE),
        )


def test_without_a_code_there_is_none(dashboard: Dashboard) -> None:
    with dashboard.client() as client:
        for code in ("", "None", CODE):
            assert client.get("/dashboard/sign-in", params={"code": code}).status_code == 410


def test_sign_out(dashboard: Dashboard, stack: Stack) -> None:
    """The form of our own page ends it; a form or a picture of another site does not."""
    cookie = cookie_of(dashboard.sign_in(stack.key()))
    with dashboard.client(cookie) as client:
        foreign = client.post("/dashboard/sign-out", headers={"Origin": "https://evil.example"})
        unsaid = client.post("/dashboard/sign-out")
        picture = client.get("/dashboard/sign-out")
        own = client.post("/dashboard/sign-out", headers={"Origin": dashboard.origin})
    cleared = SimpleCookie(own.headers["set-cookie"])[COOKIE]

    assert (foreign.status_code, unsaid.status_code, picture.status_code) == (403, 403, 405)
    assert not any("set-cookie" in each.headers for each in (foreign, unsaid, picture))
    assert (own.status_code, own.headers["location"]) == (303, "/dashboard/sign-in")
    assert (cleared.value, cleared["max-age"], cleared["path"]) == ("", "0", "/dashboard")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://sho.rt.evil.example", "null", "http://sho.rt:8080"])
def test_nobody_is_signed_in_by_another_site(origin: str, dashboard: Dashboard, stack: Stack) -> None:
    """A form on another site that sends a key of its own is refused: else its owner would see what the visitor does."""
    response = dashboard.sign_in(stack.key(), Origin=origin)

    assert response.status_code == 403
    assert "set-cookie" not in response.headers


def test_it_leads_nowhere_else(dashboard: Dashboard, stack: Stack) -> None:
    """Whatever the address says, a sign-in leads to the dashboard."""
    with dashboard.client(Origin=dashboard.origin) as client:
        for name in ("next", "url", "redirect", "return_to"):
            response = client.post(
                "/dashboard/sign-in", params={name: "https://evil.example"}, data={"key": stack.key(), name: "//evil"}
            )

            assert response.headers["location"] == "/dashboard/"
        for path in ("/dashboard//evil.example", "/dashboard/https://evil.example", "/dashboard/\\evil.example/"):
            response = client.get(path)

            assert response.headers.get("location", "/dashboard/").startswith("/dashboard/")


@pytest.mark.parametrize(
    "origin", [None, "null", "https://sho.rt", "http://sho.rt:8080", "http://localhost", "http://127.0.0.1:3000"]
)
def test_other_origins_get_no_websocket(origin: str | None, dashboard: Dashboard, stack: Stack) -> None:
    """A page of another site, or another program of the visitor's machine, cannot speak in the visitor's name."""
    cookie = cookie_of(dashboard.sign_in(stack.key()))

    assert is_connected(dashboard, cookie, dashboard.origin)
    assert not is_connected(dashboard, cookie, origin)


def test_nothing_but_the_sign_in_is_open(dashboard: Dashboard, stack: Stack) -> None:
    """Without a cookie there is no WebSocket, no upload, no file; some parts of Streamlit there are for nobody."""
    cookie = cookie_of(dashboard.sign_in(stack.key()))
    assert not is_connected(dashboard, None, dashboard.origin)
    with dashboard.client() as client:
        for method, path in (
            ("PUT", "/dashboard/_stcore/upload_file/session/file"),
            ("GET", "/dashboard/media/0123.png"),
            ("GET", "/dashboard/component/x/index.html"),
            ("POST", "/dashboard/auth/login"),
            ("POST", "/dashboard/"),
        ):
            assert client.request(method, path).status_code == 401, path
        for path in ("links", "", "sign-in/", "static", "auth/login"):
            assert client.get(f"/dashboard/{path}").headers["location"] == "/dashboard/sign-in", path
        for path in ("metrics", "agent/interact", "agent/openapi.json", "agent/mcp"):
            assert (
                client.post(f"/dashboard/_stcore/{path}", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 404
            )


def test_key_is_written_nowhere(dashboard: Dashboard, stack: Stack) -> None:
    """No log has it after it was accepted, used by the pages, and refused; and no answer repeats it."""
    wrong = stack.key()
    keys = [stack.key(), wrong[:-1] + ("y" if wrong.endswith("x") else "x")]
    before = sign_ins(dashboard)
    answers = [dashboard.sign_in(key) for key in keys]
    seen = dashboard.visit(cookie_of(answers[0]))
    with dashboard.client() as client:
        answers.append(client.get("/metrics"))
    written = [dashboard.log.read_text(), seen.text, *(f"{each.headers} {each.text}" for each in answers)]

    assert sign_ins(dashboard) - before == Counter({"signed in": 1, "key refused": 1})
    for text in written:
        for key in keys:
            assert key not in text


def test_pages_may_run_our_scripts_alone(dashboard: Dashboard, stack: Stack) -> None:
    """The policies let no script of a foreign host or within a page run, but for Streamlit's own, and no page frame us."""
    cookie = cookie_of(dashboard.sign_in(stack.key()))
    with dashboard.client(cookie) as client:
        for path in ("/dashboard/", "/dashboard/links", "/dashboard/sign-in", "/dashboard/_stcore/health"):
            headers = client.get(path).headers
            policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))

            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert "'unsafe" not in policy.get("script-src", "")
            assert ":" not in policy.get("script-src", "").replace("'sha256-", "")
            assert headers["x-frame-options"] == "DENY"
            assert headers["x-content-type-options"] == "nosniff"
