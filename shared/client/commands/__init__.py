"""What people type: `tinyurl login`, `links`, `shorten`, `import` and `export`, against any instance.

An answer is on stdout, everything else on stderr. Exit status: 0 done, 1 failed, 2 typed wrongly, 3 done but for some rows.
"""

import sys


def main() -> None:
    """Run the command `tinyurl` of the wheel `tinyurl-client`."""
    try:
        from .cli import app  # noqa: PLC0415  # typer may be missing, which is told
    except ModuleNotFoundError as error:
        sys.exit(f"tinyurl: {error.name} is missing; install it with: pip install 'tinyurl-client[command]'")
    app()
