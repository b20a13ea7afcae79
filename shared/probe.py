"""`python -m shared.probe`: the health check of a container; it exits with 0 if the service at LISTEN is ready, else with 1."""

import http.client
import os
import sys

from shared.listen import parse_address

TIMEOUT_S = 2.0

if __name__ == "__main__":
    try:
        connection = parse_address(os.environ["LISTEN"]).connect(TIMEOUT_S)
        connection.request("GET", "/readyz")
        response = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"not reachable: {error}")
    if response.status != http.client.OK:
        sys.exit(response.read(1000).decode(errors="replace"))
