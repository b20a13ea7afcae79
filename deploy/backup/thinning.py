"""Removes old backups: all of the last day stay, and before that the newest of each day, week and month, as BACKUP_KEEP says.

The backups' distances from each other count, not the clock, so that a clock that jumps removes nothing. Backups from the
future are thinned among themselves, and push none of the others out.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy.backup.files import COPIED, PENDING, UNFINISHED, good_backups, is_ours
from deploy.backup.settings import BackupKeep

ALL_STAY = timedelta(days=1)


def choose_kept(dates: list[datetime], keep: BackupKeep) -> set[datetime]:
    """Choose the backups that stay; a day, week or month without a backup does not count."""
    if not dates:
        return set()
    newest_first = sorted((date.astimezone(UTC) for date in dates), reverse=True)
    kept = {date for date in newest_first if newest_first[0] - date <= ALL_STAY}
    periods: list[tuple[int, Callable[[datetime], object]]] = [
        (keep.days, lambda date: date.date()),
        (keep.weeks, lambda date: date.isocalendar()[:2]),
        (keep.months, lambda date: (date.year, date.month)),
    ]
    for count, period in periods:
        newest: dict[object, datetime] = {}
        for date in newest_first:
            newest.setdefault(period(date), date)
        kept.update(list(newest.values())[:count])
    return kept


def remove_old_backups(folder: Path, keep: BackupKeep, now: datetime) -> None:
    """Remove the good backups that need not stay, and what interrupted runs left; needs the lock."""
    good = good_backups(folder)
    for is_future in (False, True):
        group = [backup for backup in good if backup.is_from_the_future(now) is is_future]
        kept = choose_kept([backup.manifest.began_at for backup in group], keep)
        for backup in group:
            if backup.manifest.began_at not in kept:
                backup.dump.unlink(missing_ok=True)
    remove_leftovers(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove what interrupted runs left, and files whose dump is gone; needs the lock."""
    for path in folder.glob(f"tinyurl-*{UNFINISHED}"):
        if is_ours(path.with_suffix("")):
            path.unlink(missing_ok=True)
    for suffix in (".json", PENDING, COPIED):
        for path in folder.glob(f"tinyurl-*{suffix}"):
            if is_ours(path) and not path.with_suffix(".dump").exists():
                path.unlink(missing_ok=True)
