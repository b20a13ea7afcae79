"""`tinyurl backup`, `backup-key` and `restore`, for the database of OWNER_DATABASE_URL or of the running `tinyurl up`."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from deploy.backup.copying import copy_pending
from deploy.backup.dumps import FAILURES, take_backup
from deploy.backup.encryption import new_key
from deploy.backup.files import BackupRefused
from deploy.backup.restores import restore, restore_copy
from deploy.backup.schedule import keep_backing_up
from deploy.backup.settings import BackupSettings
from deploy.backup.storage import is_url, list_copies
from deploy.command.runner import Data, fail, load_command_settings, run
from deploy.command.up import DEFAULT_DATA
from shared.logs import configure_logs


def backup_command(
    *,
    if_older_than: Annotated[
        float | None, typer.Option(min=0, metavar="HOURS", help="Only if the newest good one is older.")
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(min=0.0001, metavar="HOURS", help="Stay, and take one whenever that time has passed."),
    ] = None,
    copy_only: Annotated[
        bool, typer.Option("--copy-only", help="Take none: copy what could not be copied before.")
    ] = False,
    copy_to: Annotated[
        str | None, typer.Option(metavar="URL", help="Copy it there: s3://bucket/prefix (also gs://, az://).")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option(metavar="KEY", help="With --copy-to: the public key that the copy is encrypted for.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="With --every: serve Prometheus metrics there.")
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Dump the database into BACKUP_DIR, with a manifest that `tinyurl restore` checks it against, and copy both off the host.

    A backup holds every link that was acknowledged before it began; nothing waits for it. All backups of the last day stay,
    and before that the newest of each day and week that BACKUP_KEEP says. BACKUP_COPY_TO or BACKUP_COPY_COMMAND copies each
    off the host. While that fails nothing old is removed, and the copy alone is tried again.

    Examples:

    tinyurl backup

    tinyurl backup --every 6 --metrics-port 9100

    tinyurl backup-key backup-key.txt

    tinyurl backup --copy-to s3://my-bucket/tinyurl --recipient age1…

    tinyurl backup --copy-only
    """
    if every is not None and if_older_than is not None:
        raise typer.BadParameter("--every looks at the newest one by itself", param_hint="--if-older-than")
    if copy_only and (every is not None or if_older_than is not None):
        raise typer.BadParameter("it takes no backup", param_hint="--copy-only")
    if metrics_port is not None and every is None:
        raise typer.BadParameter("it belongs to --every", param_hint="--metrics-port")
    options = {"backup_copy_to": copy_to, "backup_recipient": recipient}
    given = {name: value for name, value in options.items() if value is not None}
    settings = load_command_settings(BackupSettings, data, **given)
    if copy_only and not settings.copies:
        raise typer.BadParameter("neither BACKUP_COPY_TO nor BACKUP_COPY_COMMAND is set", param_hint="--copy-only")
    if every is not None:
        configure_logs(settings)
        work = keep_backing_up(settings, timedelta(hours=every), metrics_port)
        run("backup", work, failures=FAILURES, stopped=0)
    elif copy_only:
        copied = run("backup", copy_pending(settings, _show_progress), failures=FAILURES)
        for backup in copied:
            typer.echo(f"{backup.dump}: copied")
        if not copied:
            typer.echo("nothing to do: everything is copied")
    else:
        run("backup", _back_up_once(settings, if_older_than), failures=FAILURES)


def backup_key_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes; must not exist.")],
) -> None:
    """Draw a key for copies of backups, and show its public half, the value of BACKUP_RECIPIENT.

    The file is the only way to read the copies: keep it off the host, and twice. It has the format of `age-keygen`.

    Example: tinyurl backup-key backup-key.txt
    """
    try:
        public = new_key(file)
    except (OSError, BackupRefused) as error:
        fail("backup-key", error)
    typer.echo(f"BACKUP_RECIPIENT={public}")


def restore_command(
    dump: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL",
            help="A .dump of `tinyurl backup`, its .json beside it; or a copy: s3://bucket/prefix/ for the newest, "
            "s3://bucket/prefix/tinyurl-….dump for that one.",
        ),
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Also if the database holds links.")] = False,
    key: Annotated[
        str | None, typer.Option(metavar="FILE", help="The private key of a copy; - reads it from standard input.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list the copies in URL; needs no key.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Put a backup in the place of the database, while the services run.

    It is restored beside the database in use, compared with its manifest, and then exchanged with it in one step. The
    old database stays under another name until the next restore. A failure before the exchange changes nothing.

    Examples:

    tinyurl restore backups/tinyurl-20261124T030000.000000Z.dump --replace

    tinyurl restore --list s3://my-bucket/tinyurl/

    tinyurl restore s3://my-bucket/tinyurl/ --key backup-key.txt
    """
    if list_ and not is_url(dump):
        raise typer.BadParameter("it lists copies, at a URL", param_hint="--list")
    if is_url(dump) and not list_ and key is None:
        raise typer.BadParameter("a copy is encrypted: give the file of the private key", param_hint="--key")
    settings = load_command_settings(BackupSettings, data)
    if list_:
        _list_copies(settings, dump)
    elif key is not None and is_url(dump):
        work = restore_copy(settings, dump, _read_key_file(key), replace=replace, say=typer.echo)
        run("restore", work, failures=FAILURES)
    else:
        run("restore", restore(settings, Path(dump), replace=replace, say=typer.echo), failures=FAILURES)


async def _back_up_once(settings: BackupSettings, if_older_than: float | None) -> None:
    """Take a backup and copy it, in one run of the event loop, because a signal between two runs would be lost."""
    limit = None if if_older_than is None else timedelta(hours=if_older_than)
    taken = await take_backup(settings, if_older_than=limit)
    if taken is None:
        typer.echo(f"nothing to do: the newest backup in {settings.backup_dir} is not older than {if_older_than:g} h")
        return
    manifest = taken.backup.manifest
    typer.echo(f"{taken.backup.dump}: {manifest.size} bytes, {manifest.links} links, {taken.seconds:.1f} s")
    if settings.copies:
        await copy_pending(settings, _show_progress)
        if settings.backup_copy_to:
            typer.echo(f"copied to {settings.backup_copy_to}")


def _list_copies(settings: BackupSettings, url: str) -> None:
    copies = run("restore", list_copies(settings, url), failures=FAILURES)
    for copy in copies:
        typer.echo(f"{copy.name}  {copy.began_at:%Y-%m-%d %H:%M:%S} UTC  {copy.size} bytes")
    if not copies:
        typer.echo(f"there is no backup in {url}", err=True)


def _read_key_file(key: str) -> str:
    try:
        return sys.stdin.read() if key == "-" else Path(key).read_text()
    except (OSError, UnicodeDecodeError) as error:
        fail("restore", f"--key {key}: {error}")


def _show_progress(name: str, done: int, size: int) -> None:
    typer.echo(f"{name}: {done * 100 // max(size, 1)} % of {size} bytes")
