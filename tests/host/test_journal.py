"""State and lock of a host survive whoever is killed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.host.journal import Deployed, Journal, Rollout
from deploy.host.site import HostError

HOLD = """
import sys, time, pathlib
from deploy.host.journal import Journal
with Journal(pathlib.Path(sys.argv[1])).lock("deploy x"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    live, rollout = Deployed("sha256:a", "blue", "now"), Rollout("deploy", "sha256:b", "green", "smoke", generation=7)
    journal.write(live=live, rollout=rollout)
    again = Journal(tmp_path).state

    assert (again.live, again.previous, again.rollout) == (live, None, rollout)
    assert again.replicas == {"links": 1, "redirect": 2, "dashboard": 1}


def test_a_write_that_was_interrupted_leaves_the_old_state(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(live=Deployed("sha256:a", "blue", "now"))
    (tmp_path / ".state.json.new").write_text('{"live": {"dig')
    journal = Journal(tmp_path)
    journal.write(live=Deployed("sha256:b", "green", "now"))

    assert json.loads((tmp_path / "state.json").read_text())["live"]["digest"] == "sha256:b"


def test_one_verb_at_a_time(tmp_path: Path) -> None:
    """The second one is told who is at it; when the first is killed, the next may begin."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(HostError, match=f"deploy x since .* process {holder.pid}"),
            Journal(tmp_path).lock("status"),
        ):
            pass
        holder.kill()
    with Journal(tmp_path).lock("rollback"):
        pass


def test_release_log(tmp_path: Path) -> None:
    """A line for each event, the newest last."""
    journal = Journal(tmp_path)
    for number in range(7):
        journal.note("live", digest=number)

    assert [note["digest"] for note in journal.last_notes(3)] == [4, 5, 6]


def test_release_log_of_a_crash(tmp_path: Path) -> None:
    """A line that a crash has torn stands alone, and stops neither the next one nor `status`."""
    journal = Journal(tmp_path)
    journal.note("begin", digest=1)
    log = tmp_path / "releases.jsonl"
    log.write_text(log.read_text() + '{"time": "2026')
    journal.note("undone", digest=2)

    assert [note["event"] for note in journal.last_notes(3)] == ["begin", "undone"]
    assert len(log.read_text().splitlines()) == 3
