"""Watches a release after the switch: canaries through nginx, and the share of errors in its log.

Only answers of the release's own processes count, and nginx's 502 and 504 in their place. Refusals by nginx itself do not
count, nor refusals by our own bounds: any visitor or tenant can cause as many of those as they like.
"""

import http.client
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from deploy.host.docker import docker
from deploy.host.releases import InstalledRelease
from deploy.host.site import HostSite

BUSY = "X-Busy"
"""The header of an answer by which a full service refuses; `shared/busy.py` sets it, nginx logs `$upstream_http_x_busy`."""

LEFT_OUT = 4
"""Of so many groups of clients one is left out at each end: those with the most errors, and those with the most answers."""

_PAUSE_S = 1.0
_CALL_TIMEOUT_S = 5.0


@dataclass
class RequestCount:
    """The answers that a group of clients got from a service."""

    answers: int = 0
    errors: int = 0


@dataclass
class Tally:
    """What was seen since the switch.

    Attributes:
        sockets: Where the release's processes listen, as nginx's log has it, and their service; answers of others do not
            count.
        groups: Counts by service, then by the client's group in nginx's log (`client_group` in nginx.conf).
    """

    sockets: Mapping[str, str]
    canary_failures: int = 0
    last_failure: str = ""
    groups: dict[str, dict[str, RequestCount]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(RequestCount))
    )

    def verdict(self, site: HostSite) -> str:
        """Return why the release has to go; empty if it may stay."""
        if self.canary_failures >= site.canary_failures:
            return f"{self.canary_failures} canaries failed, the last one with: {self.last_failure}"
        for service, groups in self.groups.items():
            judged = _without_extremes(list(groups.values()))
            answers, errors = sum(each.answers for each in judged), sum(each.errors for each in judged)
            if answers >= site.error_minimum and errors > answers * site.error_share:
                return f"{errors} of {answers} answers of {service} were errors (5xx)"
        return ""

    def count(self, line: str) -> None:
        """Count a line of nginx's access log if one of the processes answered, or should have."""
        try:
            seen = json.loads(line)
            # The client got the last of several tries.
            address, status = _last(seen["upstream"]), _last(seen["upstream_status"])
            busy, group = seen["busy"], seen["client_group"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        # There is no status if the client went away before the answer.
        if address not in self.sockets or not status.isdecimal() or status == "429" or busy:
            return
        count = self.groups[self.sockets[address]][group]
        count.answers += 1
        count.errors += int(status) >= 500


def watch(
    site: HostSite, address: tuple[str, int], nginx: str, release: InstalledRelease, sockets: Mapping[str, str]
) -> str:
    """Watch for the time that the settings say.

    Args:
        site: The host.
        address: Where the host reaches nginx without TLS.
        nginx: The container whose log is read.
        release: The release that is watched.
        sockets: Where its processes listen, and their service.

    Returns:
        Why the release has to go; empty if it may stay.
    """
    tally = Tally(sockets)
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
    """Ask every service, through nginx, a question that it can answer in any state.

    Returns:
        What was wrong; empty if nothing was.
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
            answer = connection.getresponse()
            seen = answer.status
        except (OSError, http.client.HTTPException) as error:
            return f"{path}: {error or type(error).__name__}"
        finally:
            connection.close()
        # A client that fills a service must not fail a canary by it.
        if seen not in (status, http.client.TOO_MANY_REQUESTS) and BUSY not in answer.headers:
            return f"{path} answered {seen}, not {status}"
    return ""


def _last(field_of_nginx: str) -> str:
    """Return the last value of nginx's list: commas separate tries, colons between blanks separate locations."""
    return field_of_nginx.rpartition(" : ")[2].rpartition(", ")[2]


def _without_extremes(groups: list[RequestCount]) -> list[RequestCount]:
    """Leave out the groups with the most errors and those with the most answers.

    A client is in one group, so a flood of requests from one client hardly counts, whether they fail or not.
    """
    most = len(groups) // LEFT_OUT
    rest = sorted(groups, key=lambda each: each.errors)[: len(groups) - most]
    return sorted(rest, key=lambda each: (each.answers, -each.errors))[: len(rest) - most]
