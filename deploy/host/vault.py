"""Keeps the secrets of an installation: one file each, which only the service that needs it can read.

It draws the secrets that only services use among themselves; POSTGRES_PASSWORD and FASTAPI_SECRET_KEY come from outside.
"""

import os
import re
import secrets
from urllib.parse import quote, urlsplit

from deploy.host.cache_users import ADMIN, REDIRECT, acl_lines, acl_password
from deploy.host.docker import Container, docker, project_containers
from deploy.host.journal import write_file
from deploy.host.site import HostError, HostSite

APP_UID = 10001
STORE_UID = 999

FROM_OUTSIDE = {"POSTGRES_PASSWORD": "postgres_password", "FASTAPI_SECRET_KEY": "fastapi_secret_key"}
BACKUP_CREDENTIALS = "BACKUP_COPY_CREDENTIALS"
SHORTEST = {"POSTGRES_PASSWORD": 16, "FASTAPI_SECRET_KEY": 32}
ROTATED = ("links_database_url", "redirect_database_url", "redis_url", "internal_token", "dashboard_secret_key")

_OWNERS = {"postgres_password": STORE_UID, "cache_users": STORE_UID}
_url_safe = re.compile(r"[!-~]+")
_credentials = re.compile(r"([A-Z_]+=[!-~]+(\s+|$))*|\s*\{.*\}\s*", re.DOTALL)


class Vault:
    """The folder of the secrets."""

    def __init__(self, site: HostSite) -> None:
        self._site = site
        self._folder = site.root / "secrets"

    def draw(self) -> None:
        """Draw the secrets that are missing."""
        for role in ("links", "redirect"):
            if not self._read(f"{role}_database_url"):
                self._write(f"{role}_database_url", _login_url(role, "a"))
        if not self._read("redis_url"):
            self._write("redis_admin_url", _redis_url(ADMIN))
            self._write("redis_url", _redis_url(REDIRECT))
        for name in ("internal_token", "dashboard_secret_key"):
            if not self._read(name):
                self._write(name, secrets.token_urlsafe(32))
        empty = ("fastapi_secret_key_previous", "internal_token_previous", "dashboard_secret_key_previous")
        for name in (*empty, BACKUP_CREDENTIALS.lower()):
            if not self._read(name):
                self._write(name, "")
        if not self._read("cache_users"):
            self._write_cache_users("redis_url")

    def missing(self) -> list[str]:
        """Return the secrets from outside that nobody has put here yet."""
        return [name for name, file in FROM_OUTSIDE.items() if not self._read(file)]

    def put(self, name: str, value: str) -> bool:
        """Take a secret from outside.

        Returns:
            Whether its value has changed.

        Raises:
            HostError: There is no such secret, or it cannot have this value.
        """
        if name == BACKUP_CREDENTIALS:
            return self._put_backup_credentials(value.strip())
        if name not in FROM_OUTSIDE:
            raise HostError(f"put-secret takes {', '.join(FROM_OUTSIDE)} or {BACKUP_CREDENTIALS}, not {name!r}")
        value = value.strip()
        if len(value) < SHORTEST[name] or not _url_safe.fullmatch(value):
            raise HostError(f"{name} must be at least {SHORTEST[name]} printable ASCII characters without blanks")
        before = self._read(FROM_OUTSIDE[name])
        if value == before:
            return False
        if name == "POSTGRES_PASSWORD":
            database = self._container("db")
            if database is not None:
                _psql(database, f"ALTER ROLE tinyurl PASSWORD {_quoted(value)};")
            self._write("owner_database_url", f"postgresql://tinyurl:{quote(value, safe='')}@db/tinyurl")
            self._restart_backup()
        elif before:
            self._write("fastapi_secret_key_previous", before)
        self._write(FROM_OUTSIDE[name], value)
        return True

    def begin_rotation(self, name: str) -> None:
        """Draw a new value beside the one in use, and accept both; a deployment then brings it to the services."""
        if name not in ROTATED:
            raise HostError(f"rotate takes {', '.join(ROTATED)}; what comes from outside is changed with put-secret")
        before = self._read(name)
        if not self._read(f"{name}.before"):
            self._write(f"{name}.before", before)
        before = self._read(f"{name}.before")
        if name == "redis_url":
            self._write(name, _redis_url(REDIRECT))
            self._write_cache_users(name, f"{name}.before")
            self._tell_cache(name, f"{name}.before")
        elif name in ("internal_token", "dashboard_secret_key"):
            self._write(f"{name}_previous", before)
            self._write(name, secrets.token_urlsafe(32))
        else:
            role = name.partition("_")[0]
            # Two logins take turns; `tinyurl migrate`, a step of the deployment, sets up the next one.
            other = "b" if _user(before).endswith("_a") else "a"
            self._write(name, _login_url(role, other))

    def end_rotation(self, name: str, *, keep_new: bool) -> None:
        """Refuse the old value from now on, or go back to it."""
        before = self._read(f"{name}.before")
        if not before:
            return
        gone = before if keep_new else self._read(name)
        if not keep_new:
            self._write(name, before)
        if name == "redis_url":
            self._write_cache_users(name)
            self._tell_cache(name)
        elif name == "internal_token":
            # Running services accept it until they are started again.
            self._write(f"{name}_previous", "")
        elif name == "dashboard_secret_key":
            # People stay signed in: the last value is accepted until the next rotation.
            self._write(f"{name}_previous", before if keep_new else "")
        else:
            database = self._container("db")
            if database is not None and _user(gone) != _user(self._read(name)):
                # If a rotation is undone early, it has not made the login yet.
                statement = (
                    "SELECT format('ALTER ROLE %I NOLOGIN', rolname) FROM pg_roles WHERE rolname = :'role' \\gexec"
                )
                _psql(database, statement, role=_user(gone))
        (self._folder / f"{name}.before").unlink()

    def _write_cache_users(self, *names: str) -> None:
        passwords = [_password(self._read(name)) for name in names]
        lines = acl_lines(passwords, _password(self._read("redis_admin_url")))
        self._write("cache_users", "\n".join(lines) + "\n")

    def _tell_cache(self, *names: str) -> None:
        """Let Redis accept these passwords of redirect and no others, in one command that may be repeated."""
        cache = self._container("cache")
        if cache is not None:
            command = ["valkey-cli", "--user", ADMIN, "ACL", "SETUSER", REDIRECT, "resetpass"]
            command += [acl_password(_password(self._read(name))) for name in names]
            environment = {"REDISCLI_AUTH": _password(self._read("redis_admin_url"))}
            said = docker("exec", "--env", "REDISCLI_AUTH", cache.id, *command, environment=environment).strip()
            if said != "OK":
                raise HostError(f"Redis refused to change its user: {said}")

    def _put_backup_credentials(self, value: str) -> bool:
        if not _credentials.fullmatch(value):
            raise HostError(f"{BACKUP_CREDENTIALS} must be lines NAME=value, such as AWS_ACCESS_KEY_ID=…")
        if value == self._read(BACKUP_CREDENTIALS.lower()):
            return False
        self._write(BACKUP_CREDENTIALS.lower(), value)
        self._restart_backup()
        return True

    def _restart_backup(self) -> None:
        """Start the backup service again, so that it sees a secret: its mount has the file as it was at the start."""
        for each in project_containers(self._site.tinyurl_name):
            if each.service == "backup":
                docker("restart", each.id)

    def _container(self, service: str) -> Container | None:
        found = [each for each in project_containers(self._site.tinyurl_name) if each.service == service]
        if found and not found[0].is_running:
            raise HostError(f"{service} does not run now: try again")
        return found[0] if found else None

    def _read(self, name: str) -> str:
        path = self._folder / name
        return path.read_text().strip() if path.exists() else ""

    def _write(self, name: str, value: str) -> None:
        owner = _OWNERS.get(name, APP_UID) if os.geteuid() == 0 else None
        write_file(self._folder / name, value, 0o400, owner)


def _login_url(role: str, turn: str) -> str:
    return f"postgresql://tinyurl_{role}_{turn}:{secrets.token_urlsafe(24)}@db/tinyurl"


def _redis_url(user: str) -> str:
    return f"redis://{user}:{secrets.token_urlsafe(24)}@cache:6379"


def _user(url: str) -> str:
    return urlsplit(url).username or ""


def _password(url: str) -> str:
    return urlsplit(url).password or ""


def _psql(database: Container, statement: str, **variables: str) -> None:
    """Run a statement as the owner, on the server's own socket, where no password is needed."""
    command = ["psql", "--username", "tinyurl", "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1"]
    for name, value in variables.items():
        command += ["--set", f"{name}={value}"]
    docker("exec", "--interactive", database.id, *command, stdin=statement + "\n")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
