"""Watches a release after the switch: canaries through nginx, and the share of errors in its log."""

import http.client
import json
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass

from deploy.host.docker import docker
from deploy.host.releases import Release
from deploy.host.site import Site

_PAUSE_S = 1.0
_CALL_TIMEOUT_S = 5.0


@dataclass
class Tally:
    """What was seen since the switch."""

    canary_failures: int = 0
    last_failure: str = ""
    answers: int = 0
    errors: int = 0

    def verdict(self, site: Site) -> str:
        """Why the release has to go; empty if it may stay."""
        if self.canary_failures >= site.canary_failures:
            return f"{self.canary_failures} canaries failed, the last one with: {self.last_failure}"
        if self.answers >= site.error_minimum and self.errors > self.answers * site.error_share:
            return f"{self.errors} of {self.answers} answers were errors (5xx)"
        return ""

    def count(self, line: str) -> None:
        """Count a line of nginx's access log; others are passed over."""
        try:
            status = json.loads(line)["status"]
        except (ValueError, KeyError, TypeError):
            return
        self.answers += 1
        self.errors += status >= 500


def watch(site: Site, address: tuple[str, int], nginx: str, release: Release) -> str:
    """Watch for the time that the settings say.

    Args:
        site: The host.
        address: Where the host reaches nginx without TLS.
        nginx: The container whose log is read.
        release: What is watched.

    Returns:
        Why the release has to go; empty if it may stay.
    """
    tally = Tally()
    seen_until = time.time()
    deadline = time.monotonic() + site.watch_s
    while not (verdict := tally.verdict(site)) and time.monotonic() < deadline:
        failure = try_canary(address, site.domain, release.services)
        if failure:
            tally.canary_failures += 1
            tally.last_failure = failure
        time.sleep(_PAUSE_S)
        now = time.time()
        for line in docker("logs", "--since", f"{seen_until:.6f}", "--until", f"{now:.6f}", nginx).splitlines():
            tally.count(line)
        seen_until = now
    return verdict


def try_canary(address: tuple[str, int], domain: str, services: Collection[str]) -> str:
    """Ask every service through nginx what they must know in any state.

    Returns:
        What was wrong; empty if nothing.
    """
    expected = {
        "/openapi.json": http.client.OK,
        "/api/v1/links": http.client.UNAUTHORIZED,
        f"/canary-{secrets.token_hex(8)}": http.client.NOT_FOUND,
    }
    if "dashboard" in services:
        expected["/dashboard/sign-in"] = http.client.OK
    for path, status in expected.items():
        connection = http.client.HTTPConnection(*address, timeout=_CALL_TIMEOUT_S)
        try:
            connection.request("GET", path, headers={"Host": domain})
            seen = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"{path}: {error or type(error).__name__}"
        finally:
            connection.close()
        if seen != status:
            return f"{path} answered {seen}, not {status}"
    return ""
