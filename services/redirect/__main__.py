"""`python -m services.redirect`: one redirect process. Run as many as there are cores, each with its own `LISTEN`."""

from services.redirect.app import create_app
from services.redirect.lane import LaneProtocol
from services.redirect.protocol import VisitProtocol
from shared.server import run_server
from shared.settings import RedirectSettings, load_settings

if __name__ == "__main__":
    settings = load_settings(RedirectSettings)
    run_server(create_app(settings), settings, http=LaneProtocol if settings.fast_lane else VisitProtocol)
