"""`python -m tests.promises.poisoned_links`: the write service, with a click worker that some user agents harm."""

from services.links.__main__ import CONNECTIONS
from services.links.app import create_app
from shared.server import run_server
from shared.settings import LinksSettings, load_settings
from tests.links.hostile_worker import COMMAND

if __name__ == "__main__":
    settings = load_settings(LinksSettings)
    run_server(create_app(settings, click_worker=COMMAND), settings, limit=CONNECTIONS)
