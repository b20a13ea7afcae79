"""Copies backups off the host: to an object storage, by the operator's command, or both.

A dump that was not copied yet has a file `.pending` beside it. Nothing old is removed before all of them are copied.
"""

import asyncio
import os
from datetime import UTC, datetime

from deploy.backup.files import COPIED, Backup, BackupRefused, good_backups, locked, manifest_path
from deploy.backup.settings import BackupSettings
from deploy.backup.storage import Progress, Storage
from deploy.backup.thinning import remove_old_backups
from shared.child import kill

COPY_TIMEOUT_S = 4 * 3600
THINNING_TIMEOUT_S = 1800


def pending_backups(settings: BackupSettings) -> list[Backup]:
    """Return the backups that must still be copied, the newest first, because it saves the most."""
    return [backup for backup in reversed(good_backups(settings.backup_dir)) if backup.pending.exists()]


async def copy_pending(settings: BackupSettings, progress: Progress) -> list[Backup]:
    """Copy everything that is pending, then remove what need not stay; wait for another process that does the same.

    Returns:
        What was copied now.

    Raises:
        BackupRefused: A copy failed, or took too long. All backups stay, the old ones too, and the next call tries again.
    """
    copied = []
    async with locked(settings.backup_dir / ".copying", COPY_TIMEOUT_S, "copy of"):
        while pending := pending_backups(settings):
            backup = pending[0]
            try:
                async with asyncio.timeout(COPY_TIMEOUT_S):
                    if settings.backup_copy_to:
                        storage = Storage(settings, settings.backup_copy_to)
                        await storage.copy(backup, settings.backup_recipient, progress)
                    if settings.backup_copy_command:
                        await _run_command(settings.backup_copy_command, backup)
            except TimeoutError:
                raise _failed(backup, f"it took longer than {COPY_TIMEOUT_S} s") from None
            except (BackupRefused, OSError) as error:
                raise _failed(backup, str(error)) from None
            backup.pending.rename(backup.pending.with_suffix(COPIED))
            copied.append(backup)
        async with locked(settings.backup_dir, THINNING_TIMEOUT_S):
            remove_old_backups(settings.backup_dir, settings.keep, datetime.now(UTC))
    return copied


def _failed(backup: Backup, reason: str) -> BackupRefused:
    return BackupRefused(f"{backup.dump} is good and stays; copying it failed: {reason}")


async def _run_command(command: str, backup: Backup) -> None:
    """Run the operator's command, as it was written."""
    process = await asyncio.create_subprocess_shell(
        command,
        env=_environment(backup),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            await kill(process, group=True)
    if process.returncode != 0:
        said = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise BackupRefused(said[0] if said else f"it ended with {process.returncode}")


def _environment(backup: Backup) -> dict[str, str]:
    """Return our own environment without our secrets, and with the files that are to be copied."""
    others = {name: value for name, value in os.environ.items() if name.lower() not in BackupSettings.model_fields}
    files = {"BACKUP_FILE": backup.dump, "BACKUP_MANIFEST": manifest_path(backup.dump)}
    return others | {name: str(path.absolute()) for name, path in files.items()}
