"""Makes what an installation needs on the host before its first deployment; safe to repeat, nothing is replaced."""

import os
import shutil
from pathlib import Path

from deploy.host.docker import DockerFailed, docker
from deploy.host.releases import SERVICES
from deploy.host.site import Site
from deploy.host.vault import APP_UID, Vault

NGINX_GROUP = 101
CERTBOT_UID = 10002

TOOLS = ("deploy/__init__.py", "deploy/cache_users.py", "deploy/host")
"""What runs on the host: this package and what it imports."""


def prepare(site: Site, source: Path) -> None:
    """Make the folders, the networks, the database's volume, the secrets, and install the gate.

    Args:
        site: The host.
        source: The repository, or the files of a release.
    """
    folders = {
        "secrets": (0, 0, 0o700),
        # A container is given only the one that it may write to, as all have the same user.
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
    """Put the code that runs on the host where the gate finds it, in one step."""
    new, old = root / "tools.new", root / "tools.old"
    shutil.rmtree(new, ignore_errors=True)
    for path in TOOLS:
        target = new / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / path).is_dir():
            shutil.copytree(source / path, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source / path, target)
    shutil.rmtree(old, ignore_errors=True)
    if (root / "tools").exists():
        (root / "tools").rename(old)
    new.rename(root / "tools")


def _ensure(kind: str, name: str, *options: str) -> None:
    try:
        docker(kind, "inspect", name)
    except DockerFailed:
        docker(kind, "create", *options, name)
