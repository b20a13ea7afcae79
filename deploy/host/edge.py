"""Tells nginx in front which processes to use: a folder of files names them, and a switch is one rename and a reload.

`nginx/current` leads to the folder in use, for example `nginx/0007`. nginx reads it anew on SIGHUP. Its old workers end
when their requests are answered. nginx itself is never stopped here.
"""

import os
import shutil
import time
from collections.abc import Sequence

from deploy.host.docker import Compose, Container, docker, inspect, project_containers
from deploy.host.journal import sync_folder
from deploy.host.releases import InstalledRelease
from deploy.host.site import HostError, HostSite

DRAIN_TIMEOUT_S = 45.0
"""Longer than nginx's own `worker_shutdown_timeout` (30 s)."""

HOST_PORT = 8081
_KEEP_GENERATIONS = 10


class Edge:
    """The nginx of one installation."""

    def __init__(self, site: HostSite) -> None:
        self._site = site
        self._folder = site.root / "nginx"

    def write_generation(self, release: InstalledRelease, containers: Sequence[Container]) -> int:
        """Write files that use these processes, and let nginx test them.

        Returns:
            The number of the generation, for `switch`.

        Raises:
            HostError: nginx refuses the files.
        """
        number = max((int(path.name) for path in self._folder.iterdir() if path.name.isdigit()), default=0) + 1
        command = ["tinyurl", "nginx-files", "--tls", "--output", f"/nginx/{number:04}"]
        for container in containers:
            command += [f"--{container.service}", container.socket]
        compose = release.compose(self._site)
        compose.run_tool("nginx-files", command)
        self._test(compose, number)
        return number

    def switch(self, generation: int) -> None:
        """Let nginx read another generation from now on."""
        link = self._folder / ".current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{generation:04}")
        # The files reach the disk before the link that leads to them: after a crash it must not lead to empty files.
        os.sync()
        link.replace(self._folder / "current")
        sync_folder(self._folder)

    def current(self) -> int | None:
        link = self._folder / "current"
        return int(link.readlink().name) if link.is_symlink() else None

    def reload(self, compose: Compose) -> None:
        """Let nginx use the current files; start it where it does not run.

        When this returns no old worker is left, so nginx sends nothing any more to processes that are not in the files.

        Raises:
            HostError: nginx did not take the files, or an old worker does not end though nginx should have ended it.
        """
        container = self.container()
        if container is None:
            compose.call("up", "--detach", "--no-deps", "--wait", "nginx")
        elif not container.is_running:
            docker("start", container.id)
        else:
            old = self._workers(container)
            # Docker would take `docker kill --signal HUP` for a stop by hand, and would not start nginx after a reboot.
            docker("exec", container.id, "nginx", "-s", "reload", "-c", "/etc/tinyurl/current/nginx.conf")
            deadline = time.monotonic() + DRAIN_TIMEOUT_S
            while old & self._workers(container):
                if time.monotonic() > deadline:
                    raise HostError("old workers of nginx do not end")
                time.sleep(0.2)

    def container(self) -> Container | None:
        found = [each for each in project_containers(self._site.tinyurl_name) if each.service == "nginx"]
        return found[0] if found else None

    def address(self) -> tuple[str, int]:
        """Return the address at which the host itself reaches the site, without TLS."""
        container = self.container()
        if container is None:
            raise HostError("nginx does not run")
        networks = inspect(container.id, ".NetworkSettings.Networks")
        return networks[f"{self._site.tinyurl_name}-edge"]["IPAddress"], HOST_PORT

    def prune(self) -> None:
        """Remove the oldest generations and the sockets of containers that are gone."""
        numbers = sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdigit())
        for number in numbers[:-_KEEP_GENERATIONS]:
            if number != self.current():
                shutil.rmtree(self._folder / f"{number:04}")
        known = {line[:12] for line in docker("ps", "--all", "--quiet", "--no-trunc").split()}
        for socket in self._site.sockets.rglob("*.sock"):
            if socket.stem.rpartition("-")[2] not in known:
                socket.unlink(missing_ok=True)

    @staticmethod
    def _workers(container: Container) -> set[str]:
        """Return the process ids of the workers, also of those that are about to end."""
        lines = docker("top", container.id, "-o", "pid,args").splitlines()
        return {line.split()[0] for line in lines if "nginx: worker process" in line}

    def _test(self, compose: Compose, generation: int) -> None:
        path = f"/etc/tinyurl/{generation:04}/nginx.conf"
        container = self.container()
        if container is not None and container.is_running:
            docker("exec", container.id, "nginx", "-t", "-q", "-c", path)
        else:
            compose.run_tool("nginx", ["-t", "-q", "-c", path], "--entrypoint", "nginx")
