"""Replaces what deployments leave alone, because that costs requests: nginx, the stores, and the host's own program."""

from collections.abc import Callable

from deploy.host.docker import project_containers
from deploy.host.journal import Journal
from deploy.host.prepare import install_tools
from deploy.host.releases import COMPANIONS, STORES, InstalledRelease, load_release
from deploy.host.site import HostSite


def outdated(site: HostSite, release: InstalledRelease) -> list[str]:
    """Return what differs from the live release, and deployments leave alone."""
    wanted = release.compose(site).config_hashes()
    containers = project_containers(site.tinyurl_name)
    return [each.service for each in containers if each.config_hash != wanted.get(each.service)]


def maintain(site: HostSite, journal: Journal, say: Callable[[str], None]) -> None:
    """Replace this program, and nginx and the stores where the live release has others; requests can be lost meanwhile."""
    release = load_release(site, journal.live().digest)
    say(f"replacing: {', '.join(outdated(site, release)) or 'nothing'}")
    up = ("up", "--detach", "--no-deps", "--wait", "--wait-timeout", "120")
    release.compose(site).call(*up, *STORES, "nginx", *COMPANIONS, timeout_s=600)
    install_tools(site.root, release.folder)
    journal.note("maintain", digest=release.digest)
