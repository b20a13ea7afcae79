"""Makes what an installation needs on the host before its first deployment. It can be repeated, and replaces nothing."""

import ctypes
import os
import shutil
from pathlib import Path

from deploy.host.docker import DockerFailed, docker
from deploy.host.journal import sync_folder
from deploy.host.releases import SERVICES
from deploy.host.site import HostError, HostSite
from deploy.host.vault import APP_UID, Vault

NGINX_GROUP = 101
CERTBOT_UID = 10002


def prepare(site: HostSite, source: Path) -> None:
    """Make the folders, the networks, the database's volume, the secrets, and install the gate.

    Args:
        site: The host.
        source: A clone of the repository, or the files of a release.
    """
    folders = {
        "secrets": (0, 0, 0o700),
        # A container gets only the folder that it may write to, because all containers have the same user.
        "run": (APP_UID, NGINX_GROUP, 0o750),
        **{f"run/{service}": (APP_UID, NGINX_GROUP, 0o750) for service in SERVICES},
        "nginx": (0, 0, 0o755),
        "journal": (APP_UID, APP_UID, 0o700),
        "backups": (APP_UID, APP_UID, 0o700),
        "releases": (0, 0, 0o755),
        "logs": (0, 0, 0o700),
        "challenges": (CERTBOT_UID, NGINX_GROUP, 0o755),
        "certificates": (CERTBOT_UID, NGINX_GROUP, 0o750),
        "certificates/live": (CERTBOT_UID, NGINX_GROUP, 0o750),
    }
    for name, (uid, gid, mode) in folders.items():
        folder = site.root / name
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
        os.chown(folder, uid, gid)
    name = site.tinyurl_name
    _ensure("network", f"{name}-edge")
    _ensure("network", f"{name}-data", "--internal")
    _ensure("volume", f"{name}-db")
    Vault(site).draw()
    install_tools(site.root, source)


def install_tools(root: Path, source: Path) -> None:
    """Put the code that runs on the host where the gate finds it: from one moment on `tools` leads to a folder of this version.

    The last version stays, because a verb may be running from it.
    """
    versions = sorted(root.glob("tools-[0-9]*"))
    new = root / f"tools-{int(versions[-1].name.partition('-')[2]) + 1 if versions else 1:04}"
    # It copies the whole folder: the release, which may be older or newer than this code, knows which files it needs.
    shutil.copytree(source / "deploy", new / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    link, tools = root / ".tools.new", root / "tools"
    before = tools.resolve()
    _remove(link)
    link.symlink_to(new.name)
    # The files reach the disk before the link that leads to them.
    os.sync()
    if tools.is_dir() and not tools.is_symlink():
        # Older installations have a folder here. A link cannot replace a folder, but it can trade places with it.
        _exchange(link, tools)
        _remove(link)
    else:
        link.replace(tools)
    sync_folder(root)
    for version in (*versions, root / "tools.old"):
        if version.resolve() != before:
            _remove(version)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


def _exchange(one: Path, other: Path) -> None:
    """renameat2(2) with RENAME_EXCHANGE, which Python does not have."""
    here, exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) != 0:
        raise HostError(f"{other} cannot be replaced: {os.strerror(ctypes.get_errno())}")


def _ensure(kind: str, name: str, *options: str) -> None:
    try:
        docker(kind, "inspect", name)
    except DockerFailed:
        docker(kind, "create", *options, name)
