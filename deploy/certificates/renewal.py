"""Gets the certificate, renews it on a clock, and hands it to nginx; runs in a container of certbot's image.

The certificate chain and its key go into one file, checked first and replaced in one step; nginx reads it at a handshake,
so neither is reloaded. A certificate that is not good leaves the one in use. Metrics are on port 9100.

A name is asked for when it leads here, which is tried the way that the authority does. One that the authority refuses all
the same is left out, so that it costs no other name its certificate. It is one file, with nothing of ours beside it.
"""

import argparse
import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

STATE = Path("/certificates/state")
LIVE = Path("/certificates/live")
CHALLENGES = Path("/var/challenges")
NAME = "tinyurl"

CHECK_EVERY_S = 6 * 3600
FIRST_RETRY_S = 30
LONGEST_RETRY_S = 3600
CERTBOT_TIMEOUT_S = 300
CHALLENGE_TIMEOUT_S = 5
CHALLENGE_PORT = 80
METRICS_PORT = 9100

failures = 0


class CertificateRefused(Exception):
    """The certificate cannot be used; the message says why."""


def domains() -> list[str]:
    """The domains of the short links, the default one first."""
    default = urlsplit(os.environ["PUBLIC_BASE_URL"]).hostname or ""
    more = [name.strip().lower() for name in os.environ.get("DOMAINS", "").split(",")]
    return list(dict.fromkeys(name for name in (default, *more) if name))


def names() -> list[str]:
    """What a certificate is wanted for: the domains, and with `www.` those that are not named so. nginx takes the same."""
    found = domains()
    named = [name for name in found if re.fullmatch(r"(?!www\.)([0-9a-z-]+\.)+[0-9a-z-]*[a-z][0-9a-z-]*", name)]
    return list(dict.fromkeys([*found, *(f"www.{name}" for name in named)]))


def leading_here(wanted: Iterable[str], port: int) -> list[str]:
    """Tell which names lead to this nginx: what lies in the folder of challenges is fetched over each of them."""
    folder = CHALLENGES / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True, exist_ok=True)
    file, text = folder / f"here-{secrets.token_hex(8)}", secrets.token_hex(16)
    # Another group's nginx reads it.
    file.touch(0o644)
    file.write_text(text)
    try:
        return [
            name for name in wanted if _fetch(f"http://{name}:{port}/.well-known/acme-challenge/{file.name}") == text
        ]
    finally:
        file.unlink()


def obtain(*, now: bool = False) -> datetime:
    """Get or renew the certificate for the names that lead here, and make it the one that nginx reads.

    Returns:
        When it ends.

    Raises:
        subprocess.SubprocessError: certbot failed.
        CertificateRefused: What it got cannot be used.
    """
    lineage = STATE / "config" / "live" / NAME
    held = [name for name in names() if name in _names_of(lineage / "fullchain.pem")]
    leading = leading_here(names(), CHALLENGE_PORT)
    # A host without a way to its own public address cannot tell: the domains are asked for then.
    found = leading or domains()
    # What a certificate has stays in it until a renewal: that a name fails for a moment is no reason for another one.
    wanted = [name for name in names() if name in found or name in held]
    try:
        ask_certbot(wanted, now=now)
    except subprocess.CalledProcessError as error:
        print(f"not all of {', '.join(wanted)}: {error}", file=sys.stderr, flush=True)
        ask_certbot(held or wanted, now=now, is_any_enough=True)
    return install(lineage, [name for name in names() if name in _names_of(lineage / "fullchain.pem")] or domains())


def ask_certbot(wanted: list[str], *, now: bool, is_any_enough: bool = False) -> None:
    """Let certbot get a certificate, or renew it if it is time (ARI, or a third of its life left).

    Args:
        wanted: The names that it is for.
        now: Renew it in any case.
        is_any_enough: Take one for those names that the authority does not refuse.
    """
    email = os.environ.get("ACME_EMAIL")
    command = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--cert-name", NAME, "--key-type", "ecdsa"]
    command += ["--webroot", "--webroot-path", str(CHALLENGES), "--server", os.environ["ACME_DIRECTORY"]]
    command += ["--renew-with-new-domains"]
    command += ["--allow-subset-of-names"] if is_any_enough else []
    command += ["--email", email] if email else ["--register-unsafely-without-email"]
    command += ["--force-renewal"] if now else ["--keep-until-expiring"]
    for folder in ("config", "work", "logs"):
        command += [f"--{folder}-dir", str(STATE / folder)]
    for name in wanted:
        command += ["--domain", name]
    subprocess.run(command, check=True, timeout=CERTBOT_TIMEOUT_S, stdin=subprocess.DEVNULL)


def install(folder: Path, needed: list[str]) -> datetime:
    """Check a certificate and make it the one that nginx reads.

    Args:
        folder: With `fullchain.pem` and `privkey.pem`.
        needed: What it must be for.

    Returns:
        When it ends.

    Raises:
        CertificateRefused: It is damaged, expired, for other names, or the key is another one's.
    """
    chain, key = (folder / "fullchain.pem").read_bytes(), (folder / "privkey.pem").read_bytes()
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        private_key = load_pem_private_key(key, password=None)
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, IndexError, x509.ExtensionNotFound) as error:
        raise CertificateRefused(f"cannot be read: {error}") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != private_key.public_key().public_bytes(*form):
        raise CertificateRefused("the key belongs to another certificate")
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise CertificateRefused(f"ended at {certificate.not_valid_after_utc}")
    missing = set(needed) - set(alternatives.get_values_for_type(x509.DNSName))
    if missing:
        raise CertificateRefused(f"is not for {', '.join(sorted(missing))}")
    pem = chain.rstrip() + b"\n" + key
    target = LIVE / "live.pem"
    if not target.exists() or target.read_bytes() != pem:
        _replace(target, pem, 0o440)
        print(
            f"installed a certificate for {', '.join(needed)}, good until {certificate.not_valid_after_utc}",
            flush=True,
        )
    facts = {"not_after": certificate.not_valid_after_utc.timestamp(), "names": needed}
    _replace(LIVE / "live.json", json.dumps(facts).encode(), 0o444)
    ends: datetime = certificate.not_valid_after_utc
    return ends


def keep_for_ever() -> None:
    """Check every few hours; after a failure sooner, with growing pauses."""
    global failures  # noqa: PLW0603  # one number of a program of one file, read by the metrics
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


class Metrics(BaseHTTPRequestHandler):
    """Prometheus text about the certificate in use."""

    def do_GET(self) -> None:
        path = LIVE / "live.json"
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
        """Say nothing of a visit."""


def _fetch(url: str) -> str:
    """What is answered, without a proxy and without another place to look; empty if nothing is."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
    try:
        with opener.open(url, timeout=CHALLENGE_TIMEOUT_S) as answer:
            text: bytes = answer.read(100)
    except (OSError, ValueError, HTTPException):
        return ""
    return text.decode("ascii", "replace")


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a name that leads on does not lead here."""

    def redirect_request(self, *args: object) -> None:
        return None


def _names_of(chain: Path) -> set[str]:
    """The names of a certificate; none if there is none, or none that can be read."""
    try:
        certificate = x509.load_pem_x509_certificates(chain.read_bytes())[0]
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, IndexError, x509.ExtensionNotFound):
        return set()
    return set(alternatives.get_values_for_type(x509.DNSName))


def _replace(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Keeps the certificate of nginx; without an option, for ever.")
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
            server = ThreadingHTTPServer(("", METRICS_PORT), Metrics)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            keep_for_ever()
    except (subprocess.SubprocessError, OSError, CertificateRefused) as error:
        sys.exit(f"certificates: {error}")


if __name__ == "__main__":
    main()
