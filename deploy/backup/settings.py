"""The settings of `tinyurl backup` and `tinyurl restore`; `shared/settings.py` has those of everything else."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import SecretStr, field_validator, model_validator

from shared.setting_types import EmptyIsNone, RedisUrl
from shared.settings import MigrationSettings

_KEEP = re.compile(r"([1-9]\d{0,3})d?(?:,([1-9]\d{0,3})w)?(?:,([1-9]\d{0,3})m)?")


@dataclass(frozen=True)
class BackupKeep:
    """For how many days, weeks and months one backup each, the newest, stays."""

    days: int
    weeks: int
    months: int


class BackupSettings(MigrationSettings):
    """`tinyurl backup` and `tinyurl restore`, which the owner of the database runs."""

    backup_dir: Path = Path("backups")
    backup_keep: str = "14d,8w"
    backup_copy_to: str = ""
    backup_recipient: str = ""
    backup_copy_credentials: Annotated[SecretStr | None, EmptyIsNone] = None
    backup_copy_command: str = ""
    redis_admin_url: Annotated[RedisUrl | None, EmptyIsNone] = None

    @field_validator("backup_keep")
    @classmethod
    def check_keep(cls, value: str) -> str:
        if not _KEEP.fullmatch(value.replace(" ", "")):
            raise ValueError("must be days, and after them weeks and months if they are wanted, such as 14d,8w,12m")
        return value

    @field_validator("backup_copy_to")
    @classmethod
    def check_copy_to(cls, value: str) -> str:
        if value and not re.fullmatch(r"(s3|gs|az)://[0-9A-Za-z][0-9A-Za-z._-]*(/[0-9A-Za-z._=/-]*)?", value):
            raise ValueError(
                "must be s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, without credentials"
            )
        return value

    @field_validator("backup_recipient")
    @classmethod
    def check_recipient(cls, value: str) -> str:
        if "AGE-SECRET-KEY" in value.upper():
            raise ValueError(
                "is the private key; the public one (age1…) belongs here, and the private one off this host"
            )
        if value and not all(re.fullmatch(r"age1[0-9a-z]{58}", each.strip()) for each in value.split(",")):
            raise ValueError("must be a public key of age (age1…), or several separated by commas")
        return value

    @model_validator(mode="after")
    def check_copies_are_encrypted(self) -> Self:
        if self.backup_copy_to and not self.backup_recipient:
            raise ValueError(
                "BACKUP_COPY_TO needs BACKUP_RECIPIENT: `tinyurl backup-key FILE` draws a key and shows it"
            )
        return self

    @property
    def keep(self) -> BackupKeep:
        """BACKUP_KEEP in numbers."""
        found = _KEEP.fullmatch(self.backup_keep.replace(" ", ""))
        assert found is not None
        return BackupKeep(*(int(number or 0) for number in found.groups()))

    @property
    def copies(self) -> bool:
        """Whether backups are copied off the host."""
        return bool(self.backup_copy_to or self.backup_copy_command)
