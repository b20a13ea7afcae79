"""Starts, counts and stops the processes of a release, in one of two colours.

The rollout calls it; `edge.py` tells nginx which of them to use.
"""

from collections.abc import Mapping, Sequence

from deploy.host.docker import Container, docker, project_containers
from deploy.host.journal import Colour
from deploy.host.releases import InstalledRelease
from deploy.host.site import HostError, HostSite

STOP_TIMEOUT_S = 60.0


def other(colour: Colour) -> Colour:
    return "green" if colour == "blue" else "blue"


class Colours:
    """Both colours of a host."""

    def __init__(self, site: HostSite) -> None:
        self._site = site
        self._wait = ("--detach", "--no-deps", "--wait", "--wait-timeout", str(site.start_timeout_s))

    def containers(self, colour: Colour) -> list[Container]:
        """Return all containers of a colour, also those that do not run."""
        return project_containers(f"{self._site.tinyurl_name}-{colour}")

    def start(self, release: InstalledRelease, colour: Colour, replicas: Mapping[str, int]) -> Sequence[Container]:
        """Start so many processes of each service, and wait until all are healthy.

        Raises:
            HostError: They are not healthy in time.
        """
        scales = [part for service in release.services for part in ("--scale", f"{service}={replicas[service]}")]
        release.compose(self._site, colour).call(
            "up", *self._wait, *scales, *release.services, timeout_s=self._site.start_timeout_s + 120
        )
        found = [each for each in self.containers(colour) if each.is_running]
        if {each.service for each in found} != set(release.services):
            raise HostError(f"of {colour} only {', '.join(each.service for each in found) or 'nothing'} runs")
        return found

    def start_missing(self, release: InstalledRelease, colour: Colour, replicas: Mapping[str, int]) -> None:
        """Start the processes that a service lacks, and leave those that run alone."""
        compose = release.compose(self._site, colour)
        for service in release.services:
            if len(self._running(colour, service)) < replicas[service]:
                scale = ("--no-recreate", "--scale", f"{service}={replicas[service]}", service)
                compose.call("up", *self._wait, *scale)

    def divide(
        self, release: InstalledRelease, colour: Colour, replicas: Mapping[str, int]
    ) -> tuple[list[Container], list[Container]]:
        """Divide the running containers of a colour into those that stay, and those that a service has too many of."""
        staying: list[Container] = []
        leaving: list[Container] = []
        for service in release.services:
            running = self._running(colour, service)
            staying += running[: replicas[service]]
            leaving += running[replicas[service] :]
        return staying, leaving

    def remove(self, containers: Sequence[Container]) -> None:
        """Stop some containers, and remove them."""
        ids = [each.id for each in containers]
        docker("stop", *ids, timeout_s=STOP_TIMEOUT_S)
        docker("rm", *ids)

    def stop(self, colour: Colour) -> None:
        """Stop the processes of a colour; the containers stay, so that Docker does not start them after a reboot."""
        found = [each.id for each in self.containers(colour)]
        if found:
            docker("stop", *found, timeout_s=STOP_TIMEOUT_S)

    def _running(self, colour: Colour, service: str) -> list[Container]:
        return [each for each in self.containers(colour) if each.service == service and each.is_running]
