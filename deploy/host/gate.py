"""The gate: takes the few verbs that the deploy key may say, and nothing else, and calls `rollout.py` for them.

sshd starts it for that key, whatever the client asks for (`command=` in authorized_keys). SSH_ORIGINAL_COMMAND has what was
asked. A verb that changes something runs detached, so that a lost connection does not kill it.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deploy.host.journal import Journal, now
from deploy.host.maintenance import maintain
from deploy.host.rollout import Rollouts
from deploy.host.site import HostError, HostSite, load_site
from deploy.host.status import describe
from deploy.host.vault import ROTATED, Vault

USAGE = """The verbs of this gate:
  deploy DIGEST        put a release live (sha256:...)
  rollback             put the previous one live again
  status               what runs, and what was done last
  scale SERVICE N      so many processes of links, redirect or dashboard, from now on
  maintain             replace nginx and the stores where the release has others; requests can be lost
  rotate NAME          change a secret without a pause: {rotated}
  put-secret NAME      take POSTGRES_PASSWORD, FASTAPI_SECRET_KEY or BACKUP_COPY_CREDENTIALS from standard input""".format(
    rotated=", ".join(ROTATED)
)

VERBS = {
    "deploy": r"deploy (sha256:[0-9a-f]{64})",
    "rollback": r"rollback",
    "status": r"status",
    "scale": r"scale (links|redirect|dashboard) ([0-9]{1,2})",
    "maintain": r"maintain",
    "rotate": rf"rotate ({'|'.join(ROTATED)})",
    "put-secret": r"put-secret (POSTGRES_PASSWORD|FASTAPI_SECRET_KEY|BACKUP_COPY_CREDENTIALS)",
}
_SECRET_LIMIT = 4096

LOGS_KEPT = 200
LOGS_KEPT_S = 90 * 86400


def parse_verb(text: str) -> list[str]:
    """Read a command, exactly in the form that the usage shows.

    Raises:
        HostError: It is no such command; the message has the usage.
    """
    for verb, pattern in VERBS.items():
        match = re.fullmatch(pattern, text)
        if match:
            return [verb, *match.groups()]
    raise HostError(f"not a verb: {text[:100]!r}\n{USAGE}")


def main(root: Path, arguments: Sequence[str]) -> int:
    """Do what was asked.

    Returns:
        The exit status: 0, 1 if it failed, or 2 if it was not understood.
    """
    detached = arguments[:1] == ["--detached"]
    text = " ".join(arguments[1:] if detached else arguments) or os.environ.get("SSH_ORIGINAL_COMMAND", "")
    try:
        verb, *values = parse_verb(text.strip())
    except HostError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        site = load_site(root)
        if verb == "status":
            journal = Journal(site.root)
            print("\n".join(describe(site, journal)))
        elif verb == "put-secret":
            _put_secret(site, values[0])
        elif detached:
            _run(site, verb, values)
        else:
            return _detach(site, text.strip())
    except HostError as error:
        print(f"{verb}: {error}", file=sys.stderr)
        return 1
    return 0


def _run(site: HostSite, verb: str, values: list[str]) -> None:
    journal = Journal(site.root)
    with journal.lock(" ".join([verb, *values])):
        rollouts = Rollouts(site, journal, _say)
        Vault(site).draw()
        rollouts.recover()
        if verb == "deploy":
            rollouts.deploy(*values)
        elif verb == "rollback":
            rollouts.rollback()
        elif verb == "rotate":
            rollouts.rotate(*values)
        elif verb == "scale":
            rollouts.scale(values[0], int(values[1]))
        else:
            maintain(site, journal, _say)
    _say("done")


def _put_secret(site: HostSite, name: str) -> None:
    value = sys.stdin.read(_SECRET_LIMIT + 1)
    if len(value) > _SECRET_LIMIT:
        raise HostError(f"{name} is longer than {_SECRET_LIMIT} characters")
    with Journal(site.root).lock(f"put-secret {name}"):
        changed = Vault(site).put(name, value)
    print(f"{name}: {'changed' if changed else 'as it was'}")


def prune_logs(folder: Path, seconds: float) -> None:
    """Remove old logs of verbs, and those beyond the newest few: their names begin with the time."""
    for number, path in enumerate(sorted(folder.glob("*.log"), reverse=True)):
        with suppress(FileNotFoundError):  # another verb may remove it
            if number >= LOGS_KEPT or path.stat().st_mtime < seconds - LOGS_KEPT_S:
                path.unlink()


def _detach(site: HostSite, text: str) -> int:
    """Start the verb in a session of its own, and show what it says until it ends."""
    logs = site.root / "logs"
    logs.mkdir(exist_ok=True)
    prune_logs(logs, time.time())
    path = logs / f"{now().replace(':', '')}-{text.split(maxsplit=1)[0]}-{os.getpid()}.log"
    # It starts this very module from where it is installed. Both ends of the log are files, so it holds no part of the
    # connection.
    command = [sys.executable, "-m", "deploy.host", "--root", str(site.root), "--detached", *text.split()]
    with path.open("w") as output, path.open() as shown:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
        while True:
            ended = process.poll()
            print(shown.read(), end="", flush=True)
            if ended is not None:
                return ended
            time.sleep(0.2)


def _say(line: str) -> None:
    print(f"{now()} {line}", flush=True)
