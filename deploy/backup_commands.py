"""`tinyurl backup` and `tinyurl restore`: of the database of OWNER_DATABASE_URL or of the running `tinyurl up`."""

import asyncio
import signal
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from deploy.backup_schedule import keep_backing_up
from deploy.backups import FAILURES, take_backup
from deploy.restores import restore
from shared.logs import configure_logs
from shared.settings import BackupSettings, load_settings

T = TypeVar("T")

Data = Annotated[Path, typer.Option(help="Folder of the `tinyurl up` that is meant, if it is there.")]


def backup_command(
    if_older_than: Annotated[
        float | None, typer.Option(min=0, metavar="HOURS", help="Only if the newest good one is older.")
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(min=0.0001, metavar="HOURS", help="Stay, and take one whenever that time has passed."),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="With --every: serve Prometheus metrics there.")
    ] = None,
    data: Data = Path(".tinyurl"),
) -> None:
    """Dump the database into BACKUP_DIR, with a manifest that `tinyurl restore` checks it against.

    It holds every link that was acknowledged before it began; nothing waits for it. BACKUP_KEEP of them stay, and
    BACKUP_COPY_COMMAND copies each off the host.

    Example: tinyurl backup --every 6 --metrics-port 9100
    """
    if every is not None and if_older_than is not None:
        raise typer.BadParameter("--every looks at the newest one by itself", param_hint="--if-older-than")
    if metrics_port is not None and every is None:
        raise typer.BadParameter("it belongs to --every", param_hint="--metrics-port")
    settings = _load_settings(data)
    if every is not None:
        configure_logs(settings)
        _run("backup", keep_backing_up(settings, timedelta(hours=every), metrics_port), stopped=0)
    limit = None if if_older_than is None else timedelta(hours=if_older_than)
    taken = _run("backup", take_backup(settings, if_older_than=limit))
    if taken is None:
        typer.echo(f"nothing to do: the newest backup in {settings.backup_dir} is not older than {if_older_than:g} h")
        return
    manifest = taken.backup.manifest
    typer.echo(f"{taken.backup.dump}: {manifest.size} bytes, {manifest.links} links, {taken.seconds:.1f} s")


def restore_command(
    dump: Annotated[Path, typer.Argument(metavar="FILE", help="A .dump of `tinyurl backup`, its .json beside it.")],
    replace: Annotated[bool, typer.Option("--replace", help="Also if the database holds links.")] = False,
    data: Data = Path(".tinyurl"),
) -> None:
    """Put a backup in the place of the database, while the services run.

    It is restored beside the database in use, compared with its manifest, and then exchanged with it in one step. The
    database as it was stays under another name until the next restore. Whatever fails before leaves all as it is.

    Example: tinyurl restore backups/tinyurl-20261124T030000.000000Z.dump --replace
    """
    _run("restore", restore(_load_settings(data), dump, replace=replace, say=typer.echo))


def _load_settings(data: Path) -> BackupSettings:
    services = data / "services.env"
    return load_settings(BackupSettings, env_file=services if services.exists() else None)


def _run(command: str, work: Coroutine[None, None, T], *, stopped: int = 128 + signal.SIGTERM) -> T:
    """Run to the end, or until SIGTERM, after which what is half done is undone and the exit status is `stopped`."""

    async def work_until_stopped() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(work_until_stopped())
    except FAILURES as error:
        reason, *_ = (*str(error).splitlines(), type(error).__name__)
        typer.echo(f"tinyurl {command}: {reason}", err=True)
        raise typer.Exit(1) from None
    except asyncio.CancelledError:
        raise typer.Exit(stopped) from None
