"""What can be configured, for every service: environment variables, or files of the same name under /run/secrets.

Each service reads its own class once, when it starts, and gets no secret of another. `.env.example` lists all of it.
"""

import os
import re
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from shared.listen import parse_address

SECRETS_DIR = Path("/run/secrets")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

Csv = Annotated[tuple[str, ...], NoDecode]
S = TypeVar("S", bound="Settings")


class Settings(BaseSettings):
    """What every process has: how it logs."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    log_format: Literal["console", "json"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = (init_settings, env_settings, dotenv_settings)
        if SECRETS_DIR.is_dir():
            return (*sources, SecretsSettingsSource(settings_cls, secrets_dir=SECRETS_DIR))
        return sources


class ServerSettings(Settings):
    """Where a service listens (`shared/listen.py`), which release it is, how long it drains before it stops."""

    listen: str = "127.0.0.1:8000"
    release: str = "unreleased"
    # With the grace for requests under way (15 s) it has to fit into the 30 s after which Compose kills.
    drain_seconds: float = Field(default=5.0, ge=0, le=14)

    @field_validator("listen")
    @classmethod
    def check_listen(cls, value: str) -> str:
        parse_address(value)
        return value


class SiteSettings(Settings):
    """Under which names the short links are."""

    public_base_url: str
    domains: Csv = ()

    @field_validator("domains", mode="before")
    @classmethod
    def split_domains(cls, value: object) -> object:
        return tuple(name.lower() for name in _split(value)) if isinstance(value, str) else value

    @field_validator("public_base_url")
    @classmethod
    def check_base_url(cls, value: str) -> str:
        if not re.fullmatch(r"https?://([0-9A-Za-z.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?/?", value):
            raise ValueError("must be http(s)://host or http(s)://host:port, in ASCII and without a path")
        return value.rstrip("/").lower()

    @property
    def default_domain(self) -> str:
        """The host of `public_base_url`, the domain of a link that names none."""
        host = urlsplit(self.public_base_url).hostname or ""
        return f"[{host}]" if ":" in host else host

    @property
    def own_domains(self) -> tuple[str, ...]:
        """All of them, the default one first."""
        return tuple(dict.fromkeys((self.default_domain, *self.domains)))


class InternalSettings(Settings):
    """What the two services know, so that links takes clicks from redirect alone."""

    internal_token: SecretStr | None = Field(default=None, min_length=32)

    @field_validator("internal_token", mode="before")
    @classmethod
    def take_empty_for_none(cls, value: object) -> object:
        return value or None


class LinksSettings(ServerSettings, SiteSettings, InternalSettings):
    """The write service."""

    links_database_url: SecretStr
    links_pool_size: int = Field(default=10, ge=2, le=200)
    fastapi_secret_key: SecretStr = Field(min_length=32)
    fastapi_secret_key_previous: SecretStr | None = None
    internal_token_previous: SecretStr | None = None
    allow_private_targets: bool = False
    country_database: Path | None = None


class RedirectSettings(ServerSettings, InternalSettings):
    """The redirect service."""

    redirect_database_url: SecretStr
    redis_url: SecretStr
    memory_mb: int = Field(default=64, ge=0, le=65536)
    fast_lane: bool = True
    journal_dir: Path | None = None
    journal_max_bytes: int = Field(default=2**30, ge=2**20)
    links_address: str = ""

    @field_validator("journal_dir", mode="before")
    @classmethod
    def take_no_folder_for_none(cls, value: object) -> object:
        return value or None

    @field_validator("links_address")
    @classmethod
    def check_links_address(cls, value: str) -> str:
        if value:
            parse_address(value)
        return value

    @model_validator(mode="after")
    def check_journal(self) -> Self:
        if self.journal_dir is not None:
            if not self.links_address:
                raise ValueError("journal_dir needs links_address")
            if self.internal_token is None:
                raise ValueError("journal_dir needs internal_token")
        return self

    @model_validator(mode="after")
    def check_redis_url(self) -> Self:
        if urlsplit(self.redis_url.get_secret_value()).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("redis_url must begin with redis://, rediss:// or unix://")
        return self


class DashboardSettings(ServerSettings, SiteSettings):
    """The dashboard. Its `sign_in_…` are for the local stack: a code that signs in once, without the key being typed."""

    links_address: str
    dashboard_secret_key: SecretStr = Field(min_length=32)
    dashboard_secret_key_previous: SecretStr | None = None
    sign_in_days: int = Field(default=14, ge=1, le=365)
    sign_in_code: SecretStr | None = Field(default=None, min_length=32)
    sign_in_code_key: SecretStr | None = None
    sign_in_code_until: int = 0

    @field_validator("dashboard_secret_key_previous", "sign_in_code", "sign_in_code_key", mode="before")
    @classmethod
    def take_empty_for_none(cls, value: object) -> object:
        return value or None

    @field_validator("links_address")
    @classmethod
    def check_links_address(cls, value: str) -> str:
        parse_address(value)
        return value

    @model_validator(mode="after")
    def check_code(self) -> Self:
        if self.sign_in_code is not None and self.default_domain not in LOOPBACK:
            raise ValueError("sign_in_code is for a public_base_url of this machine alone")
        return self

    @property
    def is_https(self) -> bool:
        return self.public_base_url.startswith("https:")


class NginxSettings(SiteSettings):
    """`tinyurl nginx-files`: what nginx in front of the services is told."""

    root_url: str = "/dashboard/"
    trusted_proxies: Csv = ()
    limits: bool = True
    redirect_rate: int = Field(default=1000, ge=1)
    api_rate: int = Field(default=1000, ge=1)

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def split_proxies(cls, value: object) -> object:
        return (
            tuple(str(ip_network(network, strict=False)) for network in _split(value))
            if isinstance(value, str)
            else value
        )

    @field_validator("root_url")
    @classmethod
    def check_root_url(cls, value: str) -> str:
        if not re.fullmatch(r"(/|https?://)[!#%&'()*+,./0-9:=?@A-Z_a-z~-]*", value):
            raise ValueError("must be a path or an http(s) URL, percent-encoded")
        return value


class SmokeSettings(SiteSettings):
    """`tinyurl smoke`: the write service's database, and the release that the services have to be."""

    links_database_url: SecretStr
    release: str = "unreleased"


class KeyCommandSettings(Settings):
    """`tinyurl keys`: the write service's database."""

    links_database_url: SecretStr


class RetentionSettings(Settings):
    """`tinyurl retention`: the write service's database, and how many days raw clicks stay; 0 keeps all."""

    links_database_url: SecretStr
    clicks_retention_days: int = Field(default=90, ge=0)


class MigrationSettings(Settings):
    """The owner of the database, who runs the migrations, and the services' URLs, whose logins it then sets up."""

    owner_database_url: SecretStr
    links_database_url: SecretStr | None = None
    redirect_database_url: SecretStr | None = None


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class BackupSettings(MigrationSettings):
    """`tinyurl backup` and `tinyurl restore`, which the owner of the database runs."""

    backup_dir: Path = Path("backups")
    backup_keep: int = Field(default=14, ge=1)
    backup_copy_command: str = ""
    redis_admin_url: SecretStr | None = None


def load_settings(cls: type[S], env_file: Path | None = None) -> S:
    """Read a service's settings, or end the process with one line for each that is missing or wrong.

    Args:
        cls: Which ones.
        env_file: Read before the environment, which wins.
    """
    try:
        return cls(_env_file=env_file)  # type: ignore[call-arg]  # pydantic-settings' own argument
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in problem["loc"]).upper() or cls.__name__
            source = "in the environment" if name in os.environ else "not set"
            print(f"setting {name} ({source}): {problem['msg']}", file=sys.stderr)
        raise SystemExit(2) from None
