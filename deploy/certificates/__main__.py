"""`python -m deploy.certificates`: gets the certificate and renews it on a clock, in a container of certbot's image.

The container has Python, certbot and this folder, and no other code of this project. Metrics are on port 9100.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

from deploy.certificates.names import domains
from deploy.certificates.renewal import PLACES, CertificateRefused, install, obtain

CHECK_EVERY_S = 6 * 3600
FIRST_RETRY_S = 30
LONGEST_RETRY_S = 3600
METRICS_PORT = 9100

failures = 0


def keep_for_ever() -> None:
    """Check every few hours. After a failure check sooner, with growing pauses."""
    global failures  # noqa: PLW0603  # one number, read by the metrics
    retry_s = FIRST_RETRY_S
    while True:
        try:
            obtain()
            pause_s, retry_s = CHECK_EVERY_S, FIRST_RETRY_S
        except (subprocess.SubprocessError, OSError, CertificateRefused) as error:
            failures += 1
            print(f"no new certificate: {error}", file=sys.stderr, flush=True)
            pause_s, retry_s = retry_s, min(retry_s * 2, LONGEST_RETRY_S)
        time.sleep(pause_s * random.uniform(0.8, 1.2))


class CertificateMetrics(BaseHTTPRequestHandler):
    """Prometheus text about the certificate in use."""

    def do_GET(self) -> None:
        path = PLACES.live / "live.json"
        facts = json.loads(path.read_text()) if path.exists() else json.loads('{"not_after": 0, "names": []}')
        not_after = facts["not_after"]
        missing = set(domains()) - set(facts["names"])
        body = (
            "# TYPE tinyurl_certificate_not_after_timestamp_seconds gauge\n"
            f"tinyurl_certificate_not_after_timestamp_seconds {not_after:.0f}\n"
            "# TYPE tinyurl_certificate_days_left gauge\n"
            f"tinyurl_certificate_days_left {max(0.0, not_after - time.time()) / 86400:.2f}\n"
            "# TYPE tinyurl_certificate_missing_domains gauge\n"
            f"tinyurl_certificate_missing_domains {len(missing)}\n"
            "# TYPE tinyurl_certificate_failures_total counter\n"
            f"tinyurl_certificate_failures_total {failures}\n"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Log no request."""


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.certificates", description="Keeps the certificate of nginx; without an option, for ever."
    )
    parser.add_argument("--now", action="store_true", help="renew at once, and end")
    parser.add_argument("--install", type=Path, metavar="FOLDER", help="use the certificate of this folder, and end")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    try:
        if options.install:
            install(options.install, domains())
        elif options.now:
            obtain(now=True)
        else:
            server = ThreadingHTTPServer(("", METRICS_PORT), CertificateMetrics)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            keep_for_ever()
    except (subprocess.SubprocessError, OSError, CertificateRefused) as error:
        sys.exit(f"certificates: {error}")


if __name__ == "__main__":
    main()
