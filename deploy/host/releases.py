"""Fetches, checks and removes the releases of this host: an image by its digest, and the files that it carries, in a folder.

The dashboard is a second image in the same repository; the file `dashboard` has its digest.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.host.docker import PULL_TIMEOUT_S, Compose, DockerFailed, docker
from deploy.host.site import HostError, HostSite

_digest = re.compile(r"sha256:[0-9a-f]{64}")

VERIFY_TIMEOUT_S = 120.0

SERVICES = ("links", "redirect", "dashboard")
STORES = ("db", "cache")
COMPANIONS = ("certificates", "backup", "retention")
"""Services that a deployment replaces without anyone noticing. `maintain` replaces nginx and the stores."""

IMAGE_VARIABLES = {
    "postgres": "POSTGRES_IMAGE",
    "valkey": "VALKEY_IMAGE",
    "nginx": "NGINX_IMAGE",
    "certbot": "CERTBOT_IMAGE",
}


@dataclass(frozen=True)
class InstalledRelease:
    """A release that is here.

    Attributes:
        digest: The digest of its image, which is its name.
        folder: Its Compose files and configuration.
        images: The images of other projects that go with it, by service.
        dashboard: The digest of the dashboard's image; empty in a release from before the dashboard, and on a host without one.
    """

    digest: str
    folder: Path
    images: dict[str, str]
    dashboard: str = ""

    @property
    def services(self) -> tuple[str, ...]:
        """Return the services that run in each colour."""
        return SERVICES if self.dashboard else tuple(each for each in SERVICES if each != "dashboard")

    def compose(self, site: HostSite, colour: str | None = None) -> Compose:
        """Return its Compose files: for a colour, or for nginx and the stores."""
        variables = {
            "IMAGE": f"{site.repository}@{self.digest}",
            "RELEASE": self.digest,
            "RELEASE_FOLDER": str(self.folder),
            **{variable: self.images[name] for name, variable in IMAGE_VARIABLES.items()},
        }
        if self.dashboard:
            variables["DASHBOARD_IMAGE"] = f"{site.repository}@{self.dashboard}"
        project = site.tinyurl_name if colour is None else f"{site.tinyurl_name}-{colour}"
        return Compose(site, project, variables, str(self.folder))


def check_digest(text: str) -> str:
    if not _digest.fullmatch(text):
        raise HostError("a release is named by its digest, sha256: and 64 hexadecimal digits")
    return text


def fetch_release(site: HostSite, digest: str) -> InstalledRelease:
    """Pull an image and those that go with it, if they are not here, and unpack the files of the release."""
    image = f"{site.repository}@{check_digest(digest)}"
    _pull(image)
    folder = _folder(site, digest)
    if not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(exist_ok=True)
        container = docker("create", image).strip()
        try:
            docker("cp", f"{container}:/release", str(partial))
        finally:
            docker("rm", container)
        os.sync()
        partial.rename(folder)
    release = load_release(site, digest)
    for other in release.images.values():
        _pull(other)
    if release.dashboard:
        _pull(f"{site.repository}@{release.dashboard}")
    return release


def verify_release(site: HostSite, digest: str) -> None:
    """Let VERIFY_COMMAND, if the operator has set one, decide whether this image may run here, before it is fetched.

    Raises:
        HostError: It says no, or does not answer in time.
    """
    command = shlex.split(site.verify_command)
    if not command:
        return
    image = f"{site.repository}@{check_digest(digest)}"
    try:
        done = subprocess.run(
            [*command, image],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=VERIFY_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"VERIFY_COMMAND: {error}") from None
    if done.returncode != 0:
        lines = " | ".join(done.stdout.strip().splitlines()[-3:])
        raise HostError(f"VERIFY_COMMAND refuses {digest} (exit status {done.returncode}): {lines}")


def load_release(site: HostSite, digest: str) -> InstalledRelease:
    """Find a release that was fetched before.

    Raises:
        HostError: The release is not here, or incomplete.
    """
    folder = _folder(site, check_digest(digest))
    try:
        images = json.loads((folder / "images.json").read_text())
    except FileNotFoundError:
        raise HostError(f"release {digest} is not on this host") from None
    missing = set(IMAGE_VARIABLES) - set(images)
    if missing:
        raise HostError(f"release {digest} names no image for {', '.join(sorted(missing))}")
    return InstalledRelease(digest, folder, images, _dashboard(folder) if site.compose_profiles else "")


def prune_releases(site: HostSite, keep: set[str]) -> list[str]:
    """Remove the oldest releases and their images beyond `keep_releases`.

    Args:
        site: The host.
        keep: Digests that stay in any case.

    Returns:
        The digests that were removed.
    """
    for left in (site.root / "releases").glob(".gone-*"):
        shutil.rmtree(left, ignore_errors=True)
    found = [each for each in (site.root / "releases").glob("sha256-*") if not each.name.endswith(".partial")]
    folders = sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)
    gone = []
    for folder in folders[site.keep_releases :]:
        digest = folder.name.replace("-", ":", 1)
        if digest not in keep:
            # A release that stays may have the same image of the dashboard.
            unused = {digest, _dashboard(folder)} - {_dashboard(each) for each in folders if each != folder} - {""}
            # It loses its name first: half a folder must never be taken for a release.
            shutil.rmtree(folder.rename(folder.with_name(f".gone-{folder.name}")), ignore_errors=True)
            for each in unused:
                with suppress(DockerFailed):
                    docker("image", "rm", "--force", f"{site.repository}@{each}")
            gone.append(digest)
    return gone


def _pull(image: str) -> None:
    """Pull an image if it is not here. A rollback needs no registry, which may be away, because its images are here."""
    try:
        docker("image", "inspect", image)
    except DockerFailed:
        docker("pull", "--quiet", image, timeout_s=PULL_TIMEOUT_S)


def _dashboard(folder: Path) -> str:
    path = folder / "dashboard"
    return check_digest(path.read_text().strip()) if path.exists() else ""


def _folder(site: HostSite, digest: str) -> Path:
    return site.root / "releases" / digest.replace(":", "-")
