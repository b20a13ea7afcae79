"""`python3 -m deploy.host [--root FOLDER] VERB …`: the gate, on the host. `prepare` is for bootstrap."""

import sys
from pathlib import Path

from deploy.host.gate import main
from deploy.host.prepare import prepare
from deploy.host.site import HostError, load_site

DEFAULT_ROOT = Path("/opt/tinyurl")

if __name__ == "__main__":
    arguments = sys.argv[1:]
    root = DEFAULT_ROOT
    if arguments[:1] == ["--root"] and len(arguments) > 1:
        root, arguments = Path(arguments[1]), arguments[2:]
    if arguments == ["prepare"]:
        try:
            prepare(load_site(root), Path(__file__).parents[2])
        except HostError as error:
            sys.exit(str(error))
    else:
        sys.exit(main(root, arguments))
