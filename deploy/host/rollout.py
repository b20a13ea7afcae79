"""Puts a release live: starts and tries the other colour, switches nginx to it, and keeps what was live.

Each step is written down before it begins. The next verb finishes a killed rollout if nginx had been switched, and undoes
it if not; both are safe to repeat. Nothing before the switch touches what is live. Steps, undoing and recovery are in one
file because they have to be read together; `colours.py` has the processes themselves.
"""

from collections.abc import Callable
from dataclasses import replace
from shutil import disk_usage

from deploy.host.colours import Colours, other
from deploy.host.docker import last_lines
from deploy.host.edge import Edge
from deploy.host.journal import Colour, Deployed, Journal, Rollout, now
from deploy.host.maintenance import outdated
from deploy.host.releases import (
    COMPANIONS,
    SERVICES,
    STORES,
    InstalledRelease,
    fetch_release,
    load_release,
    prune_releases,
    verify_release,
)
from deploy.host.site import HostError, HostSite
from deploy.host.vault import Vault
from deploy.host.watch import watch

MIGRATE_TIMEOUT_S = 900.0
BACKUP_TIMEOUT_S = 3600.0


class RolledBack(HostError):
    """A release was live and failed, and the one before it is live again."""


class Rollouts:
    """Everything that changes which release is live, and with how many processes."""

    def __init__(self, site: HostSite, journal: Journal, say: Callable[[str], None]) -> None:
        self._site = site
        self._journal = journal
        self._say = say
        self._colours = Colours(site)
        self._edge = Edge(site)
        self._vault = Vault(site)

    def deploy(self, digest: str) -> None:
        """Put a release live."""
        missing = self._vault.missing()
        if missing:
            raise HostError(f"put-secret {' and '.join(missing)} first")
        self._go(Rollout("deploy", digest, self._free_colour(), "fetch"))

    def rollback(self, reason: str = "") -> None:
        """Put the last release live again."""
        previous = self._journal.state.previous
        if previous is None:
            raise HostError("there is no release to go back to")
        self._go(Rollout("rollback", previous.digest, self._free_colour(), "fetch", reason=reason))

    def rotate(self, secret: str) -> None:
        """Change a secret that services use among themselves, and deploy the live release anew with it."""
        live = self._journal.live()
        rollout = Rollout("rotate", live.digest, self._free_colour(), "fetch", secret=secret)
        self._journal.write(rollout=rollout)
        try:
            self._vault.begin_rotation(secret)
        except HostError as error:
            self._undo(rollout, str(error))
            raise
        self._go(rollout)

    def scale(self, service: str, count: int) -> None:
        """Set how many processes of a service run, now and in every later deployment."""
        if service not in SERVICES or not 1 <= count <= 64:
            raise HostError(f"scale takes {', '.join(SERVICES)}, and a number from 1 to 64")
        live = self._journal.live()
        if service not in load_release(self._site, live.digest).services:
            raise HostError(f"the live release has no {service}, or COMPOSE_PROFILES leaves it out")
        self._journal.write(rollout=Rollout("scale", live.digest, live.colour, "scale"))
        wanted = {**self._journal.state.replicas, service: count}
        try:
            self._converge(live, wanted)
        except HostError:
            self._say("going back to the number of before")
            self._converge(live, self._journal.state.replicas)
            raise
        self._journal.note("scale", service=service, count=count)

    def recover(self) -> None:
        """Finish or undo what a killed verb left."""
        rollout = self._journal.state.rollout
        if rollout is None:
            return
        if rollout.verb == "scale":
            self._say("undoing a change of scale that was interrupted")
            self._converge(self._journal.live(), self._journal.state.replicas)
        elif rollout.generation is not None and self._edge.current() == rollout.generation:
            self._say(f"finishing the {rollout.verb} of {rollout.digest} that was interrupted at: {rollout.step}")
            self._after_switch(rollout, load_release(self._site, rollout.digest))
        else:
            self._say(f"undoing the {rollout.verb} of {rollout.digest} that was interrupted at: {rollout.step}")
            self._undo(rollout, "interrupted")
            if rollout.reason:
                # The interrupted verb was a rollback: it begins again.
                self.rollback(rollout.reason)

    def _go(self, rollout: Rollout) -> None:
        self._journal.note("begin", verb=rollout.verb, digest=rollout.digest, reason=rollout.reason)
        try:
            release, rollout = self._before_switch(rollout)
        except HostError as error:
            self._undo(rollout, str(error))
            raise
        self._after_switch(rollout, release)

    def _before_switch(self, rollout: Rollout) -> tuple[InstalledRelease, Rollout]:
        site, live = self._site, self._journal.state.live
        rollout = self._step(rollout, "fetch")
        free = disk_usage(site.root).free // 2**20
        if free < site.free_space_mb:
            raise HostError(
                f"only {free} MB are free on the disk of {site.root}; FREE_SPACE_MB asks for {site.free_space_mb}"
            )
        if rollout.verb == "deploy":
            verify_release(site, rollout.digest)
        release = fetch_release(site, rollout.digest)
        compose = release.compose(site)
        if live is None:
            rollout = self._step(rollout, "stores")
            compose.call("up", "--detach", "--no-deps", "--wait", "--wait-timeout", "120", *STORES, timeout_s=900)
        elif rollout.verb == "deploy":
            rollout = self._step(rollout, "backup")
            age = f"{site.backup_max_age_hours:g}"
            compose.run_tool("backup", ["tinyurl", "backup", "--if-older-than", age], timeout_s=BACKUP_TIMEOUT_S)
        if rollout.verb != "rollback":
            rollout = self._step(rollout, "migrate")
            compose.run_tool("migrate", ["tinyurl", "migrate"], timeout_s=MIGRATE_TIMEOUT_S)
        rollout = self._step(rollout, "start")
        started = self._colours.start(release, rollout.colour, self._journal.state.replicas)
        rollout = self._step(rollout, "smoke")
        command = ["tinyurl", "smoke"]
        for each in started:
            command += [f"--{each.service}", each.socket]
        compose.run_tool("smoke", command)
        rollout = self._step(rollout, "switch")
        rollout = replace(rollout, generation=self._edge.write_generation(release, started))
        self._journal.write(rollout=rollout)
        return release, rollout

    def _after_switch(self, rollout: Rollout, release: InstalledRelease) -> None:
        """Do everything from the switch on; each part may be repeated."""
        assert rollout.generation is not None
        compose = release.compose(self._site)
        self._edge.switch(rollout.generation)
        rollout = self._step(rollout, "drain")
        self._edge.reload(compose)
        rollout = self._step(rollout, "stop")
        before = self._journal.state.live
        if before is None or before.colour != rollout.colour:
            # After this one write the new release is live, whatever happens.
            live = Deployed(rollout.digest, rollout.colour, now())
            previous = self._journal.state.previous
            if rollout.reason:
                # A later rollback must not lead to the release that was just rolled back.
                previous = None
            elif before is None or before.digest != rollout.digest:
                previous = before
            self._journal.write(live=live, previous=previous)
        self._colours.stop(other(rollout.colour))
        if rollout.secret:
            self._vault.end_rotation(rollout.secret, keep_new=True)
        try:
            compose.call("up", "--detach", "--no-deps", *COMPANIONS, timeout_s=300)
        except HostError as error:
            # Visitors do not notice it; `status` and the metrics show it.
            self._say(f"not started: {error}")
        rollout = self._step(rollout, "watch")
        nginx = self._edge.container()
        sockets = {each.socket: each.service for each in self._colours.containers(rollout.colour)}
        trouble = watch(self._site, self._edge.address(), nginx.id, release, sockets) if nginx else "nginx does not run"
        self._journal.note("live", verb=rollout.verb, digest=rollout.digest, colour=rollout.colour, trouble=trouble)
        if trouble and rollout.verb == "deploy" and self._journal.state.previous is not None:
            self._say(f"{trouble}: going back")
            try:
                self.rollback(trouble)
            except HostError as error:
                if self._journal.state.rollout is None:
                    # The release is still live: the next verb watches it again, and rolls it back.
                    self._journal.write(rollout=rollout)
                raise HostError(f"{rollout.digest} could not be rolled back ({trouble}): {error}") from None
            raise RolledBack(f"{rollout.digest} was rolled back: {trouble}")
        self._journal.write(rollout=None)
        if trouble:
            raise HostError(f"{rollout.digest} is live, but: {trouble}")
        old = outdated(self._site, release)
        if old:
            self._say(f"not as this release has them, see `maintain`: {', '.join(old)}")
        self._prune()

    def _undo(self, rollout: Rollout, reason: str) -> None:
        """Remove what a rollout has started that did not reach the switch."""
        for each in self._colours.containers(rollout.colour):
            if rollout.step in ("start", "smoke"):
                self._say(f"the last lines of {each.service}-{each.number}:\n{last_lines(each)}")
        self._colours.stop(rollout.colour)
        if rollout.secret:
            self._vault.end_rotation(rollout.secret, keep_new=False)
        self._journal.write(rollout=None)
        self._journal.note("undone", verb=rollout.verb, digest=rollout.digest, step=rollout.step, reason=reason)

    def _converge(self, live: Deployed, replicas: dict[str, int]) -> None:
        """Let so many processes run, and remember it. A new process is ready before nginx uses it, and nginx stops using an
        old one before it ends."""
        release = load_release(self._site, live.digest)
        self._say("starting whoever is missing")
        self._colours.start_missing(release, live.colour, replicas)
        staying, leaving = self._colours.divide(release, live.colour, replicas)
        self._say(f"switching nginx to {len(staying)} processes")
        self._edge.switch(self._edge.write_generation(release, staying))
        self._edge.reload(release.compose(self._site))
        if leaving:
            self._say(f"stopping {len(leaving)}")
            self._colours.remove(leaving)
        self._journal.write(rollout=None, replicas=replicas)
        self._edge.prune()

    def _step(self, rollout: Rollout, step: str) -> Rollout:
        self._say(f"{rollout.verb} {rollout.digest[7:19]} {rollout.colour}: {step}")
        rollout = replace(rollout, step=step)
        self._journal.write(rollout=rollout)
        return rollout

    def _free_colour(self) -> Colour:
        live = self._journal.state.live
        return "blue" if live is None else other(live.colour)

    def _prune(self) -> None:
        state = self._journal.state
        keep = {each.digest for each in (state.live, state.previous) if each is not None}
        for digest in prune_releases(self._site, keep):
            self._say(f"removed the old release {digest}")
        self._edge.prune()
