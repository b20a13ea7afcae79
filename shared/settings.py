"""The settings of every service: environment variables, or files of the same name under /run/secrets.

Each service reads its own class once, when it starts, and gets no secret of another. `.env.example` lists all of it;
`deploy/backup/settings.py` has what backups need.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, FilePath, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

from shared.setting_types import (
    BaseUrl,
    EmptyIsNone,
    ForeignApis,
    Hosts,
    Listen,
    Networks,
    Origins,
    PostgresUrl,
    RedisUrl,
    RootUrl,
    Schemes,
)

SECRETS_DIR = Path("/run/secrets")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
LONGEST_RETENTION_DAYS = 36_500
"""A hundred years; 0 keeps clicks for ever."""

S = TypeVar("S", bound="Settings")


class Settings(BaseSettings):
    """The settings of every process: how it logs."""

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

    listen: Listen = "127.0.0.1:8000"
    release: str = "unreleased"
    # Together with the grace for requests under way (15 s) it must fit into the 30 s after which Compose kills.
    drain_seconds: float = Field(default=5.0, ge=0, le=14)


class SiteSettings(Settings):
    """The domains of the short links."""

    public_base_url: BaseUrl
    domains: Hosts = ()

    @property
    def default_domain(self) -> str:
        """Return the host of `public_base_url`, the domain of a link that names no other."""
        host = urlsplit(self.public_base_url).hostname or ""
        return f"[{host}]" if ":" in host else host

    @property
    def own_domains(self) -> tuple[str, ...]:
        """Return all domains, the default one first."""
        return tuple(dict.fromkeys((self.default_domain, *self.domains)))


class InternalSettings(Settings):
    """The token that links and redirect share, so that links takes clicks from redirect alone."""

    internal_token: Annotated[SecretStr | None, EmptyIsNone] = Field(default=None, min_length=32)


class CountrySettings(Settings):
    """The database with the countries of addresses, for clicks and for rules of links."""

    country_database: Annotated[FilePath | None, EmptyIsNone] = None


class CompatSettings(Settings):
    """The APIs of other shorteners that this site answers (`services/links/compat/`)."""

    compat: ForeignApis = ()


class KeptClicksSettings(Settings):
    """How many days raw clicks stay; 0 keeps all."""

    clicks_retention_days: int = Field(default=90, ge=0, le=LONGEST_RETENTION_DAYS)


class LinksSettings(
    ServerSettings, SiteSettings, InternalSettings, CountrySettings, CompatSettings, KeptClicksSettings
):
    """The write service."""

    links_database_url: PostgresUrl
    links_pool_size: int = Field(default=10, ge=2, le=200)
    fastapi_secret_key: SecretStr = Field(min_length=32)
    fastapi_secret_key_previous: Annotated[SecretStr | None, EmptyIsNone] = None
    internal_token_previous: Annotated[SecretStr | None, EmptyIsNone] = None
    allow_private_targets: bool = False
    target_schemes: Schemes = ("http", "https")
    packed_clicks: bool = False


class RedirectSettings(ServerSettings, InternalSettings, CountrySettings):
    """The redirect service."""

    redirect_database_url: PostgresUrl
    redis_url: RedisUrl
    memory_mb: int = Field(default=64, ge=0, le=65536)
    fast_lane: bool = True
    previews: bool = True
    journal_dir: Annotated[Path | None, EmptyIsNone] = None
    journal_max_bytes: int = Field(default=2**30, ge=2**20, le=2**50)
    links_address: Annotated[Listen | None, EmptyIsNone] = None

    @model_validator(mode="after")
    def check_journal(self) -> Self:
        if self.journal_dir is not None:
            for name in ("links_address", "internal_token"):
                if getattr(self, name) is None:
                    raise ValueError(f"JOURNAL_DIR needs {name.upper()}")
        return self

    @property
    def links(self) -> tuple[str, str] | None:
        """Where the write service listens, and the token for it; None if either is not set."""
        if self.links_address is None or self.internal_token is None:
            return None
        return self.links_address, self.internal_token.get_secret_value()


class DashboardSettings(ServerSettings, SiteSettings):
    """The dashboard. `tinyurl up` sets `sign_in_code…`: a code that signs in once, so that nobody has to type the key."""

    links_address: Listen
    dashboard_secret_key: SecretStr = Field(min_length=32)
    dashboard_secret_key_previous: Annotated[SecretStr | None, EmptyIsNone] = None
    sign_in_days: int = Field(default=14, ge=1, le=365)
    sign_in_code: Annotated[SecretStr | None, EmptyIsNone] = Field(default=None, min_length=32)
    sign_in_code_key: Annotated[SecretStr | None, EmptyIsNone] = None
    sign_in_code_until: int = 0

    @model_validator(mode="after")
    def check_code(self) -> Self:
        if self.sign_in_code is not None and self.default_domain not in LOOPBACK:
            raise ValueError("SIGN_IN_CODE is for a PUBLIC_BASE_URL of this machine alone")
        return self

    @property
    def is_https(self) -> bool:
        return self.public_base_url.startswith("https:")


class NginxSettings(SiteSettings, CompatSettings):
    """`tinyurl nginx-files`: the settings of nginx in front of the services."""

    root_url: RootUrl = "/dashboard/"
    trusted_proxies: Networks = ()
    limits: bool = True
    redirect_rate: int = Field(default=1000, ge=1, le=1_000_000)
    api_rate: int = Field(default=1000, ge=1, le=1_000_000)
    cors_origins: Origins = ()


class SmokeSettings(SiteSettings):
    """`tinyurl smoke`: the write service's database, and the release that the services must have."""

    links_database_url: PostgresUrl
    release: str = "unreleased"


class KeyCommandSettings(Settings):
    """`tinyurl keys`: the write service's database."""

    links_database_url: PostgresUrl


class RetentionSettings(KeptClicksSettings):
    """`tinyurl retention`: the write service's database, and how many days raw clicks stay."""

    links_database_url: PostgresUrl


class MigrationSettings(Settings):
    """`tinyurl migrate`: the database as its owner, and the services' URLs, whose logins it sets up."""

    owner_database_url: PostgresUrl
    links_database_url: Annotated[PostgresUrl | None, EmptyIsNone] = None
    redirect_database_url: Annotated[PostgresUrl | None, EmptyIsNone] = None


def load_settings(cls: type[S], env_file: Path | None = None, **given: str) -> S:
    """Read a service's settings, or end the process with one line for each that is missing or wrong.

    Args:
        cls: The class of the settings.
        env_file: A file with settings; the environment wins over it.
        given: Settings of the command line, which win over both.
    """
    try:
        return cls(_env_file=env_file, **given)  # type: ignore[call-arg, arg-type]  # pydantic-settings' own argument
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            place = [str(part) for part in problem["loc"][:1]]
            # A check of several settings names them itself.
            name = f"setting {place[0].upper()} ({_source(place[0])}): " if place else ""
            print(name + problem["msg"].removeprefix("Value error, "), file=sys.stderr)
        raise SystemExit(2) from None


def _source(name: str) -> str:
    if name.upper() in os.environ:
        return "in the environment"
    return f"in {SECRETS_DIR / name}" if (SECRETS_DIR / name).is_file() else "not set"
