"""`tinyurl bench`: becomes the measurements of `tests/bench`, which lie in the repository alone."""

import os
import sys
from pathlib import Path

import typer

from deploy.command.runner import fail

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def bench_command(context: typer.Context) -> None:
    """Measure speed side by side; `tinyurl bench --help` tells what."""
    root = Path(__file__).parents[2]
    if not (root / "tests" / "bench").is_dir():
        fail("bench", "it lives in the repository; run it from a clone.")
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", "tests.bench", *context.args])  # noqa: S606  # this very interpreter
