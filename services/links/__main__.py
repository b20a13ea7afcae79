"""`python -m services.links`: one process of the write service."""

import sys

from services.links.app import create_app
from shared.server import run_server
from shared.settings import LinksSettings, load_settings
from shared.writes import JoiningProtocol

CONNECTIONS = 1000

SWITCH_INTERVAL_S = 0.0005
"""A thread that parses or draws gives the interpreter back after this time. With the default of 5 ms, each step of a creation
waits for so long."""

if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    settings = load_settings(LinksSettings)
    run_server(create_app(settings), settings, http=JoiningProtocol, limit=CONNECTIONS)
