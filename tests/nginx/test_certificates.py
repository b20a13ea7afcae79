"""Certificates from a real authority (Pebble) by certbot, over the very nginx that uses them."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.certificates.names import domains, leading_here, names, names_of
from deploy.certificates.renewal import CertificatePlaces, obtain
from deploy.local.programs import Program, accepts_connections
from shared.domains import www_aliases
from tests.conftest import running
from tests.nginx.conftest import free_port
from tests.nginx.tls import TlsFront, running_tls_front
from tests.tls import self_signed

DOMAINS = ("sho.test", "go.test")
NEEDED = "CERTIFICATE_TESTS_NEEDED"
PROGRAMS = ("certbot", "pebble", "pebble-challtestsrv")

# Not beside deliveries, which have an authority and names of their own.
pytestmark = pytest.mark.xdist_group(name="network")

needs_authority = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)) and not os.environ.get(NEEDED),
    reason=f"not all of {', '.join(PROGRAMS)} are here",
)


@dataclass
class Internet:
    """The names that lead to nginx: as this host sees them, and as the authority does."""

    management: str
    here: set[str] = field(default_factory=set)

    def lead(self, *names: str, authority: bool = True) -> None:
        self.here |= set(names)
        for name in names if authority else ():
            self._tell("add-a", {"host": f"{name}.", "addresses": ["127.0.0.1"]})

    def end(self, name: str) -> None:
        self.here -= {name}
        self._tell("clear-a", {"host": f"{name}."})

    def _tell(self, what: str, body: dict[str, Any]) -> None:
        httpx.post(f"{self.management}/{what}", json=body).raise_for_status()


@dataclass
class CertificateHost:
    """nginx, the authority, and the names."""

    front: TlsFront
    internet: Internet
    places: CertificatePlaces

    def obtain(self, *, now: bool = False) -> None:
        obtain(self.places, now=now)

    def issued(self) -> set[str]:
        """The names of the certificate that nginx is to show."""
        return names_of(self.front.certificate)

    def serial(self) -> bytes:
        return self.front.certificate.read_bytes()


@pytest.fixture
def production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CertificateHost]:
    with ExitStack() as stack:
        front = stack.enter_context(running_tls_front(tmp_path / "nginx", DOMAINS))
        dns, management, acme = free_port(), free_port(), free_port()
        for name, command, port in (
            ("dns", challenge_server(dns, management), management),
            ("authority", authority(tmp_path, acme, front.ports[80], dns), acme),
        ):
            program = Program(name=name, command=command, is_ready=partial(accepts_connections, port), address=port)
            stack.enter_context(running(program, tmp_path / f"{name}.log"))
        internet = Internet(f"http://127.0.0.1:{management}")
        settings = {
            "PUBLIC_BASE_URL": "https://sho.test",
            "DOMAINS": "go.test",
            "ACME_DIRECTORY": f"https://localhost:{acme}/dir",
            "REQUESTS_CA_BUNDLE": str(tmp_path / "authority.pem"),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        places = CertificatePlaces(tmp_path / "state", front.certificate.parent, front.challenges, front.ports[80])
        monkeypatch.setattr(socket, "getaddrinfo", resolver(internet))
        yield CertificateHost(front, internet, places)


def challenge_server(dns: int, management: int) -> list[str]:
    """A name server that knows no name until it is told one."""
    nothing = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "", "-defaultIPv6", ""]
    return ["pebble-challtestsrv", "-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{management}", *nothing]


def authority(folder: Path, acme: int, http: int, dns: int) -> list[str]:
    pem = self_signed(["localhost"])
    (folder / "authority.pem").write_bytes(pem)
    settings = {
        "listenAddress": f"127.0.0.1:{acme}",
        "managementListenAddress": f"127.0.0.1:{free_port()}",
        "certificate": str(folder / "authority.pem"),
        "privateKey": str(folder / "authority.pem"),
        "httpPort": http,
        "tlsPort": 1,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    environment = ["PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0"]
    return ["env", *environment, "pebble", "-config", str(folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"]


def resolver(internet: Internet) -> Any:
    """The resolver of a host that sees these names."""
    resolve = socket.getaddrinfo

    def answer(host: str, *args: Any, **options: Any) -> Any:
        if host.endswith(".test") and host not in internet.here:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return resolve("127.0.0.1" if host.endswith(".test") else host, *args, **options)

    return answer


def test_names_are_those_of_nginx(monkeypatch: pytest.MonkeyPatch) -> None:
    """The domains and their aliases, as nginx takes them."""
    wanted = ["sho.rt", "go.example.org", "www.own.example", "both.example", "www.both.example", "xn--mller-kva.de"]
    monkeypatch.setenv("PUBLIC_BASE_URL", f"https://{wanted[0]}")
    monkeypatch.setenv("DOMAINS", ", ".join(wanted[1:]))

    assert domains() == wanted
    assert set(names()) == {*wanted, *www_aliases(wanted)}


@needs_authority
def test_names_that_lead_here(production: CertificateHost) -> None:
    """Only they are asked for; one that comes is added at once, one that is missing harms nobody."""
    production.internet.lead("sho.test", "go.test")
    production.obtain()
    assert production.issued() == {"sho.test", "go.test"}
    first = production.serial()
    production.obtain()
    assert production.serial() == first
    production.internet.lead("www.sho.test")
    production.obtain()

    assert production.issued() == {"sho.test", "go.test", "www.sho.test"}
    assert set(production.front.names("www.sho.test")) == production.issued()


@needs_authority
def test_name_that_is_gone_at_a_renewal(production: CertificateHost) -> None:
    """A `www.` that led here once stays in the certificate until the renewal, and cannot stop that."""
    production.internet.lead("sho.test", "go.test", "www.sho.test", "www.go.test")
    production.obtain()
    first = production.serial()
    production.internet.end("www.sho.test")
    production.obtain()
    assert production.serial() == first
    production.obtain(now=True)
    renewed = production.serial()
    production.obtain()

    assert production.issued() == {"sho.test", "go.test", "www.go.test"}
    assert renewed != first
    assert production.serial() == renewed


@needs_authority
def test_name_that_leads_here_for_us_alone(production: CertificateHost) -> None:
    """What the authority refuses though it leads here is left out, and no certificate is made anew for it."""
    production.internet.lead("sho.test", "go.test")
    production.internet.lead("www.go.test", authority=False)
    production.obtain()
    first = production.serial()
    production.obtain()

    assert production.issued() == {"sho.test", "go.test"}
    assert production.serial() == first


@needs_authority
def test_host_that_does_not_see_its_own_address(production: CertificateHost) -> None:
    """Where no name can be tried from the host itself, the domains are asked for."""
    production.internet.lead("sho.test", "go.test")
    production.internet.here.clear()
    production.obtain()

    assert production.issued() == {"sho.test", "go.test"}


@needs_authority
def test_nothing_leads_here(production: CertificateHost) -> None:
    """Without any name there is an error, and no certificate."""
    with pytest.raises(subprocess.CalledProcessError):
        production.obtain()
    assert not production.front.certificate.exists()


def test_name_of_another_server(tmp_path: Path) -> None:
    """A name whose server answers something else, or leads on, does not lead here."""
    with running_tls_front(tmp_path / "nginx", ["localhost"]) as front:
        assert leading_here(["localhost", "127.0.0.1"], tmp_path / "others", front.ports[80]) == []
        assert leading_here(["localhost", "127.0.0.1"], front.challenges, front.ports[80]) == ["localhost"]
        assert not list(front.challenges.rglob("here-*"))
