"""A production host for the tests: a container with sshd and the engine's socket, a registry, and a certificate authority.

Everything is done with the scripts of the pipeline: `deploy/host/bootstrap`, `deploy/release/build` and `ship`.
"""

import json
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.delivery.engine import ROOT, client_files, clone, docker, free_port, inspect, new_name, run

DOMAIN = "sho.test"
WATCH_S = 8

REGISTRY_IMAGE = "registry:2"
PEBBLE_IMAGE = "ghcr.io/letsencrypt/pebble:latest"

Change = Callable[[Path], None]


@dataclass
class Production:
    """A host that bootstrap has prepared.

    Attributes:
        name: Of the installation.
        folder: Of this test; `root` in it is the host's `/opt/tinyurl`.
        http_port: Where nginx answers without TLS, on 127.0.0.1,
        https_port: and with it.
        times: What was done, and in how many seconds.
    """

    name: str
    folder: Path
    http_port: int = field(default_factory=free_port)
    https_port: int = field(default_factory=free_port)
    ssh_port: int = field(default_factory=free_port)
    registry_port: int = field(default_factory=free_port)
    passwords: dict[str, str] = field(default_factory=dict)
    times: list[tuple[str, float]] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def host(self) -> str:
        return f"{self.name}-host"

    @property
    def repository(self) -> str:
        return f"localhost:{self.registry_port}/tinyurl"

    @property
    def registry(self) -> str:
        return f"localhost:{self.registry_port}/"

    def build(self, tag: str, change: Change | None = None) -> str:
        """Build and push a release from a clone, changed where asked.

        Returns:
            Its digest.
        """
        source = clone(self.folder / "sources" / tag)
        if change is not None:
            change(source)
        with self.timed(f"build of {tag}"):
            environment = {"MIRROR": self.registry}
            done = run(source / "deploy/release/build", self.repository, tag, environment=environment, timeout_s=900)
        return done.stdout.strip()

    def adopt(self, image: str) -> str:
        """Take an image that was built before, and the dashboard's that it names, as they are into the registry of this test.

        Returns:
            Its digest.
        """
        repository, _, digest = image.rpartition("@")
        dashboard = docker("run", "--rm", image, "cat", "/release/dashboard").strip()
        for tag, each in (("adopted", digest), ("adopted-dashboard", dashboard)):
            ours = f"{self.repository}:{tag}"
            docker("buildx", "imagetools", "create", "--prefer-index=false", "--tag", ours, f"{repository}@{each}")
            assert each in docker("buildx", "imagetools", "inspect", ours)
        return digest

    def ship(self, *verb: str, stdin: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Say a verb to the gate over SSH."""
        with self.timed(" ".join(verb)[:30]):
            return run(
                ROOT / "deploy/release/ship",
                *verb,
                environment=self.ship_environment(),
                stdin=stdin,
                check=check,
                timeout_s=600,
            )

    def ship_environment(self) -> dict[str, str]:
        known = (self.folder / "host_key.pub").read_text().split()[:2]
        return {
            "EC2_HOST": "127.0.0.1",
            "EC2_PORT": str(self.ssh_port),
            "EC2_SSH_KEY": (self.folder / "deploy_key").read_text(),
            "EC2_KNOWN_HOSTS": f"[127.0.0.1]:{self.ssh_port} {' '.join(known)}",
        }

    def on_host(self, *command: str, check: bool = True, stdin: str | None = None) -> str:
        """Run something as root on the host."""
        options = () if stdin is None else ("--interactive",)
        return docker("exec", *options, self.host, *command, check=check, stdin=stdin)

    def state(self) -> Any:
        return json.loads((self.root / "state.json").read_text())

    def container(self, service: str) -> str:
        return f"{self.name}-{service}-1"

    def api_key(self) -> str:
        live = self.state()["live"]["colour"]
        links = docker("ps", "--quiet", "--filter", f"name={self.name}-{live}-links-1")
        return docker("exec", links, "tinyurl", "keys", "create", "--owner", "operator").splitlines()[-1]

    def sql(self, statement: str) -> list[str]:
        command = ("psql", "--username", "tinyurl", "--tuples-only", "--no-align", "--command", statement)
        return docker("exec", self.container("db"), *command).splitlines()

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.times.append((what, time.monotonic() - began))


@contextmanager
def production() -> Iterator[Production]:
    """Prepare a host, and take all of it away at the end."""
    name = new_name()
    folder = Path(tempfile.mkdtemp(prefix="tinyurl-delivery-"))
    folder.chmod(0o755)
    site = Production(name, folder)
    try:
        _start_registry(site)
        _start_host(site)
        _bootstrap(site)
        yield site
    finally:
        _remove(site)


def start_certificate_authority(site: Production) -> None:
    """Run Pebble where certbot finds it and where it finds nginx; only it is told where the domain leads."""
    authority = site.folder / "pebble"
    authority.mkdir()
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=pebble"),
        *("-addext", "subjectAltName=DNS:pebble", "-keyout", authority / "key.pem", "-out", authority / "cert.pem"),
    )
    settings = {
        "pebble": {
            "listenAddress": "0.0.0.0:14000",
            "managementListenAddress": "0.0.0.0:15000",
            "certificate": "/pebble/cert.pem",
            "privateKey": "/pebble/key.pem",
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
    }
    (authority / "config.json").write_text(json.dumps(settings))
    for file in authority.iterdir():
        file.chmod(0o644)
    network = f"{site.name}-edge"
    nginx = inspect(site.container("nginx"))["NetworkSettings"]["Networks"][network]["IPAddress"]
    docker(
        *("run", "--detach", "--name", f"{site.name}-pebble", "--network", network, "--network-alias", "pebble"),
        *("--add-host", f"{DOMAIN}:{nginx}", "--env", "PEBBLE_VA_NOSLEEP=1", "--env", "PEBBLE_WFE_NONCEREJECT=0"),
        *("--volume", f"{authority}:/pebble:ro", PEBBLE_IMAGE, "-config", "/pebble/config.json"),
    )
    site.on_host("cp", "/dev/stdin", f"{site.root}/certificates/pebble.pem", stdin=(authority / "cert.pem").read_text())
    site.on_host("chmod", "644", f"{site.root}/certificates/pebble.pem")


def pull_unless_here(image: str) -> None:
    if run("docker", "image", "inspect", image, check=False).returncode:
        docker("pull", "--quiet", image)


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.1)


def _start_registry(site: Production) -> None:
    """A registry with the other images of a release, as the public ones have them."""
    docker(
        *("run", "--detach", "--name", f"{site.name}-registry"),
        *("--publish", f"127.0.0.1:{site.registry_port}:5000", REGISTRY_IMAGE),
    )
    wait_for(
        lambda: run("curl", "-fs", f"http://127.0.0.1:{site.registry_port}/v2/", check=False).returncode == 0,
        "registry",
    )
    for line in (ROOT / "deploy/release/images").read_text().splitlines():
        image = line.split()[1]
        pull_unless_here(image)
        docker("tag", image, site.registry + image)
        docker("push", "--quiet", site.registry + image)


def _start_host(site: Production) -> None:
    image = "tinyurl-test-host"
    docker("build", "--quiet", "--tag", image, str(ROOT / "tests/delivery/host"))
    for name in ("deploy_key", "host_key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", site.folder / name)
    site.root.mkdir()
    mounts = [f"{path}:{path}:ro" for path in client_files()]
    mounts += [f"{site.root}:{site.root}", "/var/run/docker.sock:/run/docker.sock"]
    mounts += [f"{site.folder / 'host_key'}:/etc/ssh/host_key:ro"]
    docker(
        *("run", "--detach", "--name", site.host, "--network", "host"),
        *(part for mount in mounts for part in ("--volume", mount)),
        *(image, "/usr/sbin/sshd", "-D", "-e", "-o", "ListenAddress=127.0.0.1", "-p", str(site.ssh_port)),
        *("-o", "HostKey=/etc/ssh/host_key"),
    )


def _bootstrap(site: Production) -> None:
    """As the runbook says: the folder `deploy` is copied to the host, and the script is run there."""
    client = client_files()[0]
    if client != "/usr/local/bin/docker":
        site.on_host("ln", "-sf", client, "/usr/local/bin/docker")
    source = clone(site.folder / "bootstrap")
    docker("cp", source / "deploy", f"{site.host}:/opt/deploy")
    key = (site.folder / "deploy_key.pub").read_text().strip()
    with site.timed("bootstrap"):
        site.on_host(
            *("/opt/deploy/host/bootstrap", "--repository", site.repository, "--url", f"https://{DOMAIN}"),
            *("--email", "operator@sho.test", "--key", key, "--name", site.name, "--root", str(site.root)),
        )
    settings = {
        "HTTP_PORT": f"127.0.0.1:{site.http_port}",
        "HTTPS_PORT": f"127.0.0.1:{site.https_port}",
        "ACME_DIRECTORY": "https://pebble:14000/dir",
        "ACME_CA_BUNDLE": "/certificates/pebble.pem",
        "WATCH_S": str(WATCH_S),
        "DRAIN_SECONDS": "1",
        "FREE_SPACE_MB": "100",
        "START_TIMEOUT_S": "30",
        # All the load comes from one address.
        "LIMITS": "false",
    }
    more = "".join(f"{name}={value}\n" for name, value in settings.items())
    site.on_host("sh", "-c", f"cat >>{site.root}/host.env", stdin=more)
    for name in ("POSTGRES_PASSWORD", "FASTAPI_SECRET_KEY"):
        site.passwords[name] = secrets.token_urlsafe(32)
        site.ship("put-secret", name, stdin=site.passwords[name])


def _remove(site: Production) -> None:
    names = docker("ps", "--all", "--quiet", "--filter", f"name={site.name}").split()
    if names:
        docker("rm", "--force", "--volumes", *names, check=False)
    for kind in ("network", "volume"):
        found = docker(kind, "ls", "--quiet", "--filter", f"name={site.name}").split()
        if found:
            docker(kind, "rm", *found, check=False)
    # What the containers wrote belongs to other users.
    docker(
        "run",
        "--rm",
        "--volume",
        f"{site.folder}:/folder",
        "python:3.14-slim",
        "sh",
        "-c",
        "rm -rf /folder/root",
        check=False,
    )
    shutil.rmtree(site.folder, ignore_errors=True)
    images = docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    ours = [image for image in images if image.startswith(site.registry)]
    if ours:
        docker("rmi", "--force", *ours, check=False)
