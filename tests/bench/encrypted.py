"""nginx with TLS as production has it, before the whole path and as `return 302`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deploy.local.nginx import WHEEL, choose_binary, worker_user
from deploy.local.programs import Program, accepts_connections
from deploy.nginx.files import MAIN, NginxFiles
from tests.bench.candidates import DOMAIN, RETURN_302, TARGET, Servers, free_port
from tests.bench.path import NAME, WholePath
from tests.bench.report import say
from tests.tls import move_ports, self_signed

OLDEST_WITH_TLS = (1, 27, 4)
"""Of nginx: it brought `ssl_certificate_cache`. An older one is not measured with TLS, the wheel's is instead."""


async def start_encrypted(servers: Servers, path: WholePath) -> tuple[int, Sequence[int], WholePath]:
    """Start both.

    Returns:
        The port and the processes of `return 302`, and the path.
    """
    binary = choose_binary(str(servers.nginx_binary) if servers.nginx_binary else WHEEL)
    if binary.release < OLDEST_WITH_TLS:
        binary = choose_binary(WHEEL)
    say(f"k  with {binary}")
    certificate = servers.folder / "certificate.pem"
    certificate.write_bytes(self_signed([DOMAIN]))
    certificate.chmod(0o644)
    front, returning = servers.folder / f"front-{NAME}-tls", servers.folder / f"return-{NAME}-tls"
    ports = {80: free_port(), 443: free_port(), 8081: free_port()}
    NginxFiles(
        run=str(front),
        access_log=f"{front}.log json buffer=64k flush=1s",
        domains=[DOMAIN],
        # An address is no name for a handshake; wrk sends it all the same.
        aliases=("localhost",),
        links=["unix:/nonexistent"],
        redirect=[f"unix:{path.redirect}"],
        certificate=str(certificate),
        challenges=str(front),
        user=worker_user(),
        limits=False,
        trusted_proxies=["127.0.0.1"],
    ).write(front)
    move_ports(front / "tls.conf", ports)
    port = free_port()
    returning.mkdir()
    # The same TLS: the settings are the lines of the outermost level.
    lines = [line for line in (front / "tls.conf").read_text().splitlines() if line.startswith("ssl_")]
    lines += [f"ssl_certificate {certificate};", f"ssl_certificate_key {certificate};"]
    text = RETURN_302.format(folder=returning, port=f"{port} ssl", target=f"{TARGET}1")
    (returning / MAIN).write_text(text.replace("server {", "\n".join([*lines, "server {"]), 1))
    for folder, listens in ((front, ports[443]), (returning, port)):
        await servers.start(_program(binary.path, folder, listens))
    return port, servers.pids(returning.name), replace(path, front=front.name, port=ports[443])


def _program(binary: Path, folder: Path, port: int) -> Program:
    command = [str(binary), "-p", str(folder), "-c", str(folder / MAIN), "-e", "stderr", "-g", "daemon off;"]
    return Program(folder.name, command, is_ready=lambda: accepts_connections(port), address=port)
