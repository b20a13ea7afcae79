"""The gate's own code changes in one step: whenever the change is killed, a whole version is there, the old or the new one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.host.prepare import install_tools

ROOT = Path(__file__).parents[2]

KILLED_AT_EACH_STEP = """
import os, shutil, sys
from pathlib import Path
from deploy.host.prepare import install_tools

folder, kind = Path(sys.argv[1]), sys.argv[2]
CHANGES = {"os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "ctypes.dlsym", "shutil.rmtree"}


def version(tools):
    files = {path.relative_to(tools).as_posix(): path.read_text() for path in tools.rglob("*") if path.is_file()}
    names, texts = set(files), set(files.values())
    assert names == {"deploy/__init__.py", "deploy/host/cache_users.py", "deploy/host/gate.py"}, names
    assert len(texts) == 1, texts
    return texts.pop()


def prepared():
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    if kind == "versions":
        install_tools(root, folder / "first")
        install_tools(root, folder / "old")
    elif kind == "folder":
        shutil.copytree(folder / "old", root / "tools")
        shutil.copytree(folder / "old", root / "tools.old")
    return root


seen, step, done = set(), 0, False
while not done:
    step += 1
    root = prepared()
    child = os.fork()
    if child == 0:
        left = step

        def die(event, arguments):
            global left
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if event in CHANGES or writes:
                left -= 1
                if left == 0:
                    os._exit(9)

        sys.addaudithook(die)
        install_tools(root, folder / "new")
        os._exit(0)
    done = os.waitpid(child, 0)[1] == 0
    seen.add(version(root / "tools"))
    install_tools(root, folder / "new")
    assert version(root / "tools") == "new"
    assert len(list(root.glob("tools*"))) <= 3, sorted(root.iterdir())
print(step, *sorted(seen))
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Three versions of the code that runs on a host; each file says which it is of."""
    for name in ("first", "old", "new"):
        for path in ("deploy/__init__.py", "deploy/host/cache_users.py", "deploy/host/gate.py"):
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
    return tmp_path


@pytest.mark.parametrize("kind", ["versions", "folder"])
def test_killed_at_any_step_a_whole_version_is_there(sources: Path, kind: str) -> None:
    """Killed before each change of the file tree in turn, on a host with versions and on one from before there were any."""
    command = [sys.executable, "-c", KILLED_AT_EACH_STEP, str(sources), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    steps, *seen = done.stdout.split()
    assert int(steps) > 8
    assert seen == ["new", "old"]


def assert_gate_runs(tools: Path) -> None:
    """The gate is started by Python alone, with no package and nothing beside the folder."""
    command = [sys.executable, "-S", "-m", "deploy.host", "--root", str(tools.parent), "nonsense"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tools, env=environment, capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, "not a verb" in done.stderr) == (2, True), done.stderr


def image_of(root: Path, release: Path) -> None:
    """Make the folder /release of an image as the Dockerfile says, without the files that only a build knows."""
    for line in re.findall(r"^COPY (\w.* /release/.*)$", (root / "Dockerfile").read_text(), re.MULTILINE):
        *sources, target = line.split()
        folder = release / target.removeprefix("/release/")
        for source in sources:
            if (root / source).is_dir():
                shutil.copytree(root / source, folder, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(root / source, folder)


def test_the_gate_runs_from_where_it_is_installed(tmp_path: Path) -> None:
    """With the host's own Python and nothing but what was installed, the version before is still there while it may run."""
    for _ in range(3):
        install_tools(tmp_path, ROOT)

        assert_gate_runs(tmp_path / "tools")
    assert sorted(path.name for path in tmp_path.glob("tools*")) == ["tools", "tools-0002", "tools-0003"]


def test_a_gate_from_before_the_rooms_takes_this_release(tmp_path: Path) -> None:
    """It copies these three out of the image when it brings its own code up to this release, and what it gets runs."""
    release, tools = tmp_path / "release", tmp_path / "tools"
    release.mkdir()
    image_of(ROOT, release)
    shutil.copytree(release / "deploy" / "host", tools / "deploy" / "host")
    for name in ("__init__.py", "cache_users.py"):
        shutil.copy(release / "deploy" / name, tools / "deploy")

    assert_gate_runs(tools)


def test_this_gate_takes_a_release_of_another_layout(tmp_path: Path) -> None:
    """After a rollback the code of the release before is installed, with what it imports from beside `deploy/host`."""
    for name, text in {
        "__init__.py": "",
        "beside.py": "SAID = 'not a verb'",
        "host/__init__.py": "",
        "host/__main__.py": "import sys\nfrom deploy.beside import SAID\nprint(SAID, file=sys.stderr)\nsys.exit(2)",
    }.items():
        path = tmp_path / "release" / "deploy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    install_tools(tmp_path, tmp_path / "release")

    assert_gate_runs(tmp_path / "tools")
