"""What production loads of `deploy/`, and what the README says of its rooms."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_commands_of_production_do_not_load_the_local_stack() -> None:
    """`tinyurl up` becomes another program when it is called; the commands themselves load nothing of it."""
    code = """
import sys
from deploy.command.cli import Commands
dict(Commands())
print(*(name for name in sys.modules if name.startswith('deploy.')))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()

    assert "deploy.command.up" in loaded
    assert [name for name in loaded if name.startswith("deploy.local")] == []


def test_the_map_names_every_room() -> None:
    """The README's row of `deploy/` has each of its folders and no other, and the modules that it names lie in theirs."""
    row = re.search(r"^\| `deploy/` \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert row is not None
    rooms = dict(re.findall(r"`(\w+)/` \(([^)]*)\)", row[1]))

    assert set(rooms) == {path.name for path in (ROOT / "deploy").iterdir() if path.is_dir()} - {"__pycache__"}
    for room, text in rooms.items():
        assert [
            name for name in re.findall(r"`(\w+\.py)`", text) if not (ROOT / "deploy" / room / name).is_file()
        ] == []
