"""The API client against the real write service, and against servers that misbehave."""

import socket as sockets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.client import ApiError, AsyncClient, Client, KeyRefused, LinkQuestion, Unreachable
from tests.dashboard.stack import Stack

TARGET = "https://www.example.com/"


def test_a_link_is_created_read_edited_and_deleted(stack: Stack) -> None:
    """A link keeps every field on its way through the client."""
    expires_at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    with stack.client() as client:
        made = client.create_link(
            {"url": TARGET, "code": "abc", "title": "<b>", "tags": ["x"], "expires_at": expires_at}
        )
        read = client.link("abc", "sho.rt")
        edited = client.edit_link(read, {"title": None, "enabled": False})
        client.delete_link(edited)
        with pytest.raises(ApiError) as gone:
            client.link("abc", "sho.rt")

    assert made == read
    assert (made.title, made.tags, made.expires_at) == ("<b>", ("x",), expires_at)
    assert made.name == "sho.rt/abc"
    assert (edited.title, edited.enabled, edited.version) == (None, False, 2)
    assert gone.value.status == 404


async def test_the_same_is_done_by_a_client_that_is_awaited(stack: Stack) -> None:
    """What is awaited gives the same values, and the same errors."""
    with stack.client() as client:
        made = client.create_link({"url": TARGET, "code": "abc"})
    async with AsyncClient(stack.url, stack.key()) as awaited:
        read = await awaited.link("abc")
        edited = await awaited.edit_link(read, {"title": "x"})
        with pytest.raises(ApiError) as late:
            await awaited.delete_link(read)
        await awaited.delete_link(edited)
        page = await awaited.links()

    assert made == read
    assert late.value.status == 412
    assert page.items == ()


def test_a_list_is_read_page_by_page(stack: Stack) -> None:
    """Cursors lead through all links of a filter, each once."""
    with stack.client() as client:
        for n in range(5):
            client.create_link({"url": f"{TARGET}{n}", "tags": ["odd"] if n % 2 else []})
        first = client.links(limit=3)
        second = client.links(limit=3, cursor=first.next_cursor)
        odd = client.links(LinkQuestion(tag="odd"), sort="created_at")

    assert [link.url[-1] for link in first.items + second.items] == ["4", "3", "2", "1", "0"]
    assert second.next_cursor is None
    assert [link.url[-1] for link in odd.items] == ["1", "3"]


def test_a_field_at_fault_is_named(stack: Stack) -> None:
    """Invalid input says which field is wrong and why; a code that is taken is a conflict."""
    with stack.client() as client:
        with pytest.raises(ApiError) as invalid:
            client.create_link({"url": "javascript:alert(1)", "status_code": 418})
        client.create_link({"url": TARGET, "code": "abc"})
        with pytest.raises(ApiError) as taken:
            client.create_link({"url": TARGET, "code": "abc"})

    assert invalid.value.status == 422
    assert invalid.value.errors.keys() == {"status_code"}
    assert (taken.value.status, taken.value.type) == (409, "urn:tinyurl:problem:code-taken")


def test_an_edit_of_an_older_version_is_refused(stack: Stack) -> None:
    """Two editors of one version: the second is told, and nothing of his is stored."""
    with stack.client() as client:
        made = client.create_link({"url": TARGET})
        client.edit_link(made, {"title": "first"})
        with pytest.raises(ApiError) as late:
            client.edit_link(made, {"title": "second"})
        with pytest.raises(ApiError) as late_delete:
            client.delete_link(made)
        now = client.link(made.code, made.domain)

    assert late.value.status == late_delete.value.status == 412
    assert now.title == "first"


def test_a_creation_that_is_repeated_is_done_once(stack: Stack) -> None:
    """The same repeat key gives the same link."""
    with stack.client() as client:
        first = client.create_link({"url": TARGET}, "once")
        again = client.create_link({"url": TARGET}, "once")

    assert first == again


@pytest.mark.parametrize("text", ["", "wrong", "tu_x", "schlüssel", "two\nlines", "tu_" + "0" * 12 + "_" + "0" * 43])
def test_a_wrong_key_is_refused(stack: Stack, text: str) -> None:
    """Whatever a user pastes as a key is answered as one that is not valid."""
    with Client(stack.url, text) as client, pytest.raises(KeyRefused):
        client.links()


def test_keys_are_made_listed_and_revoked(stack: Stack) -> None:
    """An admin's client makes a key that works until it is revoked; others may not."""
    with stack.client("root", "admin") as admin, stack.client("alice") as alice:
        made = admin.create_key(
            {"owner": "bob", "scopes": ["links:read"], "expires_at": datetime.now(UTC) + timedelta(1)}
        )
        with Client(stack.url, made.key) as bob:
            assert bob.links().items == ()
        admin.revoke_key(made.id)
        listed = {key.id: key for key in admin.list_keys()}
        with pytest.raises(ApiError) as refused:
            alice.list_keys()

    assert listed[made.id].revoked_at is not None
    assert listed[made.id].scopes == ("links:read",)
    assert refused.value.status == 403


@pytest.mark.filterwarnings(
    "ignore:unclosed <socket"
)  # httpcore leaves a Unix socket that found nobody to the collector
def test_a_service_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    """No socket and no listener are the same to a page: not reachable."""
    for url in (f"unix:{tmp_path}/none.sock", "http://127.0.0.1:9"):
        with Client(url, "tu_x_y", timeout_s=2) as client, pytest.raises(Unreachable):
            client.links()


def test_a_service_that_is_silent_is_given_up(socket: Path) -> None:
    """A server that takes the request and says nothing costs no more than the timeout."""
    with answering(socket, lambda peer: threading.Event().wait(2)), Client(f"unix:{socket}", "k", 0.3) as client:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            client.links()
        took = time.monotonic() - started

    assert took < 1.5


def test_an_answer_that_trickles_is_given_up(socket: Path) -> None:
    """The deadline bounds the whole answer, and not only the silence between two pieces."""

    def trickle(peer: sockets.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(40):
            peer.sendall(b"x")
            threading.Event().wait(0.05)

    with answering(socket, trickle), Client(f"unix:{socket}", "k", 0.3) as client:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            client.links()
        took = time.monotonic() - started

    assert took < 1.5


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_without_a_service_behind_it_is_unreachable(socket: Path, status: int) -> None:
    """A gateway's own page, which is no problem+json, is understood."""
    page = f"HTTP/1.1 {status} Bad\r\nContent-Length: 6\r\n\r\n<html>".encode()
    server = answering(socket, lambda peer: peer.sendall(page))
    with server, Client(f"unix:{socket}", "k") as client, pytest.raises(Unreachable) as away:
        client.links()

    assert away.value.status == status


def test_an_answer_of_another_form_is_an_error(socket: Path) -> None:
    """A 200 that is not the API's JSON is told, and not a traceback of the parser."""
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"
    server = answering(socket, lambda peer: peer.sendall(page))
    with server, Client(f"unix:{socket}", "k") as client, pytest.raises(ApiError) as unknown:
        client.links()

    assert unknown.value.title == "Answer not understood"


def test_a_closed_connection_is_tried_again_only_where_that_is_safe(socket: Path) -> None:
    """A list and a creation are asked again on a new connection; a deletion and a new key are not."""
    page = b'HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n{"items": [], "next_cursor": null}'
    requests: list[bytes] = []

    def close_first(peer: sockets.socket) -> None:
        if len(requests) % 2 == 0:
            peer.sendall(page)

    with answering(socket, close_first, requests), Client(f"unix:{socket}", "k", 2) as client:
        client.links()
        read = len(requests)
        with pytest.raises(Unreachable):
            client.revoke_key("x")
        revoked = len(requests)

    assert (read, revoked) == (2, 3)


@contextmanager
def answering(
    path: Path, answer: Callable[[sockets.socket], object], requests: list[bytes] | None = None
) -> Iterator[None]:
    """A server that reads the head of each request, hands the connection over, and closes it."""
    listener = sockets.socket(sockets.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                head = peer.recv(65536)
                if requests is not None:
                    requests.append(head)
                try:
                    answer(peer)
                except OSError:
                    continue

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(sockets.SHUT_RDWR)
        listener.close()
        thread.join(10)
