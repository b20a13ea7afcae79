"""What production runs with, as Compose renders it: nothing more than each part needs."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.host.docker import Compose
from deploy.host.releases import IMAGE_VARIABLES, load_release
from deploy.host.site import load_site
from shared.server import GRACE_S
from tests.delivery.engine import ROOT, run

DIGEST = f"@sha256:{'0' * 64}"
VARIABLES = {
    "TINYURL_ROOT": "/opt/tinyurl",
    "TINYURL_NAME": "tinyurl",
    "IMAGE": f"ghcr.io/owner/tinyurl{DIGEST}",
    "POSTGRES_IMAGE": f"postgres{DIGEST}",
    "VALKEY_IMAGE": f"valkey/valkey{DIGEST}",
    "NGINX_IMAGE": f"nginx{DIGEST}",
    "CERTBOT_IMAGE": f"certbot/certbot{DIGEST}",
    "DASHBOARD_IMAGE": f"ghcr.io/owner/tinyurl@sha256:{'1' * 64}",
    "RELEASE": DIGEST[1:],
    "RELEASE_FOLDER": "/opt/tinyurl/releases/0",
    "PUBLIC_BASE_URL": "https://sho.rt",
}
LONG_RUNNING = {"db", "cache", "links", "redirect", "dashboard", "nginx", "certificates", "backup", "retention"}
SECRETS = {
    "db": {"postgres_password"},
    "cache": {"cache_users"},
    "migrate": {"owner_database_url", "links_database_url", "redirect_database_url"},
    "links": {
        "links_database_url",
        "fastapi_secret_key",
        "fastapi_secret_key_previous",
        "internal_token",
        "internal_token_previous",
    },
    "redirect": {"redirect_database_url", "redis_url", "internal_token"},
    "dashboard": {"dashboard_secret_key", "dashboard_secret_key_previous"},
    "backup": {"owner_database_url", "redis_admin_url", "backup_copy_credentials"},
    "retention": {"links_database_url"},
    "smoke": {"links_database_url"},
}


PRODUCTION = ("docker", "compose", "--file", "compose.prod.yaml", "--profile", "*", "config")
HOST = ("docker", "compose", "--file", "compose.yaml", "--file", "compose.prod.yaml", "--profile", "*", "config")
"""As the host's own program calls it, also for releases of before, whose second file needs the first."""


def rendered(command: tuple[str, ...], **variables: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*command, "--format", "json", environment=VARIABLES | variables).stdout)
    return found


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = rendered(PRODUCTION)["services"]
    return found


def test_production_is_the_same_alone_and_after_what_it_extends() -> None:
    """A host's program of any release, which gives both files, starts exactly what the file alone says."""
    together, alone = rendered(HOST), rendered(PRODUCTION)

    for part in ("name", "services", "networks", "volumes", "secrets"):
        assert together[part] == alone[part]


def test_development_and_production_are_one_definition() -> None:
    """Each extends the same services and only adds to them: `!reset` and `!override` are no YAML that can be loaded here."""
    common = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    development = yaml.safe_load((ROOT / "compose.override.yaml").read_text())["services"]
    production = yaml.safe_load((ROOT / "compose.prod.yaml").read_text())["services"]

    assert set(development) == set(common)
    assert {name for name, service in production.items() if "extends" in service} == set(common)
    for name in common:
        assert production[name]["extends"] == {"file": "compose.yaml", "service": name}


def test_development_has_a_dashboard_unless_it_is_switched_off() -> None:
    """`docker compose up` starts it, and nginx leads to it; one setting leaves it out, and neither waits for it or names it."""
    command = ("docker", "compose", "config")
    usual, without = rendered(command)["services"], rendered(command, COMPOSE_PROFILES="")["services"]

    assert set(usual) - set(without) == {"dashboard"}
    assert "--dashboard=dashboard:8000" in usual["nginx-files"]["command"]
    assert "--dashboard=" in without["nginx-files"]["command"]


@pytest.mark.parametrize(
    ("line", "runs"), [("", True), ("COMPOSE_PROFILES=dashboard", True), ("COMPOSE_PROFILES=", False)]
)
def test_a_host_has_a_dashboard_unless_it_is_switched_off(tmp_path: Path, line: str, runs: bool) -> None:
    """Compose, and the program that names the services of a release, go by the same line of `host.env`."""
    (tmp_path / "host.env").write_text(f"TINYURL_NAME=x\nREPOSITORY=r\nPUBLIC_BASE_URL=https://sho.rt\n{line}\n")
    folder = tmp_path / "releases" / DIGEST[1:].replace(":", "-")
    folder.mkdir(parents=True)
    (folder / "images.json").write_text(json.dumps(dict.fromkeys(IMAGE_VARIABLES, "i")))
    (folder / "dashboard").write_text(DIGEST[1:])
    for name in ("compose.yaml", "compose.prod.yaml"):
        shutil.copy(ROOT / name, folder)
    host = load_site(tmp_path)
    release = load_release(host, DIGEST[1:])
    services = release.compose(host, "blue").call("config", "--services").split()

    assert ("dashboard" in services, "dashboard" in release.services) == (runs, runs)


COPY_COMMAND = 'cp "$BACKUP_FILE" "${BACKUP_MANIFEST}" "$(dirname /mnt/x)" # $HOME'


@pytest.mark.parametrize("is_quoted", [True, False])
def test_copy_command_arrives_as_it_was_written(tmp_path: Path, is_quoted: bool) -> None:
    """In single quotes, as documented, for whoever calls Compose; and without them, as the host's own program calls it."""
    (tmp_path / "host.env").write_text(
        "TINYURL_NAME=tinyurl\nREPOSITORY=r\nPUBLIC_BASE_URL=https://sho.rt\n"
        f"BACKUP_COPY_COMMAND={chr(39) if is_quoted else ''}{COPY_COMMAND}{chr(39) if is_quoted else ''}\n"
    )
    variables = {name: value for name, value in VARIABLES.items() if name != "TINYURL_ROOT"}
    compose = Compose(load_site(tmp_path), "tinyurl", variables, str(ROOT))
    found = json.loads(compose.call("config", "--format", "json"))
    backup = found["services"]["backup"]

    # What is rendered is a Compose file again, in which a dollar is written twice.
    assert backup["environment"]["BACKUP_COPY_COMMAND"].replace("$$", "$") == COPY_COMMAND
    assert found["secrets"]["backup_copy_credentials"]["file"] == f"{tmp_path}/secrets/backup_copy_credentials"


def test_images_are_digests(services: dict[str, Any]) -> None:
    """Nothing is built on the host, and no tag can drift."""
    for name, service in services.items():
        assert re.search(r"@sha256:(0{64}|1{64})$", service["image"]), name
        assert "build" not in service, name
    assert services["dashboard"]["image"] == VARIABLES["DASHBOARD_IMAGE"]


def test_a_program_of_before_the_dashboard_understands_the_file() -> None:
    """A host's own program is brought up to a release after that release is live; until then it names no dashboard."""
    assert rendered(HOST, DASHBOARD_IMAGE="")["services"]["dashboard"]["image"] == VARIABLES["IMAGE"]


def test_an_image_that_is_not_named_is_an_error() -> None:
    """A variable that nobody has set stops Compose, and names itself."""
    for name in ("IMAGE", "NGINX_IMAGE", "RELEASE", "TINYURL_ROOT"):
        done = run(*PRODUCTION, environment={**VARIABLES, name: ""}, check=False)

        assert done.returncode != 0
        assert name in done.stderr


def test_every_part_is_hardened(services: dict[str, Any]) -> None:
    """Read-only, without capabilities and new privileges, bounded in memory, processes and logs; nobody is root who serves."""
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert not service.get("cap_add"), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        assert int(service["mem_limit"]) > 0, name
        assert service["pids_limit"] > 0, name
        assert service["logging"]["options"]["max-size"], name
    for name in LONG_RUNNING - {"links", "redirect", "dashboard", "backup", "retention"}:
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", services[name]["user"]), name
    users = re.findall(r"^USER (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(users) == 2
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)


def test_nothing_reaches_the_engine_or_the_sources(services: dict[str, Any]) -> None:
    """No docker.sock, and no folder of the host outside of the installation's."""
    for name, service in services.items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert volume["source"].startswith("/opt/tinyurl/"), (name, volume)
                assert "docker.sock" not in volume["source"]


def test_no_service_can_stand_in_for_another(services: dict[str, Any]) -> None:
    """A folder of sockets is writable for the service that listens there alone; nginx and the callers of links only read it."""
    writers: dict[str, set[str]] = {}
    for name, service in services.items():
        for volume in service.get("volumes", []):
            if volume["source"].startswith("/opt/tinyurl/run") and not volume.get("read_only"):
                writers.setdefault(volume["source"], set()).add(name)

    assert writers == {f"/opt/tinyurl/run/{name}": {name} for name in ("links", "redirect", "dashboard")}
    for name in ("links", "redirect", "dashboard"):
        assert services[name]["environment"]["LISTEN"] == f"unix:/run/tinyurl/{name}/{name}-{{hostname}}.sock"
    for name in ("redirect", "dashboard"):
        assert services[name]["environment"]["LINKS_ADDRESS"] == "unix:/run/tinyurl/links/links-*.sock"


def test_secrets_are_files(services: dict[str, Any]) -> None:
    """No secret is in an environment or a command, and each service has its own and no more."""
    for name, service in services.items():
        assert {secret["source"] for secret in service.get("secrets", [])} == SECRETS.get(name, set()), name
        for variable, value in (service.get("environment") or {}).items():
            is_file = variable.endswith("_FILE") and str(value).startswith("/run/secrets/")
            assert is_file or not re.search(r"PASSWORD|SECRET|KEY|TOKEN|DATABASE_URL|REDIS", variable), (name, variable)
        assert "development" not in json.dumps(service), name


def test_only_nginx_is_published(services: dict[str, Any]) -> None:
    """80 and 443, and nothing else."""
    published = {
        name: sorted(port["published"] for port in service["ports"])
        for name, service in services.items()
        if "ports" in service
    }

    assert published == {"nginx": ["443", "80"]}
    assert {name for name, service in services.items() if "edge" in (service.get("networks") or {})} == {
        "nginx",
        "certificates",
        "backup",
    }


def test_nothing_is_reloaded_and_all_of_it_comes_back(services: dict[str, Any]) -> None:
    """No source is watched; what serves is started again by itself, after a reboot too; what is run once is not."""
    for name, service in services.items():
        assert "--reload" not in (service["command"] or []), name
        assert service["restart"] == ("unless-stopped" if name in LONG_RUNNING else "no"), name


def test_who_serves_has_time_to_finish(services: dict[str, Any]) -> None:
    """The time between SIGTERM and SIGKILL is longer than draining and the requests under way take."""

    for name in ("links", "redirect", "dashboard"):
        drain = float(services[name]["environment"]["DRAIN_SECONDS"])
        assert seconds(services[name]["stop_grace_period"]) > drain + GRACE_S
        assert services[name]["healthcheck"]["test"][:2] == ["CMD", "python"]
    assert seconds(services["nginx"]["stop_grace_period"]) >= 30
    assert services["nginx"]["stop_signal"] == "SIGQUIT"
    assert seconds(services["db"]["stop_grace_period"]) >= 60


def seconds(text: str) -> float:
    minutes, _, rest = text.rpartition("m")
    return float(minutes or 0) * 60 + float(rest.removesuffix("s") or 0)
