"""Promise P7 on a real engine: nothing that the pipeline does to a host that is live loses a request."""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.dashboard.process import run_script
from tests.delivery.engine import docker, inspect, run
from tests.delivery.load import LoadOutcome, Target, load
from tests.delivery.production import (
    DOMAIN,
    Change,
    Production,
    production,
    pull_unless_here,
    start_certificate_authority,
    wait_for,
)

MIGRATION = "ALTER TABLE links ADD COLUMN added_by_the_test text;\n"


@dataclass
class Live:
    """A host on which a first release is live, with a certificate.

    Attributes:
        digests: Of the releases by what they are.
        keys: Of the API.
    """

    site: Production
    digests: dict[str, str] = field(default_factory=dict)
    key: str = ""
    counted: int = 0
    cookie: str = ""
    codes: list[str] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return Target(self.site.https_port, DOMAIN, self.key, self.codes, tls=True)


@pytest.fixture(scope="module")
def live(report: list[str]) -> Iterator[Live]:
    with production() as site:
        found = Live(site)
        given = os.environ.get("TINYURL_IMAGE")
        found.digests["first"] = site.adopt(given) if given else site.build("first")
        said = site.ship("deploy", found.digests["first"]).stdout
        assert "done" in said
        found.key = site.api_key()
        found.codes = [f"prod{n}" for n in range(20)]
        found.digests["migration"] = site.build("migration", add_migration)
        found.digests["second"] = site.build("second", mark("second"))
        found.digests["unhealthy"] = site.build("unhealthy", break_readiness)
        found.digests["faulty"] = site.build("faulty", break_documentation)
        found.digests["third"] = site.build("third", mark("third"))
        yield found
        report += sizes_and_times(site)


def test_first_deployment(live: Live) -> None:
    """nginx answers without a certificate, gets one by the challenge, and only 80 and 443 are open."""
    site = live.site
    state = site.state()

    assert state["live"]["digest"] == live.digests["first"]
    assert state["rollout"] is None
    with pytest.raises((ssl.SSLError, OSError)):
        certificate_of(site)
    assert plain_answer(site, "/some/path?q=1") == (308, f"https://{DOMAIN}/some/path?q=1")
    start_certificate_authority(site)
    docker("restart", "--time", "1", site.container("certificates"))
    wait_for(lambda: "live.pem" in site.on_host("ls", f"{site.root}/certificates/live"), "a certificate", 90)
    serial = certificate_of(site)

    assert len(serial) == 64
    for container in (f"{site.name}-{service}-1" for service in ("db", "cache", "certificates", "backup")):
        assert not [port for port in inspect(container)["NetworkSettings"]["Ports"].values() if port]
    asyncio.run(create_links(live))


def test_no_service_can_stand_in_for_another(live: Live) -> None:
    """From inside each service, and nginx: a socket can be made in its own folder, and in no other that is looked into."""
    site = live.site
    colour = site.state()["live"]["colour"]
    command = "import socket, sys; socket.socket(socket.AF_UNIX).bind(f'/run/tinyurl/{sys.argv[1]}intruder.sock')"
    for service in ("links", "redirect", "dashboard"):
        container = docker("ps", "--quiet", "--filter", f"name={site.name}-{colour}-{service}-1")
        made = {
            folder
            for folder in ("", "links/", "redirect/", "dashboard/")
            if run("docker", "exec", container, "python", "-c", command, folder, check=False).returncode == 0
        }
        site.on_host("rm", "-f", f"{site.root}/run/{service}/intruder.sock")

        assert made == {f"{service}/"}
    touch = ("sh", "-c", "touch /run/tinyurl/links/intruder.sock || touch /run/tinyurl/intruder.sock")
    assert run("docker", "exec", site.container("nginx"), *touch, check=False).returncode != 0


def test_people_sign_in(live: Live) -> None:
    """Over TLS, with a key; the dashboard's page and its WebSocket are theirs then."""
    origin = f"https://{DOMAIN}"
    signed_in = ask(live, "POST", "/dashboard/sign-in", Origin=origin, data={"key": live.key})
    live.cookie = signed_in.headers["set-cookie"].partition(";")[0]

    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/dashboard/")
    assert "; Secure" in signed_in.headers["set-cookie"]
    assert ask(live, "GET", "/dashboard/").headers["location"] == "/dashboard/sign-in"
    assert visit(live)[:2] == ["Shorten", "Links"]


async def test_nothing_is_lost(live: Live, report: list[str]) -> None:
    """Five deployments (a migration, an unhealthy release, a faulty one, one killed twice), a rollback, a renewal, scaling."""
    site = live.site
    nginx = inspect(site.container("nginx"))["State"]["StartedAt"]
    before = certificate_of(site)
    async with load(live.target) as outcome:
        began = time.monotonic()
        try:
            await live_through_everything(live)
        finally:
            seconds = time.monotonic() - began
            report += describe(outcome, seconds)

    assert outcome.failures == []
    assert sum(outcome.answers.values()) > 250 * seconds
    assert inspect(site.container("nginx"))["State"]["StartedAt"] == nginx
    assert certificate_of(site) != before
    stored = site.sql("SELECT url FROM links WHERE url LIKE 'https://www.example.com/%/%'")
    assert len(stored) == len(set(stored))
    assert set(outcome.acknowledged) <= set(stored)
    visits = sum(count for kind, count in outcome.answers.items() if kind.endswith(": 302"))
    before_load = live.counted
    wait_for(lambda: counted(site) - before_load >= visits, "the count of every click")
    assert counted(site) - before_load == visits


async def live_through_everything(live: Live) -> None:
    """What an operator and a pipeline do, one after the other."""
    site, digests = live.site, live.digests
    await ship(site, "deploy", digests["migration"])
    assert "added_by_the_test" in "".join(
        site.sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'links'")
    )
    await ship(site, "deploy", digests["second"])
    unhealthy = await ship(site, "deploy", digests["unhealthy"], check=False)
    assert unhealthy.returncode == 1
    assert site.state()["live"]["digest"] == digests["second"]
    faulty = await ship(site, "deploy", digests["faulty"], check=False)
    assert faulty.returncode == 1
    assert "rolled back" in faulty.stdout, faulty.stdout
    assert site.state()["live"]["digest"] == digests["second"]
    for step in ("smoke", "drain"):
        await killed_at(site, step, "deploy", digests["third"])
    await ship(site, "deploy", digests["third"])
    assert site.state()["live"]["digest"] == digests["third"]
    await ship(site, "rollback")
    assert site.state()["live"]["digest"] == digests["second"]
    await asyncio.to_thread(renew, site)
    await ship(site, "scale", "redirect", "4")
    assert running(site, "redirect") == 4
    await ship(site, "scale", "redirect", "1")
    assert running(site, "redirect") == 1
    await killed_at(site, "fetch", "rotate", "links_database_url")
    await ship(site, "rotate", "links_database_url")
    await killed_at(site, "fetch", "rotate", "redis_url")
    await ship(site, "rotate", "redis_url")
    await ship(site, "rotate", "internal_token")
    await ship(site, "rotate", "dashboard_secret_key")
    assert site.sql("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname LIKE 'tinyurl_links_%'") == [
        "tinyurl_links_b"
    ]


async def test_visitors_and_a_tenant_do_their_worst_during_a_rollout(live: Live) -> None:
    """Requests that nginx refuses by itself, more batches than there are places, uploads given up: the release stays."""
    site = live.site
    other = next(each for each in ("second", "third") if live.digests[each] != site.state()["live"]["digest"])
    stopping = asyncio.Event()
    batch = json.dumps({"links": [{"url": f"https://worst.example/{n}"} for n in range(1000)]})
    head = (
        f"Host: {DOMAIN}\r\nAuthorization: Bearer {live.key}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )
    worst = [
        f"GET /x HTTP/9.9\r\nHost: {DOMAIN}\r\n\r\n",
        f"GET /x HTTP/1.1\r\nHost: {DOMAIN}\r\nTransfer-Encoding: foo\r\n\r\n",
        f"GET /x HTTP/1.1\r\nHost: {DOMAIN}\r\nCookie: {'c' * 100_000}\r\n\r\n",
        f"POST /api/v1/links/batch HTTP/1.1\r\n{head}Content-Length: {len(batch)}\r\n\r\n{batch}",
        f"POST /api/v1/links/batch HTTP/1.1\r\n{head}Content-Length: 9999999\r\n\r\n{batch}",
    ]
    sent = [0] * len(worst)
    async with asyncio.TaskGroup() as group:
        for number, data in enumerate(worst * 3):
            group.create_task(repeat(site.https_port, data.encode(), number % len(worst), sent, stopping))
        try:
            done = await ship(site, "deploy", live.digests[other])
        finally:
            stopping.set()

    assert site.state()["live"]["digest"] == live.digests[other], done.stdout
    assert min(sent) > 10


async def repeat(port: int, data: bytes, number: int, sent: list[int], stopping: asyncio.Event) -> None:
    """Send something again and again over new connections, whatever comes back."""
    while not stopping.is_set():
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=any_certificate(), server_hostname=DOMAIN
                )
                try:
                    writer.write(data)
                    await reader.read(100)
                finally:
                    writer.transport.abort()
        sent[number] += 1


def test_people_stay_signed_in(live: Live) -> None:
    """Through all of these deployments, and a new secret of the cookies."""
    assert ask(live, "GET", "/dashboard/", Cookie=live.cookie).status_code == 200
    assert visit(live)[:2] == ["Shorten", "Links"]


def test_backup_and_restore_on_the_host(live: Live) -> None:
    """As the runbook says: a backup by hand, a restore while all of it runs, and both metrics."""
    site = live.site
    backup = site.container("backup")
    said = docker("exec", backup, "tinyurl", "backup")
    dump = next(word for word in said.replace(":", " ").split() if word.endswith(".dump"))
    before = site.sql("SELECT count(*), min(url), max(url) FROM links")
    site.sql(f"UPDATE links SET url = 'https://lost.example/' WHERE code = '{live.codes[0]}'")
    restored = docker("exec", backup, "tinyurl", "restore", "--replace", dump)

    assert site.sql("SELECT count(*), min(url), max(url) FROM links") == before, restored
    assert metric(backup, "tinyurl_backup_last_success_timestamp_seconds") > time.time() - 3600
    assert metric(site.container("certificates"), "tinyurl_certificate_days_left") > 30


def test_a_secret_from_outside_is_changed_while_it_runs(live: Live) -> None:
    """The database takes the new password at once, and so does the container of the backups."""
    live.site.ship("put-secret", "POSTGRES_PASSWORD", stdin="another password of the test"[::-1].replace(" ", "-"))
    said = docker("exec", live.site.container("backup"), "tinyurl", "backup")

    assert ".dump" in said
    assert live.site.ship("put-secret", "POSTGRES_PASSWORD", stdin="short", check=False).returncode == 1


def test_status_and_maintenance(live: Live) -> None:
    """`status` tells what is live; `maintain` leaves a site that answers; the log has every event."""
    site = live.site
    site.ship("maintain")
    said = site.ship("status").stdout

    assert site.state()["live"]["digest"] in said
    assert "days left" in said
    assert "not as" not in said, said
    events = [json.loads(line)["event"] for line in site.on_host("cat", f"{site.root}/releases.jsonl").splitlines()]
    assert {"begin", "live", "undone", "scale", "maintain"} <= set(events)
    assert site.ship("deploy", "latest", check=False).returncode == 2


def test_a_host_can_do_without_a_dashboard(live: Live) -> None:
    """One line of `host.env`: the next deployment starts none and sends nobody there; without the line it is back."""
    site, digest = live.site, live.site.state()["live"]["digest"]
    seen = []
    for edit in ("$aCOMPOSE_PROFILES=", "$d"):
        site.on_host("sed", "-i", edit, f"{site.root}/host.env")
        site.ship("deploy", digest)
        root, form = ask(live, "GET", "/"), ask(live, "GET", "/dashboard/sign-in")
        said = site.ship("status").stdout
        seen.append((running(site, "dashboard"), root.headers["location"], form.status_code, "dashboard:" in said))

        assert "not as" not in said, said
    assert seen == [(0, "/docs", 404, False), (1, "/dashboard/", 200, True)]


@pytest.mark.skipif("ENGINE_RESTART" not in os.environ, reason="only an engine of the tests' own may be restarted")
def test_reboot_brings_back_what_was_live(live: Live) -> None:
    """The engine stops and starts, as with the host: the live colour runs again, the other one does not."""
    site = live.site
    before = site.state()
    subprocess.run(os.environ["ENGINE_RESTART"], shell=True, check=True, timeout=300)  # noqa: S602  # a command of .ci/run
    docker("start", f"{site.name}-registry", site.host)
    wait_for(lambda: answers(live), "the site again", 90)
    other = "green" if before["live"]["colour"] == "blue" else "blue"

    assert site.state() == before
    assert running(site, "redirect") == before["replicas"]["redirect"]
    assert docker("ps", "--quiet", "--filter", f"name={site.name}-{other}") == ""


async def test_plain_compose_up_loses_requests(live: Live, report: list[str]) -> None:
    """The control: what everyone does first, `docker compose up -d` of the new containers, fails the same test."""
    colour = live.site.state()["live"]["colour"]
    containers = docker("ps", "--quiet", "--filter", f"name={live.site.name}-{colour}").split()
    async with load(live.target) as outcome:
        await asyncio.sleep(1)
        # Compose recreates by stop, remove, start; these are its containers.
        await asyncio.to_thread(docker, "restart", *containers)
        await asyncio.sleep(2)
    report.append(f"control, plain recreation: {len(outcome.failures)} of {outcome.sent} requests failed")

    assert len(outcome.failures) > 10


def sizes_and_times(site: Production) -> list[str]:
    image = f"{site.repository}@{site.state()['live']['digest']}"
    size = int(docker("image", "inspect", "--format", "{{.Size}}", image))
    front = f"{site.repository}@{docker('run', '--rm', image, 'cat', '/release/dashboard').strip()}"
    front_size = int(docker("image", "inspect", "--format", "{{.Size}}", front))
    pull_unless_here("python:3.14-slim")
    base = int(docker("image", "inspect", "--format", "{{.Size}}", "python:3.14-slim"))
    steps = [f"{seconds:6.1f} s  {what}" for what, seconds in site.times]
    sizes = [
        f"{name}: {each / 1e6:.0f} MB" for name, each in (("image", size), ("dashboard", front_size), ("base", base))
    ]
    return [", ".join(sizes), *steps]


def describe(outcome: LoadOutcome, seconds: float) -> list[str]:
    return [
        f"under load: {sum(outcome.answers.values())} answers in {seconds:.0f} s, {len(outcome.failures)} failures",
        *(f"  {count:7}  {kind}" for kind, count in sorted(outcome.answers.items())),
        *(f"  {failure}" for failure in outcome.failures[:20]),
    ]


async def ship(site: Production, *verb: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    done = await asyncio.to_thread(site.ship, *verb, check=check)
    print(f"--- {' '.join(verb)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


async def killed_at(site: Production, step: str, *verb: str) -> None:
    """Begin a verb and kill it, and what it runs on the host, when it has reached a step."""
    task = asyncio.create_task(ship(site, *verb, check=False))
    await asyncio.to_thread(wait_for, lambda: (site.state()["rollout"] or {}).get("step") == step, f"step {step}")
    site.on_host("pkill", "-KILL", "-f", "--", "--detached", check=False)
    assert (await task).returncode != 0


async def create_links(live: Live) -> None:
    for code in live.codes:
        live.site.sql(
            f"INSERT INTO links (domain, code, owner, url) VALUES ('{DOMAIN}', '{code}', 'operator', 'https://www.example.com/')"
        )
    async with load(live.target, rate=40) as outcome:
        await asyncio.sleep(2)
    live.counted = sum(count for kind, count in outcome.answers.items() if kind.endswith(": 302"))

    assert outcome.failures == []
    wait_for(lambda: counted(live.site) == live.counted, "the count of the first clicks")


def counted(site: Production) -> int:
    """The clicks of the links that the load follows, and of no smoke test."""
    return int(site.sql("SELECT coalesce(sum(clicks), 0) FROM links WHERE code LIKE 'prod%'")[0])


def running(site: Production, service: str) -> int:
    colour = site.state()["live"]["colour"]
    return len(docker("ps", "--quiet", "--filter", f"name={site.name}-{colour}-{service}").split())


def renew(site: Production) -> None:
    """A renewal by hand, as the runbook has it; nginx takes it within a minute."""
    before = certificate_of(site)
    docker("exec", site.container("certificates"), "python", "-m", "deploy.certificates", "--now")
    wait_for(lambda: certificate_of(site) != before, "the new certificate", 60)


def metric(container: str, name: str) -> float:
    """A value from the metrics that a container serves."""
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9100/metrics', timeout=5).read().decode())"
    lines = docker("exec", container, "python", "-c", script).splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def answers(live: Live) -> bool:
    try:
        return ask(live, "GET", f"/{live.codes[0]}").status_code == 302
    except httpx.HTTPError:
        return False


def ask(live: Live, method: str, path: str, data: dict[str, str] | None = None, **headers: str) -> httpx.Response:
    """Send a request over TLS."""
    with httpx.Client(verify=any_certificate()) as client:
        return client.request(
            method,
            f"https://127.0.0.1:{live.site.https_port}{path}",
            data=data,
            headers={"Host": DOMAIN, **headers},
            extensions={"sni_hostname": DOMAIN},
        )


def visit(live: Live) -> list[str]:
    """Run the dashboard's script over its WebSocket; the pages that it has for who is signed in."""
    with connect(
        f"wss://{DOMAIN}/dashboard/_stcore/stream",
        sock=socket.create_connection(("127.0.0.1", live.site.https_port), timeout=10),
        ssl=any_certificate(),
        additional_headers={"Origin": f"https://{DOMAIN}", "Cookie": live.cookie},
    ) as connection:
        return run_script(connection).pages


def any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def certificate_of(site: Production) -> str:
    """The SHA-256 of the certificate that nginx shows."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", site.https_port), timeout=5)
    # The handshake apart, so that one that fails leaves no socket open.
    with context.wrap_socket(plain, server_hostname=DOMAIN, do_handshake_on_connect=False) as connection:
        connection.do_handshake()
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return hashlib.sha256(shown).hexdigest()


def plain_answer(site: Production, path: str) -> tuple[int, str]:
    response = httpx.get(f"http://127.0.0.1:{site.http_port}{path}", headers={"Host": DOMAIN}, timeout=5)
    return response.status_code, response.headers["Location"]


def mark(word: str) -> Change:
    """A release that differs in nothing but its name."""

    def change(source: Path) -> None:
        edit(source / "services/links/app.py", 'title="TinyURL"', f'title="TinyURL {word}"')

    return change


def add_migration(source: Path) -> None:
    (source / "shared/migrations/0099_of_the_test.sql").write_text(MIGRATION)


def break_readiness(source: Path) -> None:
    edit(source / "services/redirect/health.py", "if state.feed.is_known and", "if False and")


def break_documentation(source: Path) -> None:
    """Nothing that the clients of the test use, nor the smoke test: only the canaries see it."""
    edit(
        source / "services/links/web/documentation.py",
        'paths = ("/openapi.json",',
        'paths = ("/elsewhere.json",',
    )


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))
