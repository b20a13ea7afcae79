"""Fills the templates of nginx's configuration beside this module, for the local stack, the containers and the benchmark."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from pathlib import Path

from shared.clicks import HEADERS
from shared.codes import nginx_code_pattern
from shared.domains import FILES, www_aliases
from shared.problems import PAGE, VISIT_PROBLEMS

MAIN = "nginx.conf"
DASHBOARD = "/dashboard/"
DOCUMENTATION = "/docs"

FOREIGN_CORS = "/rest/"
"""Below it any page may call with a key, as at Shlink: its web client has an address of its own. There are no cookies here."""

FOREIGN_PATHS = {
    "yourls": ("= /yourls-api.php",),
    "shlink": (f"^~ {FOREIGN_CORS}",),
    "kutt": ("/api/v2/",),
    "polr": ("/api/v2/", "= /api-create.php"),
}
"""The locations of each foreign API (`services/links/compat/`). `^~` goes before the expression of codes."""

_variable = re.compile(r"\$\{([A-Z_]+)\}")


@dataclass(frozen=True)
class NginxFiles:
    """The values that the templates need.

    Attributes:
        run: The folder for nginx's own temporary files.
        access_log: The arguments of nginx's `access_log`.
        domains: The domains of the short links, the default one first.
        links: The addresses of the write service, as `server` takes them.
        redirect: The addresses of the redirectors.
        dashboard: The addresses of the dashboard; without one there is nothing under `/dashboard/`.
        listen: Where it listens without TLS; empty for TLS on 443, with a redirect from 80.
        certificate: With TLS, the file with the certificate chain and its key.
        challenges: With TLS, the folder whose `.well-known/acme-challenge/` the certificate authority reads.
        resolver: A name server, asked every second for the addresses that are names; without it they are fixed.
        aliases: Other names for the default domain. Each domain's name with `www.` is added by itself.
        cors_origins: The origins whose pages may use the API.
        compat: The APIs of other shorteners that the write service answers.
        root_url: Where `/` leads. Without a dashboard `/dashboard/` becomes the documentation of the API.
        limits: Whether clients are limited.
        workers: Worker processes, a number or `auto`.
        user: The user of the workers, as nginx's `user` takes it; empty where nginx is not root.
        trusted_proxies: Addresses or networks whose `X-Forwarded-For` is believed.
        redirect_rate: Visits per second and client address.
        api_rate: API calls per second and client address.
        api_body_size: The largest body of a request to the API.
        api_batch_size: The largest body of a batch of links.
        api_import_size: The largest file to import.
        keepalive_min_timeout: How long the old workers keep idle connections after a reload, so that no client meets a
            connection being closed; nginx has it since 1.27.4.
    """

    run: str
    access_log: str
    domains: Sequence[str]
    links: Sequence[str]
    redirect: Sequence[str]
    dashboard: Sequence[str] = ()
    listen: str = ""
    certificate: str = ""
    challenges: str = ""
    resolver: str = ""
    aliases: Sequence[str] = ()
    cors_origins: Sequence[str] = ()
    compat: Sequence[str] = ()
    root_url: str = DASHBOARD
    limits: bool = True
    workers: str = "1"
    user: str = ""
    trusted_proxies: Sequence[str] = ()
    redirect_rate: int = 1000
    api_rate: int = 1000
    api_body_size: str = "384k"
    api_batch_size: str = "8m"
    api_import_size: str = "4g"
    keepalive_min_timeout: str = ""

    def write(self, folder: Path) -> None:
        """Write `nginx.conf`, and beside it the files that it includes."""
        values = self._values()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        for source in resources.files("deploy.nginx").iterdir():
            if source.name.endswith(".conf"):
                (folder / source.name).write_text(_variable.sub(lambda match: values[match[1]], source.read_text()))

    def _values(self) -> dict[str, str]:
        own = {domain: domain for domain in self.domains} | www_aliases(self.domains)
        return {
            "NGINX_WORKERS": self.workers,
            "NGINX_USER": f"user {self.user};" if self.user else "",
            "NGINX_RUN": self.run,
            "ACCESS_LOG": self.access_log,
            "ERROR_KINDS": _map_statuses({status: each.kind for status, each in VISIT_PROBLEMS.items()}),
            "ERROR_TITLES": _map_statuses({status: each.title for status, each in VISIT_PROBLEMS.items()}),
            "ERROR_DETAILS": _map_statuses({status: each.detail for status, each in VISIT_PROBLEMS.items()}),
            "ERROR_PAGE": _quote(
                PAGE.format(name="$error_title", look="", title="$error_title", detail="$error_detail")
            ),
            "KEEPALIVE_MIN_TIMEOUT": (
                f"keepalive_min_timeout {self.keepalive_min_timeout};" if self.keepalive_min_timeout else ""
            ),
            "TRUSTED_PROXIES": _trust(self.trusted_proxies),
            "LIMITS": "on" if self.limits else "off",
            "REDIRECT_RATE": str(self.redirect_rate),
            "API_RATE": str(self.api_rate),
            "API_BODY_SIZE": self.api_body_size,
            "API_BATCH_SIZE": self.api_batch_size,
            "API_IMPORT_SIZE": self.api_import_size,
            "DEFAULT_DOMAIN": self.domains[0],
            "OWN_DOMAINS": " ".join(f"{name} {domain};" for name, domain in own.items()),
            "CORS": "on" if self.cors_origins else "off",
            "CORS_ORIGINS": " ".join(f'"~^{re.escape(each)} /api/" {each};' for each in self.cors_origins),
            "COMPAT_ORIGINS": f'"~. {FOREIGN_CORS}" "*";' if "shlink" in self.compat else "",
            "COMPAT": "\n".join(
                f"location {each} {{ include compat.conf; }}"
                for each in dict.fromkeys(each for name in self.compat for each in FOREIGN_PATHS[name])
            ),
            "RESOLVER": f"resolver {self.resolver} valid=1s; resolver_timeout 1s;" if self.resolver else "",
            "REDIRECT_SERVERS": self._servers("redirect", self.redirect),
            "LINKS_SERVERS": self._servers("links", self.links),
            "SERVERS": "plain.conf" if self.listen else "tls.conf",
            "LISTEN": self.listen,
            "SERVER_NAMES": " ".join(dict.fromkeys([*own, *self.aliases])),
            "CODE": nginx_code_pattern(),
            "VISIT_HEADERS": "\n".join(f"proxy_set_header {each.name} {each.variable};" for each in HEADERS),
            "DOMAIN_FILES": "\n".join(
                f"location = /.well-known/{name} {{ include plain_visit.conf; proxy_pass http://redirect/.well-known/{name}; }}"
                for name in FILES
            ),
            "CERTIFICATE": self.certificate,
            "CHALLENGES": self.challenges,
            "ROOT_URL": DOCUMENTATION if self.root_url == DASHBOARD and not self.dashboard else self.root_url,
            "DASHBOARD": "include dashboard.conf;" if self.dashboard else "",
            # An upstream needs a server, even if no location leads to it.
            "DASHBOARD_SERVERS": self._servers("dashboard", self.dashboard or ["127.0.0.1:1"]),
        }

    def _servers(self, upstream: str, addresses: Sequence[str]) -> str:
        # With few servers, one failed try must not put a server aside for ten seconds.
        options = "resolve max_fails=0" if self.resolver else "max_fails=0"
        # The workers share the addresses of a name in a zone, because they are asked for again and again.
        zone = f"zone {upstream}_servers 128k; " if self.resolver else ""
        return zone + " ".join(f"server {address} {options};" for address in addresses)


def _map_statuses(texts: Mapping[int, str]) -> str:
    """The lines of a `map` from a status to a text; a status that is not named is that of a server that is away."""
    lines = [f"default {_quote(texts[HTTPStatus.SERVICE_UNAVAILABLE])};"]
    lines += [f"{status} {_quote(text)};" for status, text in texts.items()]
    return "\n        ".join(lines)


def _quote(text: str) -> str:
    """A text as nginx's configuration has it; variables in it are filled in."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def _trust(proxies: Sequence[str]) -> str:
    if not proxies:
        return ""
    lines = [f"set_real_ip_from {proxy};" for proxy in proxies]
    return " ".join([*lines, "real_ip_header X-Forwarded-For;", "real_ip_recursive on;"])
