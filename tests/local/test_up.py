"""`tinyurl up` as a newcomer meets it: it starts, works, survives what dies, stops, and says what is wrong in one line."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.postgres import major_version
from tests.nginx.conftest import free_port

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 5

SHARED = pytest.mark.xdist_group(name="up")
"""For tests of `up`: they are of one worker."""

TINYURL = [sys.executable, "-m", "deploy.command.cli"]


@dataclass
class Up:
    """A running `tinyurl up`."""

    process: "subprocess.Popen[str]"
    data: Path
    port: int
    output: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.data / "state.json").read_text())
        return state

    def pids(self) -> dict[str, int]:
        return {process["name"]: process["pid"] for process in self.state()["processes"]}

    def create(self, **fields: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.state()['api_key']}"}
        return httpx.post(f"{self.url}/api/v1/links", json=fields, headers=headers)

    def stop(self, number: signal.Signals) -> float:
        """End it, and return how long it took, seconds."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        return time.monotonic() - started


StartUp = Callable[..., Up]


def wait_for(condition: Callable[[], bool], timeout_s: float = START_TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sign_in_url(up: Up) -> str:
    """The link that it prints when the dashboard is ready."""
    wait_for(lambda: "\nDashboard: " in up.output.read_text())
    (url,) = re.findall(r"^Dashboard: (\S+)", up.output.read_text(), re.MULTILINE)
    assert isinstance(url, str)
    return url


def processes_of(data: Path) -> list[str]:
    """The command lines of all processes that belong to a stack: its data or its settings are of that folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                known = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                marked = str(data).encode() in known or b"TINYURL_TEST=" + str(data).encode() in known
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if marked and int(entry.name) != os.getpid() and state != "Z":
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[StartUp]:
    """Starts `tinyurl up` and waits until it says that it is up; without the dashboard, which takes longest, unless asked."""
    with starting_in(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for all tests that leave it running."""
    with starting_in(tmp_path_factory.mktemp("up")) as start:
        yield start()


@contextlib.contextmanager
def starting_in(folder: Path) -> Iterator[StartUp]:
    started: list[Up] = []

    def start(*options: str, data: Path = folder / "data", port: int | None = None, with_dashboard: bool = False) -> Up:
        port = port or free_port()
        options = (*options, "--dashboard" if with_dashboard else "--no-dashboard")
        output = folder / f"output-{len(started)}"
        with output.open("w") as file:
            process = subprocess.Popen(
                [*TINYURL, "up", "--data", str(data), "--port", str(port), *options],
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        up = Up(process, data, port, output)
        started.append(up)
        wait_for(lambda: "Stop it with" in output.read_text() or process.poll() is not None)
        assert process.poll() is None, output.read_text()
        return up

    yield start
    for up in started:
        if up.process.poll() is None:
            up.stop(signal.SIGTERM)


def test_what_it_prints_works_when_pasted(start_up: StartUp) -> None:
    """It prints the nginx, the address, a key and a curl line; pasted into a shell the line makes a link to follow."""
    up = start_up("--workers", "2")
    shown = up.output.read_text()
    line = next(line.strip() for line in shown.splitlines() if line.strip().startswith("curl"))
    created = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True, timeout=30)
    link = json.loads(created.stdout)
    followed = httpx.get(link["short_url"])
    nginx = re.search(r"^nginx \d+\.\d+\.\d+, .+: (/.+)$", shown, re.MULTILINE)

    assert nginx is not None
    assert Path(f"/proc/{up.pids()['nginx']}/exe").resolve() == Path(nginx[1]).resolve()
    assert f"TinyURL is up at {up.url}" in shown
    assert up.state()["api_key"] in shown
    assert (followed.status_code, followed.headers["location"]) == (302, "https://www.python.org/")
    assert httpx.get(f"{up.url}/", follow_redirects=True).status_code == 200


def test_printed_link_signs_in(start_up: StartUp) -> None:
    """The link opens the dashboard, once; then the address of the site alone does, with the browser's cookie."""
    up = start_up(with_dashboard=True)
    url = sign_in_url(up)
    with httpx.Client(follow_redirects=True) as browser:
        opened = browser.get(url)
        again = browser.get(up.url)
    with httpx.Client(follow_redirects=True) as stranger:
        late = stranger.get(url)
        alone = stranger.get(up.url)

    assert (opened.status_code, str(opened.url)) == (200, f"{up.url}/dashboard/")
    assert (again.status_code, str(again.url)) == (200, f"{up.url}/dashboard/")
    assert late.status_code == 410
    assert str(alone.url) == f"{up.url}/dashboard/sign-in"
    code = url.partition("code=")[2]
    assert not [path.name for path in (up.data / "logs").iterdir() if code in path.read_text(errors="replace")]


def test_state_file_tells_what_runs(start_up: StartUp) -> None:
    """`state.json` has the address, the key, and of each process its name, id and where it listens; only the owner reads it."""
    up = start_up("--workers", "2", with_dashboard=True)
    sign_in_url(up)
    state = up.state()

    assert state["url"] == up.url
    assert list(up.pids()) == ["postgres", "valkey", "links", "redirect-1", "redirect-2", "nginx", "dashboard"]
    for process in state["processes"]:
        assert Path(f"/proc/{process['pid']}").exists()
        assert process.get("port") == up.port or Path(process["socket"]).exists()
    for name in ("state.json", "secrets.json", "services.env"):
        assert (up.data / name).stat().st_mode & 0o077 == 0
    up.stop(signal.SIGTERM)
    assert not (up.data / "state.json").exists()


def test_without_a_dashboard_there_is_none(start_up: StartUp) -> None:
    """`--no-dashboard` starts none and speaks of none; the site's address leads to the API's documentation instead."""
    up = start_up()

    assert "Dashboard: " not in up.output.read_text()
    assert list(up.pids()) == ["postgres", "valkey", "links", "redirect-1", "nginx"]
    assert str(httpx.get(up.url, follow_redirects=True).url) == f"{up.url}/docs"
    assert httpx.get(f"{up.url}/dashboard/").status_code == 404


def test_data_and_key_survive_a_restart(start_up: StartUp) -> None:
    """The next `up` on the same folder has all the links, and the same key."""
    first = start_up()
    short_url = first.create(url="https://www.example.com/kept").json()["short_url"]
    key = first.state()["api_key"]
    first.stop(signal.SIGINT)
    second = start_up(port=first.port)

    assert second.state()["api_key"] == key
    assert httpx.get(short_url).headers["location"] == "https://www.example.com/kept"


def test_a_key_that_is_revoked_is_made_anew(start_up: StartUp) -> None:
    """The next `up` shows, and signs in with, a key that works, whatever became of the one before."""
    first = start_up()
    key = first.state()["api_key"]
    refused = one_line(run("keys", "revoke", key, "--data", str(first.data)))
    revoked = run("keys", "revoke", key, "--force", "--data", str(first.data))
    first.stop(signal.SIGINT)
    second = start_up(port=first.port, with_dashboard=True)
    with httpx.Client(follow_redirects=True) as browser:
        opened = browser.get(sign_in_url(second))

    assert "the last valid key with the scope admin" in refused
    assert "--force" in refused
    assert revoked.returncode == 0
    assert second.state()["api_key"] != key
    assert second.create(url="https://www.example.com/").status_code == 201
    assert (opened.status_code, str(opened.url)) == (200, f"{second.url}/dashboard/")


def test_state_file_is_whole_when_it_appears(tmp_path: Path) -> None:
    """Whoever waits for `state.json` and reads it at once finds the key and an address that answers."""
    data, port = tmp_path / "data", free_port()
    data.mkdir()
    (data / "state.json").write_text('{"api_key": null}')
    started = (data / "state.json").stat().st_mtime_ns
    process = subprocess.Popen(
        [*TINYURL, "up", "--data", str(data), "--port", str(port)], stdout=subprocess.DEVNULL, text=True
    )
    state = data / "state.json"
    try:
        wait_for(lambda: state.exists() and state.stat().st_mtime_ns > started)
        up = Up(process, data, port, tmp_path)

        assert up.create(url="https://www.example.com/").status_code == 201
        assert "nginx" in up.pids()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_in_time_and_leaves_nothing(start_up: StartUp, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end everything within five seconds, also while clients are connected."""
    up = start_up()
    with httpx.Client() as client:
        client.get(f"{up.url}/docs")
        took = up.stop(number)

    assert took < STOP_TIMEOUT_S
    assert up.process.returncode == 0
    assert processes_of(up.data) == []


def test_clicks_are_handed_over_before_it_stops(start_up: StartUp) -> None:
    """links stops after the redirect processes, which bring it what was clicked a moment ago; no journal is left behind."""
    up = start_up()
    code = up.create(url="https://www.example.com/").json()["code"]
    journal = up.data / "journal"
    with httpx.Client() as client:
        for _ in range(50):
            assert client.get(f"{up.url}/{code}").status_code == 302
        assert list(journal.glob("*.journal"))
        up.stop(signal.SIGINT)

    assert list(journal.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="another kernel does not tell children that their parent died")
def test_even_a_kill_leaves_nothing(start_up: StartUp) -> None:
    """When the command itself is killed its processes end too, and the next `up` has the data."""
    up = start_up()
    short_url = up.create(url="https://www.example.com/kept").json()["short_url"]
    up.process.kill()
    up.process.wait()
    wait_for(lambda: processes_of(up.data) == [], 20)
    start_up(port=up.port)

    assert httpx.get(short_url).headers["location"] == "https://www.example.com/kept"


@SHARED
@pytest.mark.parametrize("name", ["postgres", "valkey", "links", "redirect-1", "nginx"])
def test_what_dies_is_started_again(up: Up, name: str) -> None:
    """Each process that is killed comes back by itself, it is said, and everything works again."""
    code = up.create(url="https://www.example.com/").json()["code"]
    pid = up.pids()[name]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: f"{name} runs again" in up.output.read_text())

    assert f"{name} ended with SIGKILL; starting it again" in up.output.read_text()
    assert up.pids()[name] != pid
    # A redirector that could not ask Postgres tries again after two seconds at the latest.
    wait_for(lambda: httpx.get(f"{up.url}/{code}").status_code == 302, 10)
    assert up.create(url="https://www.example.com/").status_code == 201


def run(*arguments: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*TINYURL, *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line that a command that failed says."""
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


@SHARED
def test_taken_port_is_said(tmp_path: Path, up: Up) -> None:
    """A port in use ends it with a line that says so, and nothing is left running."""
    line = one_line(run("up", "--data", str(tmp_path / "other"), "--port", str(up.port)))

    assert f"Port {up.port} cannot be used" in line
    assert "--port" in line


@SHARED
def test_second_up_on_the_same_data_is_said(up: Up) -> None:
    """Two on one folder are kept apart; the line names the first one's process."""
    line = one_line(run("up", "--data", str(up.data), "--port", str(free_port())))

    assert f"in use by another `tinyurl up` (process {up.process.pid})" in line
    assert httpx.get(f"{up.url}/docs").status_code == 200


def test_data_of_another_postgres_is_said(tmp_path: Path) -> None:
    """A folder that another version of PostgreSQL made is not touched."""
    version = tmp_path / "data" / "postgres" / "PG_VERSION"
    version.parent.mkdir(parents=True)
    version.write_text("12\n")
    line = one_line(run("up", "--data", str(tmp_path / "data"), "--port", str(free_port())))

    assert f"was made by PostgreSQL 12, this is {major_version()}" in line
    assert version.read_text() == "12\n"


def test_code_of_the_current_folder_is_not_run(tmp_path: Path) -> None:
    """Somebody may type the command in a folder with packages of the same names."""
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "__init__.py").write_text("raise SystemExit('somebody else')")
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("12\n")
    command = [sys.executable, "-P", *TINYURL[1:], "up", "--data", str(tmp_path), "--port", str(free_port())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert "was made by PostgreSQL 12" in one_line(done)


def test_database_that_cannot_be_prepared_is_said(start_up: StartUp) -> None:
    """What another process finds out about the database is one line of this command, and nothing is left running."""
    up = start_up()
    up.stop(signal.SIGTERM)
    secrets = up.data / "secrets.json"
    secrets.write_text(json.dumps(json.loads(secrets.read_text()) | {"postgres": "forgotten"}))
    line = one_line(run("up", "--data", str(up.data), "--port", str(up.port)))

    assert line.startswith("tinyurl up: The database cannot be prepared: ")
    assert "password authentication failed" in line
    assert processes_of(up.data) == []


def test_ephemeral_stack_leaves_nothing(start_up: StartUp, tmp_path: Path) -> None:
    """`--ephemeral` works like any other, and keeps no file."""
    up = start_up("--ephemeral")
    shown = up.output.read_text()
    folder = Path(re.findall(r"Data and logs are in (\S+)\. ", shown)[0])
    line = shlex.split(next(line for line in shown.splitlines() if line.strip().startswith("curl")))
    assert json.loads(subprocess.run(line, capture_output=True, check=True, timeout=30).stdout)["version"] == 1
    assert folder.exists()
    up.stop(signal.SIGTERM)

    assert not folder.exists()
    assert not up.data.exists()


@SHARED
def test_keys_command(up: Up) -> None:
    """Keys are created, listed and revoked on the host; what cannot be is said."""
    data = ("--data", str(up.data))
    created = run("keys", "create", "--owner", "team", "--scope", "links:write", "--name", "CI", "--days", "9", *data)
    key = created.stdout.strip()
    headers = {"Authorization": f"Bearer {key}"}
    assert (
        httpx.post(f"{up.url}/api/v1/links", json={"url": "https://www.example.com/"}, headers=headers).status_code
        == 201
    )
    assert httpx.get(f"{up.url}/api/v1/links", headers=headers).status_code == 403

    key_id = key.split("_")[1]
    assert re.search(rf"^{key_id}  valid .*  team  links:write  CI$", run("keys", "list", *data).stdout, re.MULTILINE)
    assert run("keys", "revoke", key, *data).stdout == f"revoked {key_id}\n"
    assert re.search(rf"^{key_id}  revoked", run("keys", "list", *data).stdout, re.MULTILINE)
    wait_for(lambda: httpx.post(f"{up.url}/api/v1/links", json={}, headers=headers).status_code == 401, 1.0)
    assert "no key nothing" in one_line(run("keys", "revoke", "nothing", *data))
    assert "no scope root" in run("keys", "create", "--owner", "x", "--scope", "root", *data).stderr
    assert run("keys", "create", "--owner", "a b", *data).returncode == 2


def test_keys_command_without_a_database(tmp_path: Path) -> None:
    """Without a stack and without a setting it says which setting is missing."""
    done = run("keys", "list", "--data", str(tmp_path))

    assert done.returncode == 2
    assert done.stderr.startswith("setting LINKS_DATABASE_URL (not set)")


@SHARED
def test_migrate_command(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what it did, or why it could not."""
    secrets = json.loads((up.data / "secrets.json").read_text())
    socket = next(
        Path(process["socket"]).parent for process in up.state()["processes"] if process["name"] == "postgres"
    )
    monkeypatch.setenv("OWNER_DATABASE_URL", f"postgresql://tinyurl:{secrets['tinyurl']}@/tinyurl?host={socket}")
    assert run("migrate").stdout == "nothing to do\n"
    monkeypatch.setenv("OWNER_DATABASE_URL", "postgresql://tinyurl@/tinyurl?host=/nonexistent")

    assert one_line(run("migrate")).startswith("tinyurl migrate: ")


@SHARED
def test_backup_and_restore_commands(up: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup of the running stack lands in its folder; restored, it is what visitors see, with nothing stopped."""
    monkeypatch.chdir(tmp_path)
    link = up.create(url="https://www.example.com/then", code="edited").json()
    assert httpx.get(link["short_url"]).headers["location"] == "https://www.example.com/then"
    backup = run("backup", "--data", str(up.data))
    assert backup.returncode == 0, backup.stderr
    dump = backup.stdout.split(": ")[0]
    headers = {"Authorization": f"Bearer {up.state()['api_key']}"}
    edited = {"url": "https://www.example.com/lost"}
    assert httpx.patch(f"{up.url}/api/v1/links/edited", json=edited, headers=headers).status_code == 200
    wait_for(lambda: httpx.get(link["short_url"]).headers["location"] == "https://www.example.com/lost", 1.0)
    assert "--replace" in one_line(run("restore", dump, "--data", str(up.data)))
    pids = up.pids()
    restored = run("restore", dump, "--replace", "--data", str(up.data))

    assert restored.returncode == 0, restored.stderr
    assert "emptied the cache" in restored.stdout
    wait_for(lambda: httpx.get(link["short_url"]).headers["location"] == "https://www.example.com/then", 1.0)
    assert up.create(url="https://www.example.com/").status_code == 201
    assert up.pids() == pids
    assert Path(dump).is_relative_to(up.data / "backups")
