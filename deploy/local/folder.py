"""The folder of a local stack: its secrets, drawn when it is made, and the files for others. One stack has it at a time."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local.postgres import OWNER, ROLES, SUPERUSER
from deploy.local.programs import StartFailed


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        StartFailed: Another stack holds it.
    """
    with (data / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise StartFailed(
                f"{data} is in use by another `tinyurl up` (process {holder}): stop that one, or choose --data."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def load_secrets(data: Path) -> dict[str, str]:
    """Read the secrets, and draw those that an older release did not have."""
    path = data / "secrets.json"
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    names = (
        SUPERUSER,
        OWNER,
        *ROLES,
        "valkey",
        "valkey_admin",
        "fastapi_secret_key",
        "internal_token",
        "dashboard_secret_key",
    )
    drawn = {name: secrets.token_urlsafe(32) for name in names if name not in found}
    if drawn:
        store_secrets(data, found | drawn)
    return found | drawn


def store_secrets(data: Path, values: dict[str, str]) -> None:
    write_private(data / "secrets.json", json.dumps(values, indent=2) + "\n")


def write_environment(data: Path, *environments: Mapping[str, str]) -> None:
    """Write the settings that commands such as `tinyurl keys` read in this folder."""
    lines = [f"{name}={value}" for environment in environments for name, value in environment.items()]
    write_private(data / "services.env", "\n".join(dict.fromkeys(lines)) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(path)
