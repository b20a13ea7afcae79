"""The workflows: pinned, poor in rights, without a way around the host's key, and never cutting off a deployment."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
SECRETS = {"EC2_HOST", "EC2_SSH_KEY", "POSTGRES_PASSWORD", "FASTAPI_SECRET_KEY"}
NEWEST_PYTHON = 14

Job = dict[str, Any]

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def jobs(path: Path) -> dict[str, Job]:
    found: dict[str, Job] = load(path)["jobs"]
    return found


def steps(path: Path) -> list[Job]:
    return [step for job in jobs(path).values() for step in job.get("steps", [])]


DEPLOY = jobs(ROOT / ".github" / "workflows" / "deploy.yml")


@every_file
def test_actions_are_pinned(path: Path) -> None:
    """Each action is one commit with its version beside it, each image a digest; our own workflows are of the same commit."""
    uses = [line.strip().removeprefix("- ") for line in path.read_text().splitlines() if "uses:" in line]
    images = [service["image"] for job in jobs(path).values() for service in job.get("services", {}).values()]

    assert uses
    for line in uses:
        assert re.fullmatch(r"uses: (\$/\.github/\S+|[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+)", line), line
    for image in images:
        assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image), image


@every_file
def test_rights_are_given_one_by_one(path: Path) -> None:
    """A workflow has no right, a job the ones that it names; a checkout leaves no credentials for the steps after it."""
    assert load(path)["permissions"] == {}
    for name, job in jobs(path).items():
        assert "permissions" in job, name
        assert "uses" in job or (job["runs-on"] == "ubuntu-24.04" and "timeout-minutes" in job), name
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_secrets_are_the_four_that_exist() -> None:
    """The workflows name four secrets and no others, in steps of the one job that runs in the environment `production`."""
    text = "".join(path.read_text() for path in FILES)
    named = set(re.findall(r"secrets\s*\.\s*(\w+)", text))
    of_deploy = set(re.findall(r"secrets\.(\w+)", yaml.safe_dump(DEPLOY["deploy"]["steps"])))

    assert named - {"GITHUB_TOKEN"} == of_deploy == SECRETS
    assert not re.search(r"secrets\s*\[|secrets\s*:|\(\s*secrets\s*\)", text)
    assert DEPLOY["deploy"]["environment"] == "production"


def test_host_is_known_beforehand() -> None:
    """Nothing in the repository trusts a host because it answers."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # the git of the path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    trusting = re.compile(rb"StrictHostKeyChecking[= ]+[\"']?(no|off|accept-new)|ssh-keyscan", re.IGNORECASE)
    paths = {ROOT / name for name in listed.split("\0") if name} - {Path(__file__)}
    found = [path for path in paths if path.is_file() and trusting.search(path.read_bytes())]

    assert len(paths) > 100
    assert found == []


def test_deployment_is_never_cancelled() -> None:
    """A newer push does not cut off a deployment, and two never run at once."""
    path = ROOT / ".github" / "workflows" / "deploy.yml"
    concurrencies = [each["concurrency"] for each in (load(path), *DEPLOY.values()) if "concurrency" in each]

    assert [each["cancel-in-progress"] for each in concurrencies] == [False, False]
    assert DEPLOY["deploy"]["concurrency"]["group"] == "production"


def test_image_is_built_once_and_goes_by_its_digest() -> None:
    """The image is built in one place, tested before it is signed, and verified before it is deployed."""
    texts = {
        name: [str(step.get("run") or step.get("uses")) for step in job.get("steps", [])]
        for name, job in DEPLOY.items()
    }
    places = {
        word: [name for name, steps in texts.items() if any(word in step for step in steps)]
        for word in ("deploy/release/build", "tests/delivery", "actions/attest@")
    }
    deploy = texts["deploy"]

    assert places == {"deploy/release/build": ["build"], "tests/delivery": ["test"], "actions/attest@": ["sign"]}
    assert {"build", "test"} <= set(DEPLOY["sign"]["needs"])
    assert "if" not in DEPLOY["sign"]
    assert "sign" in DEPLOY["deploy"]["needs"]
    assert "needs.sign.result == 'success'" in DEPLOY["deploy"]["if"]
    assert "@${{ needs.build.outputs.digest }}" in DEPLOY["test"]["steps"][-1]["env"]["TINYURL_IMAGE"]
    assert DEPLOY["sign"]["steps"][-1]["with"]["subject-digest"] == "${{ needs.build.outputs.digest }}"
    assert deploy[0].startswith('if [[ ! "$DIGEST" =~')
    verified = next(number for number, step in enumerate(deploy) if "gh attestation verify" in step)
    assert verified < min(number for number, step in enumerate(deploy) if "deploy/release/ship" in step)
    assert deploy[-1] == 'deploy/release/ship deploy "$DIGEST"'


def test_who_may_push_or_sign_runs_no_code_of_others() -> None:
    """A job with a right to write runs pinned actions and our own scripts: no tests, no library, no package manager."""
    writers = {name: job for name, job in DEPLOY.items() if "write" in job["permissions"].values()}
    for name, job in writers.items():
        for step in job["steps"]:
            run = step.get("run", "")
            assert not re.search(r"\b(uv|uvx|pip|python[\d.]*|pytest|npm|npx|make|docker run)\b", run), (name, run)
            assert not step.get("uses", "").startswith(("astral-sh/setup-uv@", "actions/setup-")), name

    assert set(writers) == {"build", "sign"}
    assert [name for name, job in DEPLOY.items() if "id-token" in job["permissions"]] == ["sign"]
    assert not any("run" in step or "checkout" in step["uses"] for step in DEPLOY["sign"]["steps"])


DIGESTS = {
    "sha256:" + "0a" * 32: True,
    "": False,
    "latest": False,
    "sha256:" + "0a" * 31 + "0": False,
    "sha256:" + "0A" * 32: False,
    "sha256:" + "0a" * 32 + "0": False,
    "sha256:" + "0a" * 32 + "\nx": False,
    "x sha256:" + "0a" * 32: False,
}


@pytest.mark.parametrize(("digest", "is_one"), DIGESTS.items())
def test_digest_is_checked(digest: str, is_one: bool) -> None:
    """Only a digest gets past the first step."""
    command = ["bash", "-e", "-c", DEPLOY["deploy"]["steps"][0]["run"]]
    done = subprocess.run(
        command, env={**os.environ, "DIGEST": digest}, capture_output=True, text=True, timeout=10, check=False
    )

    assert (done.returncode == 0) is is_one, done.stdout


@every_file
def test_scripts_exist(path: Path) -> None:
    """What a step calls of this repository is there and can be run."""
    called = {name for step in steps(path) for name in re.findall(r"(?:\.ci|deploy)/[\w/.-]+", step.get("run", ""))}
    missing = {name for name in called if not os.access(ROOT / name, os.X_OK)}

    assert called
    assert missing == set()


def test_every_supported_python_is_tested() -> None:
    """The matrix has each Python from the oldest that pyproject.toml allows to the one of production."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = re.fullmatch(r">=3\.(\d+)", project["requires-python"])
    matrix = jobs(ROOT / ".github" / "workflows" / "ci.yml")["test"]["strategy"]["matrix"]["python"]

    assert oldest is not None
    assert matrix == [f"3.{minor}" for minor in range(int(oldest[1]), NEWEST_PYTHON + 1)]


def test_ci_runs_what_contributors_run() -> None:
    """`.ci/run` and the workflow check the same, and one job tells of all."""
    ci = jobs(ROOT / ".github" / "workflows" / "ci.yml")
    local = (ROOT / ".ci" / "run").read_text()

    commands = {step.get("run") for step in steps(ROOT / ".github" / "workflows" / "ci.yml")}
    for command in (".ci/lint", "uv run --group dev pytest"):
        assert re.search(rf"^(?:[^#\n]* )?{re.escape(command)}\b", local, re.MULTILINE)
    # Deliveries are tested by a job of their own, against the image that it built.
    assert {
        ".ci/lint",
        "uv run --group dev pytest --ignore=tests/delivery",
        "uv run --group dev pytest tests/delivery",
    } <= commands
    assert set(ci["green"]["needs"]) == set(ci) - {"green"}
    assert ci["green"]["if"] == "always()"
