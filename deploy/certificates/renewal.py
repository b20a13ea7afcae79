"""Lets certbot get a certificate for the names that lead here, checks it, and makes it the one that nginx reads.

The chain and its key go into one file, replaced in one step. nginx reads it at each handshake, so it needs no reload. A bad
certificate does not replace the one in use. A name that leads here and is refused by the authority is left out, so that it
costs no other name its certificate.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from deploy.certificates.names import domains, leading_here, names, names_of

NAME = "tinyurl"

CERTBOT_TIMEOUT_S = 300


@dataclass(frozen=True)
class CertificatePlaces:
    """The folders of certificates, which the container shares with nginx, and the port of nginx that serves challenges.

    Attributes:
        state: What certbot keeps.
        live: The certificate that nginx reads, and facts about it.
        challenges: The files that the authority fetches.
        port: Where nginx serves them.
    """

    state: Path = Path("/certificates/state")
    live: Path = Path("/certificates/live")
    challenges: Path = Path("/var/challenges")
    port: int = 80


PLACES = CertificatePlaces()


class CertificateRefused(Exception):
    """The certificate cannot be used; the message says why."""


def obtain(places: CertificatePlaces = PLACES, *, now: bool = False) -> datetime:
    """Get or renew the certificate for the names that lead here, and make it the one that nginx reads.

    Args:
        places: Where everything is.
        now: Renew it in any case.

    Returns:
        When the certificate ends.

    Raises:
        subprocess.SubprocessError: certbot failed.
        CertificateRefused: What it got cannot be used.
    """
    lineage = places.state / "config" / "live" / NAME
    held = [name for name in names() if name in names_of(lineage / "fullchain.pem")]
    leading = leading_here(names(), places.challenges, places.port)
    # A host that cannot reach its own public address finds no name. Then it asks for the domains.
    found = leading or domains()
    # A certificate keeps its names until a renewal, because a name can fail for a moment.
    wanted = [name for name in names() if name in found or name in held]
    try:
        ask_certbot(places, wanted, now=now)
    except subprocess.CalledProcessError as error:
        print(f"not all of {', '.join(wanted)}: {error}", file=sys.stderr, flush=True)
        ask_certbot(places, held or wanted, now=now, is_any_enough=True)
    issued = [name for name in names() if name in names_of(lineage / "fullchain.pem")]
    return install(lineage, issued or domains(), places.live)


def ask_certbot(places: CertificatePlaces, wanted: list[str], *, now: bool, is_any_enough: bool = False) -> None:
    """Let certbot get a certificate, or renew it if it is time (ARI, or a third of its life left).

    Args:
        places: Where everything is.
        wanted: The names that it must have.
        now: Renew it in any case.
        is_any_enough: Leave out names that the authority refuses.
    """
    email = os.environ.get("ACME_EMAIL")
    command = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--cert-name", NAME, "--key-type", "ecdsa"]
    command += ["--webroot", "--webroot-path", str(places.challenges), "--server", os.environ["ACME_DIRECTORY"]]
    command += ["--renew-with-new-domains"]
    command += ["--allow-subset-of-names"] if is_any_enough else []
    command += ["--email", email] if email else ["--register-unsafely-without-email"]
    command += ["--force-renewal"] if now else ["--keep-until-expiring"]
    for folder in ("config", "work", "logs"):
        command += [f"--{folder}-dir", str(places.state / folder)]
    for name in wanted:
        command += ["--domain", name]
    subprocess.run(command, check=True, timeout=CERTBOT_TIMEOUT_S, stdin=subprocess.DEVNULL)


def install(folder: Path, needed: list[str], live: Path = PLACES.live) -> datetime:
    """Check a certificate and make it the one that nginx reads.

    Args:
        folder: Where `fullchain.pem` and `privkey.pem` are.
        needed: The names that it must have.
        live: Where nginx reads it.

    Returns:
        When the certificate ends.

    Raises:
        CertificateRefused: It is damaged, expired or for other names, or the key belongs to another one.
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
    target = live / "live.pem"
    if not target.exists() or target.read_bytes() != pem:
        _replace(target, pem, 0o440)
        print(
            f"installed a certificate for {', '.join(needed)}, good until {certificate.not_valid_after_utc}",
            flush=True,
        )
    facts = {"not_after": certificate.not_valid_after_utc.timestamp(), "names": needed}
    _replace(live / "live.json", json.dumps(facts).encode(), 0o444)
    ends: datetime = certificate.not_valid_after_utc
    return ends


def _replace(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
