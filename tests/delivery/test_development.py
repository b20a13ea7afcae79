"""The development stack: `docker compose up` from a clone, and as many redirectors as one likes."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.delivery.engine import clone, docker, free_port, new_name, run
from tests.delivery.load import Target, load


class Development:
    """A clone whose stack is up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = new_name()
        self.port = free_port()

    def compose(self, *arguments: str, check: bool = True, profiles: str = "dashboard") -> str:
        # The name of the image is the default one: a build finds its layers again.
        environment = {"COMPOSE_PROJECT_NAME": self.name, "PORT": str(self.port), "LIMITS": "false"}
        environment["COMPOSE_PROFILES"] = profiles
        done = run(
            "docker", "compose", *arguments, folder=self.folder, environment=environment, timeout_s=900, check=check
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    stack = Development(clone(tmp_path_factory.mktemp("clone")))
    try:
        stack.compose("up", "--wait", "--wait-timeout", "180", "--build")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5", check=False)


async def test_stack_works_and_scales_without_a_restart(development: Development) -> None:
    """A link is created and followed; four redirectors instead of one, under load: nothing is lost, and all four answer."""
    key = development.compose("exec", "-T", "links", "tinyurl", "keys", "create", "--owner", "me").splitlines()[-1]
    codes = [f"dev{n}" for n in range(20)]
    for code in codes:
        assert create(development.port, key, code) == 201
    nginx = docker("inspect", "--format", "{{.State.StartedAt}}", f"{development.name}-nginx-1")
    async with load(Target(development.port, "localhost", key, codes)) as outcome:
        await asyncio.sleep(2)
        await asyncio.to_thread(
            development.compose, "up", "--detach", "--wait", "--no-recreate", "--scale", "redirect=4", "redirect"
        )
        await asyncio.sleep(5)
    visits = [visits_of(f"{development.name}-redirect-{n}") for n in range(1, 5)]

    assert outcome.failures == []
    assert sum(outcome.answers.values()) > 1000
    assert all(count > 10 for count in visits), visits
    assert docker("inspect", "--format", "{{.State.StartedAt}}", f"{development.name}-nginx-1") == nginx


def test_people_sign_in(development: Development) -> None:
    """`/` leads to the dashboard, and a key lets in."""
    key = development.compose("exec", "-T", "links", "tinyurl", "keys", "create", "--owner", "me").splitlines()[-1]
    site = f"http://localhost:{development.port}"
    with httpx.Client(base_url=site, follow_redirects=True, timeout=10) as browser:
        form = browser.get("/")
        opened = browser.post("/dashboard/sign-in", data={"key": key}, headers={"Origin": site})

    assert str(form.url) == f"{site}/dashboard/sign-in"
    assert (opened.status_code, str(opened.url)) == (200, f"{site}/dashboard/")


def test_dashboard_is_switched_off_and_on(development: Development) -> None:
    """Without its profile `/` leads to the API's documentation, and nothing of nginx asks for a dashboard; then it is back."""
    site, up = f"http://localhost:{development.port}", ("up", "--wait", "--wait-timeout", "180")
    seen = []
    for profiles in ("", "dashboard"):
        development.compose(*up, profiles=profiles)
        answers = [httpx.get(site + path, timeout=10) for path in ("/", "/dashboard/sign-in", "/openapi.json")]
        seen.append((answers[0].headers["location"], *(each.status_code for each in answers[1:])))

    assert seen == [("/docs", 404, 200), ("/dashboard/", 200, 200)]


def test_code_is_reloaded_when_it_changes(development: Development) -> None:
    """An edit of a source file is live in a moment, without a build."""
    source = development.folder / "services" / "links" / "app.py"
    source.write_text(source.read_text().replace('title="TinyURL"', 'title="Edited"'))

    assert becomes(development.port, "Edited")


def test_only_this_machine_reaches_it(development: Development) -> None:
    """Ports are published on 127.0.0.1 alone, and nginx is the only one that has any."""
    published = development.compose("ps", "--format", "json")
    ports = [
        each for line in published.splitlines() for each in json.loads(line)["Publishers"] if each["PublishedPort"]
    ]

    assert [(each["URL"], each["PublishedPort"]) for each in ports] == [("127.0.0.1", development.port)]


def create(port: int, key: str, code: str) -> int:
    return httpx.post(
        f"http://localhost:{port}/api/v1/links",
        json={"url": "https://www.example.com/", "code": code},
        headers={"Authorization": f"Bearer {key}"},
        timeout=10,
    ).status_code


def visits_of(container: str) -> int:
    """How many visits a redirector has answered, by its own count."""
    script = "import urllib.request as r;print(r.urlopen('http://127.0.0.1:8000/metrics', timeout=5).read().decode())"
    text = docker("exec", container, "python", "-c", script)
    counts = [line.split() for line in text.splitlines() if line.startswith("redirect_answers_total")]
    assert counts, text
    return int(sum(float(parts[-1]) for parts in counts))


def becomes(port: int, text: str) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if text in httpx.get(f"http://localhost:{port}/openapi.json", timeout=5).text:
                return True
        time.sleep(0.2)
    return False
