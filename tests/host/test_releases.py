"""Which images may run on a host, and that half a release is never taken for one."""

import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from deploy.host.releases import prune_releases, verify_release
from deploy.host.site import HostError, HostSite, load_site

DIGEST = "sha256:" + "0123456789abcdef" * 4


def site(root: Path, **settings: Any) -> HostSite:
    return HostSite(
        root=root, values={}, tinyurl_name="x", repository="ghcr.io/o/r", public_base_url="https://sho.rt", **settings
    )


def test_the_operators_command_decides(tmp_path: Path) -> None:
    """It is given the image by its digest; what it says is in the reason. Without a command every digest is taken."""
    command = tmp_path / "verify"
    command.write_text('#!/bin/sh\necho "no signature for $2"\n[ "$1" = --strict ] && [ -e "$0.good" ]\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "host.env").write_text(
        f"TINYURL_NAME=x\nREPOSITORY=ghcr.io/o/r\nPUBLIC_BASE_URL=https://sho.rt\nVERIFY_COMMAND={command} --strict\n"
    )
    host = load_site(tmp_path)

    with pytest.raises(HostError, match=f"refuses {DIGEST} .*no signature for ghcr.io/o/r@{DIGEST}"):
        verify_release(host, DIGEST)
    (tmp_path / "verify.good").write_text("")
    verify_release(host, DIGEST)
    verify_release(site(tmp_path), DIGEST)


def test_a_command_that_is_missing_lets_nothing_in(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="VERIFY_COMMAND"):
        verify_release(site(tmp_path, verify_command="/nonexistent/verify"), DIGEST)


def test_half_a_release_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruning is killed before the first file is gone: there is no such release any more, and the next one removes the rest."""
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\n")
    docker.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "releases" / DIGEST.replace(":", "-")
    folder.mkdir(parents=True)
    (folder / "images.json").write_text("{}")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            prune_releases(site(tmp_path, keep_releases=0), set())

    assert not folder.exists()
    prune_releases(site(tmp_path, keep_releases=0), set())
    assert list((tmp_path / "releases").iterdir()) == []
