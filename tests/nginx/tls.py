"""nginx as production has it, with TLS, on ports of this machine."""

import contextlib
import os
import socket as socket_module
import ssl
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from deploy.local.nginx import binary
from deploy.local.programs import Program, accepts_connections
from deploy.nginx.files import MAIN, NginxFiles
from tests.conftest import running
from tests.nginx.conftest import free_port
from tests.tls import move_ports

READ_TIMEOUT_S = 30


@dataclass(frozen=True)
class TlsFront:
    """An nginx that runs.

    Attributes:
        ports: Where it listens, by the port that it has in production.
        certificate: The file that it reads at a handshake.
        challenges: The folder for the certificate authority.
    """

    ports: dict[int, int]
    configuration: Path
    certificate: Path
    challenges: Path
    errors: Path

    def send(self, port: int, data: bytes, name: str | None = None) -> bytes:
        """Send raw bytes, over TLS if there is a name for it, and read until nginx closes."""
        with closing(self.connect(port, name)) as connection:
            connection.sendall(data)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer

    def names(self, name: str) -> list[str]:
        """The names of the certificate that is shown for one."""
        connection = self.connect(443, name)
        assert isinstance(connection, ssl.SSLSocket)
        with closing(connection):
            shown = connection.getpeercert(binary_form=True)
        assert shown is not None
        certificate = x509.load_der_x509_certificate(shown)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return found.get_values_for_type(x509.DNSName)

    def connect(self, port: int, name: str | None) -> socket_module.socket:
        plain = socket_module.create_connection(("127.0.0.1", self.ports[port]), timeout=READ_TIMEOUT_S)
        if name is None:
            return plain
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except OSError:
            plain.close()
            raise


@contextmanager
def running_tls_front(folder: Path, domains: Sequence[str], **options: object) -> Iterator[TlsFront]:
    """Run it with nobody behind it."""
    ports = {80: free_port(), 443: free_port(), 8081: free_port()}
    front = TlsFront(ports, folder / MAIN, folder / "live" / "live.pem", folder / "challenges", folder / "errors.log")
    for made in (front.certificate.parent, front.challenges):
        made.mkdir(parents=True)
    NginxFiles(
        run=str(folder),
        access_log=f"{folder}/access.log json",
        domains=domains,
        links=["unix:/nonexistent/links.sock"],
        redirect=["unix:/nonexistent/redirect.sock"],
        dashboard=["unix:/nonexistent/dashboard.sock"],
        certificate=str(front.certificate),
        challenges=str(front.challenges),
        user="root root" if os.geteuid() == 0 else "",
        **options,  # type: ignore[arg-type]
    ).write(folder)
    move_ports(folder / "tls.conf", ports)
    command = [str(binary()), "-p", str(folder), "-c", str(front.configuration), "-g", "daemon off;"]
    program = Program(
        name="nginx", command=command, is_ready=lambda: accepts_connections(ports[443]), address=ports[443]
    )
    with running(program, front.errors):
        yield front


def is_refused(front: TlsFront, name: str) -> bool:
    """Whether the handshake for a name is refused."""
    with contextlib.suppress(OSError):
        front.connect(443, name).close()
        return False
    return True
