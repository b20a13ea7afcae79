"""Logs tell what happened, and no secret of whom it happened to."""

import subprocess
import sys

import pytest

PROGRAM = """
import structlog
from shared.logs import configure_logs
from shared.settings import Settings

def fail(password):
    raise RuntimeError("broken")

configure_logs(Settings(log_format={!r}))
try:
    fail("s3cr" + "et")
except RuntimeError:
    structlog.get_logger().exception("request_failed")
"""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_has_no_values(log_format: str) -> None:
    """An error is logged with where it happened, and without the values of that place, in each format."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(log_format)], capture_output=True, text=True, timeout=60, check=True
    )

    assert "RuntimeError: broken" in done.stderr
    assert "in fail" in done.stderr
    assert "s3cret" not in done.stderr
