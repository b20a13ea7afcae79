"""The gate takes its few verbs in one form each, and nothing else."""

import os
from pathlib import Path

import pytest

from deploy.host.gate import LOGS_KEPT, LOGS_KEPT_S, main, parse_verb, prune_logs
from deploy.host.site import HostError, load_site

DIGEST = "sha256:" + "0123456789abcdef" * 4
GOOD = "TINYURL_NAME=tinyurl\nREPOSITORY=ghcr.io/owner/repo\nPUBLIC_BASE_URL=https://sho.rt:8443\n"


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        (f"deploy {DIGEST}", ["deploy", DIGEST]),
        ("rollback", ["rollback"]),
        ("status", ["status"]),
        ("scale redirect 4", ["scale", "redirect", "4"]),
        ("scale dashboard 2", ["scale", "dashboard", "2"]),
        ("maintain", ["maintain"]),
        ("rotate redis_url", ["rotate", "redis_url"]),
        ("put-secret POSTGRES_PASSWORD", ["put-secret", "POSTGRES_PASSWORD"]),
        ("put-secret BACKUP_COPY_CREDENTIALS", ["put-secret", "BACKUP_COPY_CREDENTIALS"]),
    ],
)
def test_verbs(text: str, verb: list[str]) -> None:
    assert parse_verb(text) == verb


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sh",
        "deploy",
        "deploy latest",
        f"deploy {DIGEST[:-1]}",
        f"deploy {DIGEST}; id",
        f"deploy {DIGEST} extra",
        f"deploy {DIGEST}\nid",
        f"deploy {DIGEST.upper()}",
        "deploy sha256:$(id)",
        "status; id",
        "scale db 2",
        "scale redirect -1",
        "scale redirect 4444",
        "rotate ../postgres_password",
        "put-secret ../../etc/shadow",
        "put-secret owner_database_url",
        "--root / status",
        "--detached rollback",
        "prepare",
    ],
)
def test_anything_else_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sshd hands over is matched whole: exit status 2, and the usage."""
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", text)

    with pytest.raises(HostError, match="deploy DIGEST"):
        parse_verb(text)
    assert main(tmp_path, []) == 2


def test_host_without_bootstrap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The one line says what to do."""
    assert main(tmp_path, ["status"]) == 1
    assert "bootstrap" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "WATCH_S=soon\n", "WATCH_S must be a number, not 'soon'"),
        (GOOD + "COMPOSE_PROFILES=dashbord\n", "COMPOSE_PROFILES must be dashboard or empty, not 'dashbord'"),
        (GOOD + "no equals sign\n", "host.env:4: expected NAME=value"),
        (GOOD.replace("REPOSITORY", "REPOSITORIES"), "REPOSITORY is not set"),
    ],
)
def test_wrong_settings_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "host.env").write_text(text)

    with pytest.raises(HostError, match=message):
        load_site(tmp_path)


def test_settings(tmp_path: Path) -> None:
    """Numbers are numbers, what is left out has its default, the domain has no port."""
    (tmp_path / "host.env").write_text(GOOD + "# a comment\n\nWATCH_S=5\nERROR_SHARE=0.5\n")
    site = load_site(tmp_path)

    assert (site.watch_s, site.error_share, site.canary_failures) == (5, 0.5, 3)
    assert site.domain == "sho.rt"
    assert site.values["WATCH_S"] == "5"


def test_logs_are_pruned(tmp_path: Path) -> None:
    """The newest stay, as many as are kept, and none that is too old; what is no log is left alone."""
    now = 1_800_000_000.0
    for number in range(LOGS_KEPT + 50):
        path = tmp_path / f"2027-01-15T{number:06}+0000-deploy-1.log"
        path.write_text("")
        age = LOGS_KEPT_S + 1 if number < 60 else 0
        os.utime(path, (now - age, now - age))
    (tmp_path / "notes").write_text("")
    prune_logs(tmp_path, now)

    left = sorted(path.name for path in tmp_path.glob("*.log"))
    assert len(left) == LOGS_KEPT - 10
    assert left[0].startswith("2027-01-15T000060")
    assert (tmp_path / "notes").exists()


@pytest.mark.parametrize(
    ("lines", "limit"),
    [
        ("", "512m"),
        ("MEMORY_MB=600\n", "1048m"),
        ("MEMORY_MB=600\nREDIRECT_MEMORY=2g\n", "2g"),
        ("MEMORY_MB=x\n", "512m"),
    ],
)
def test_limit_of_redirect_follows_its_memory(tmp_path: Path, lines: str, limit: str) -> None:
    """Who gives a redirector more memory for links gives its container the room, unless the limit is named, too."""
    (tmp_path / "host.env").write_text(GOOD + lines)

    assert load_site(tmp_path).redirect_memory == limit
