"""What nginx with TLS needs on this machine: a certificate, and ports that are free."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def self_signed(names: Sequence[str]) -> bytes:
    """A certificate (ECDSA, P-256) and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + private


def move_ports(tls: Path, ports: Mapping[int, int]) -> None:
    """Let `tls.conf` listen at 127.0.0.1 alone, at other ports than in production."""
    text = re.sub(r"\n *listen \[::\][^\n]*", "", tls.read_text())
    tls.write_text(re.sub(r"listen (\d+)", lambda match: f"listen 127.0.0.1:{ports[int(match[1])]}", text))
