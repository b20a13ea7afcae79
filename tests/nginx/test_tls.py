"""nginx with TLS: each server has limits, pages and no address in a log, and `www.` is an alias."""

import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nginx.test_limits import locations
from tests.nginx.tls import READ_TIMEOUT_S, TlsFront, is_refused, running_tls_front
from tests.tls import self_signed

RATE = 1
DOMAINS = ("sho.rt", "go.example.org", "www.own.example")


@pytest.fixture
def front(tmp_path: Path) -> Iterator[TlsFront]:
    with running_tls_front(tmp_path, DOMAINS) as running:
        running.certificate.write_bytes(self_signed(list(DOMAINS)))
        yield running


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[TlsFront]:
    with running_tls_front(tmp_path, DOMAINS, redirect_rate=RATE, api_rate=RATE) as running:
        running.certificate.write_bytes(self_signed(list(DOMAINS)))
        yield running


def get(path: str, host: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def test_www_is_an_alias(front: TlsFront) -> None:
    """Over HTTP it leads to the domain itself, whose certificate is there; over TLS it is answered at once."""
    for host, domain in (("www.sho.rt", "sho.rt"), ("www.go.example.org", "go.example.org"), ("sho.rt", "sho.rt")):
        plain = front.send(80, get("/abc?x=1", host))
        assert plain.startswith(b"HTTP/1.1 308 ")
        assert f"\r\nLocation: https://{domain}/abc?x=1\r\n".encode() in plain
        # Nobody is behind it; what matters is that it is asked for.
        assert front.send(443, get("/abc", host), host).startswith(b"HTTP/1.1 503 ")
    assert front.send(443, get("/abc", "own.example"), "sho.rt").startswith(b"HTTP/1.1 421 ")
    assert is_refused(front, "www.www.own.example")
    assert is_refused(front, "own.example")


def test_every_server_has_pages(front: TlsFront) -> None:
    """Whatever is refused, and before which server, is our problem: also for names of others, and for plain HTTP."""
    garbage = {
        b"GET /x HTTP/9.9\r\nHost: sho.rt\r\n\r\n": 505,
        b"GET /x HTTP/1.1\r\nHost: sho.rt\r\nTransfer-Encoding: foo\r\n\r\n": 501,
        b"GET x HTTP/1.1\r\nHost: sho.rt\r\n\r\n": 400,
        b"GET /x HTTP/1.1\r\nHost: sho.rt\r\nX: " + b"x" * 33_000 + b"\r\n\r\n": 431,
        get("/x", "evil.example"): 421,
        get("/.well-known/acme-challenge/x", "sho.rt"): 404,
        get("/.well-known/acme-challenge/", "sho.rt"): 404,
    }
    for port, name in ((80, None), (443, "sho.rt"), (8081, None)):
        for request, status in garbage.items():
            if port == 8081 and status == 421:
                continue  # The host alone gets there; it has one server.
            head, _, body = front.send(port, request, name).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status), (port, request[:60], head[:60])
            assert json.loads(body)["type"].startswith("urn:tinyurl:problem:")
    plain = front.send(443, get("/x", "sho.rt"))
    assert plain.startswith(b"HTTP/1.1 400 ")
    assert b"urn:tinyurl:problem:" in plain


def test_every_location_has_a_limit(limited: TlsFront) -> None:
    """So do the way to TLS, the challenges, and the servers of names that are not ours."""
    asked = set(locations(limited.configuration))
    for host, path in asked:
        for port, name in ((80, None), (443, "sho.rt"), (8081, None)):
            keep = get(path, host).replace(b"close", b"keep-alive")
            times = 1100 if path == "/dashboard/static/" and port != 80 else 20
            answers = b""
            # nginx ends some connections at the first error.
            while b"HTTP/1.1 429 " not in answers and answers.count(b"HTTP/1.1 ") < times:
                answers += limited.send(port, keep * times + get(path, host), name)
            assert b"HTTP/1.1 429 " in answers, (port, host, path)
    assert {("nobody.example", "/"), ("sho.rt", "/.well-known/acme-challenge/"), ("sho.rt", "/api/")} <= asked


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_every_worker_goes_on_with_a_session(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A session that one worker began is taken by each of the others, and the visit needs no second full handshake."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    with running_tls_front(tmp_path, DOMAINS, workers="4") as front:
        front.certificate.write_bytes(self_signed(list(DOMAINS)))
        sessions: list[ssl.SSLSession | None] = [None]
        are_resumed = []
        for _ in range(25):
            plain = socket.create_connection(("127.0.0.1", front.ports[443]), timeout=READ_TIMEOUT_S)
            with context.wrap_socket(plain, server_hostname="sho.rt", session=sessions[-1]) as connection:
                connection.sendall(get("/robots.txt", "sho.rt"))
                while connection.recv(65536):
                    pass
                are_resumed.append(connection.session_reused)
                sessions.append(connection.session)

    assert are_resumed == [False] + 24 * [True]


def test_browsers_choose_http2(front: TlsFront) -> None:
    """A client that speaks HTTP/2 is answered in it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection(("127.0.0.1", front.ports[443]), timeout=READ_TIMEOUT_S)
    with context.wrap_socket(plain, server_hostname="sho.rt") as connection:
        assert connection.selected_alpn_protocol() == "h2"


def test_a_visitor_gets_one_ticket_and_may_send_nothing_early(front: TlsFront) -> None:
    """A second ticket would take a place in the cache; a visit before the handshake's end could be replayed."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{front.ports[443]}", "-servername", "sho.rt", "-ign_eof"]
    shown = subprocess.run(
        command, input=get("/robots.txt", "sho.rt"), capture_output=True, timeout=READ_TIMEOUT_S, check=False
    ).stdout

    assert shown.count(b"Post-Handshake New Session Ticket arrived") == 1
    assert shown.count(b"Max Early Data: 0") == 1


def test_no_log_has_an_address(front: TlsFront) -> None:
    """Handshakes that fail, for unknown names, with garbage and without a certificate, tell nothing of who it was."""
    assert is_refused(front, "evil.example")
    with contextlib.suppress(ConnectionError):
        front.send(443, b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"x" * 200)
    front.certificate.write_bytes(b"no certificate")
    front.send(443, get("/x?q77-of-a-visitor", "sho.rt"))
    for file in (front.errors, front.configuration.with_name("access.log")):
        assert "127.0.0.1" not in file.read_text()
        assert "q77-of-a-visitor" not in file.read_text()
