"""`python -m services.dashboard`: one process of the dashboard."""

from services.dashboard.app import create_app
from shared.server import run_server
from shared.settings import DashboardSettings, load_settings

CONNECTIONS = 1000

if __name__ == "__main__":
    settings = load_settings(DashboardSettings)
    run_server(create_app(settings), settings, limit=CONNECTIONS, websockets=True)
