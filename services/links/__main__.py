"""`python -m services.links`: one process of the write service."""

from services.links.app import create_app
from shared.server import run_server
from shared.settings import LinksSettings, load_settings

CONNECTIONS = 1000

if __name__ == "__main__":
    settings = load_settings(LinksSettings)
    run_server(create_app(settings), settings, limit=CONNECTIONS)
