"""Describes what runs, in a few lines, for the verb `status` and for whoever looks after the host."""

import json
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy.host.docker import project_containers
from deploy.host.journal import Journal
from deploy.host.maintenance import outdated
from deploy.host.releases import load_release
from deploy.host.site import HostError, HostSite

_DAY_S = 86400
CERTIFICATE_ALERT_DAYS = 14
BACKUP_ALERT_HOURS = 26
CLOCK_TOLERANCE = timedelta(minutes=10)


def describe(site: HostSite, journal: Journal) -> Iterator[str]:
    """Describe what is live, what is under way, what is wrong, and what was done last."""
    state = journal.state
    if state.live is None:
        yield "live: nothing yet"
    else:
        yield f"live: {state.live.digest} ({state.live.colour}, since {state.live.since})"
        running = [
            each.service for each in project_containers(f"{site.tinyurl_name}-{state.live.colour}") if each.is_running
        ]
        services: Collection[str] = state.replicas
        try:
            release = load_release(site, state.live.digest)
            services = release.services
            old = outdated(site, release)
        except HostError as error:
            old = [str(error)]
        for service in services:
            wanted = state.replicas[service]
            mark = "" if running.count(service) == wanted else "   <- not as it should be"
            yield f"  {service}: {running.count(service)} of {wanted}{mark}"
        if old:
            yield f"  not as this release has them, see `maintain`: {', '.join(old)}"
    if state.previous is not None:
        yield f"previous: {state.previous.digest}"
    if state.rollout is not None:
        yield f"under way or interrupted: {state.rollout.verb} of {state.rollout.digest}, at {state.rollout.step}"
    yield from _certificate(site)
    yield from _backup(site)
    for note in journal.last_notes(5):
        facts = " ".join(f"{name}={value}" for name, value in note.items() if name not in ("time", "event") and value)
        yield f"{note['time']} {note['event']} {facts}"


def _certificate(site: HostSite) -> Iterator[str]:
    path = site.root / "certificates" / "live" / "live.json"
    if not path.exists():
        yield "certificate: none yet   <- not as it should be"
        return
    days = (json.loads(path.read_text())["not_after"] - time.time()) / _DAY_S
    yield f"certificate: {days:.0f} days left{'   <- renew' if days < CERTIFICATE_ALERT_DAYS else ''}"


def _backup(site: HostSite) -> Iterator[str]:
    now = datetime.now(UTC)
    dates = [date for path in (site.root / "backups").glob("tinyurl-*.dump") if (date := _taken(path)) is not None]
    newest = max((date for date in dates if date <= now + CLOCK_TOLERANCE), default=None)
    if newest is None:
        yield "backup: none yet"
    else:
        hours = max((now - newest).total_seconds() / 3600, 0)
        yield f"backup: {hours:.0f} hours old{'   <- too old' if hours > BACKUP_ALERT_HOURS else ''}"
    future = sum(date > now + CLOCK_TOLERANCE for date in dates)
    if future:
        yield f"backup: {future} dated in the future   <- was the clock wrong?"
    pending = len(list((site.root / "backups").glob("tinyurl-*.pending")))
    if pending:
        yield f"backup: {pending} not copied off the host yet"


def _taken(dump: Path) -> datetime | None:
    """Return when a dump was taken, by its manifest: without one there is no backup, and a file's own date tells nothing."""
    try:
        date = datetime.fromisoformat(json.loads(dump.with_suffix(".json").read_text())["began_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return date if date.tzinfo else None
