"""`python -m deploy.local`: the process of `tinyurl up`, which starts the local stack and stays until Ctrl-C.

It imports the standard library and what needs no more, so that it stays small; `deploy/command/up.py` has the options.
"""

import asyncio
import signal
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.programs import StartFailed
from deploy.local.stack import StackOptions, run_stack


def main() -> None:
    parser = ArgumentParser(prog="python -m deploy.local")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--no-dashboard", action="store_true")
    parser.add_argument("--ephemeral", action="store_true")
    parser.add_argument("--nginx")
    parser.add_argument(
        "--no-limits", action="store_true", help="nginx lets any number of requests through: to measure"
    )
    given = parser.parse_args()
    with ExitStack() as stack:
        if given.ephemeral:
            folder = TemporaryDirectory(prefix="tinyurl-data-", ignore_cleanup_errors=True)
            given.data = Path(stack.enter_context(folder))
        options = StackOptions(
            given.data,
            given.port,
            given.workers,
            durable=not given.ephemeral,
            limits=not given.no_limits,
            nginx=given.nginx,
            dashboard=not given.no_dashboard,
        )
        try:
            asyncio.run(_up(options))
        except StartFailed as error:
            _say(f"tinyurl up: {' '.join(str(error).splitlines())}")
            sys.exit(1)


async def _up(options: StackOptions) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Nothing is cancelled: a stack is stopped part by part, in order.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with run_stack(options, _say) as stack:
        print(
            f"TinyURL is up at {stack.url}, its API at {stack.url}/docs\n"
            f"API key: {stack.api_key}\n"
            "\n"
            "Shorten a link:\n"
            f"  curl -s {stack.url}/api/v1/links -H 'Authorization: Bearer {stack.api_key}' "
            "-H 'Content-Type: application/json' -d '{\"url\": \"https://www.python.org/\"}'\n"
            "\n"
            f"Data and logs are in {options.data}. Stop it with Ctrl-C.",
            flush=True,
        )
        # It takes longer than all the rest, which is in use meanwhile.
        stack.sign_in_url.add_done_callback(
            lambda url: print(f"Dashboard: {url.result()} (signs in once, within five minutes)", flush=True)
        )
        await stopping.wait()
        print("stopping", flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
