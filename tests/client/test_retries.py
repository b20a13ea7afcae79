"""When a request is sent again, what bounds an answer, and which addresses are none."""

import asyncio
from collections.abc import Iterator

import pytest

from shared.client import ApiError, AsyncClient, Client, LinkQuestion, Unreachable
from shared.client.sending import LARGEST_ANSWER
from tests.client.server import Answer, Asked, answering

EMPTY_PAGE = Answer(200, b'{"items": [], "next_cursor": null}')
BUSY = Answer(503, b"{}", headers={"Retry-After": "1"})
LIMITED = Answer(429, b'{"type": "urn:tinyurl:problem:rate-limited"}', headers={"Retry-After": "0"})


def in_turn(*answers: Answer | None) -> Iterator[Answer | None]:
    return iter(answers)


def test_a_creation_is_sent_again_with_its_key() -> None:
    """After a lost answer the second request has the key of the first, so that the link is made once."""
    answers = in_turn(None, Answer(422, b"{}"))
    with (
        answering(lambda asked: next(answers)) as server,
        Client(server.url, "k") as client,
        pytest.raises(ApiError) as refused,
    ):
        client.create_link({"url": "https://www.example.com/"})
    first, second = (asked.headers["idempotency-key"] for asked in server.asked)

    assert refused.value.status == 422
    assert first == second


def test_an_edit_is_sent_once_unless_it_was_turned_away() -> None:
    """Whether an edit without an answer was done is not known; one that was limited was not done."""
    answers = in_turn(LIMITED, None, EMPTY_PAGE)
    with answering(lambda asked: next(answers)) as server, Client(server.url, "k") as client:
        with pytest.raises(Unreachable):
            client.revoke_key("x")
        client.links()

    assert [asked.method for asked in server.asked] == ["DELETE", "DELETE", "GET"]


def test_a_wait_that_is_asked_for_is_kept_to_within_the_deadline() -> None:
    """`Retry-After` is waited for where the deadline allows it; else the error comes at once, with the time in it."""
    answers = in_turn(BUSY, EMPTY_PAGE, BUSY)
    with answering(lambda asked: next(answers)) as server:
        with Client(server.url, "k", timeout_s=5) as client:
            client.links()
        with Client(server.url, "k", timeout_s=0.9) as client, pytest.raises(Unreachable) as busy:
            client.links()

    assert busy.value.retry_after_s == 1
    assert len(server.asked) == 3


def test_an_answer_has_a_bound() -> None:
    """A server that sends without end fills no memory."""
    body = Answer(200, b"[" + b" " * LARGEST_ANSWER)
    with (
        answering(lambda asked: body) as server,
        Client(server.url, "k") as client,
        pytest.raises(ApiError) as too_large,
    ):
        client.links()

    assert too_large.value.title == "Answer too large"


def test_an_address_that_leads_elsewhere_is_told() -> None:
    """A key is not sent on to where a redirect leads; the error names the place."""
    moved = Answer(301, headers={"Location": "https://go.example/api/v1/links"})
    with answering(lambda asked: moved) as server, Client(server.url, "k") as client, pytest.raises(ApiError) as error:
        client.links()

    assert "https://go.example/api/v1/links" in error.value.detail
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["", "go.example", "ftp://go.example", "https://", "https://a:b@go.example", "unix:x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """A wrong address is told before anything is sent."""
    with pytest.raises(ValueError, match="like https://go"):
        Client(url, "k")


async def test_an_asynchronous_client_keeps_the_same_rules() -> None:
    """It sends a creation again with its key, bounds the answer and streams an export."""
    answers = in_turn(None, EMPTY_PAGE, Answer(200, b"[" + b" " * LARGEST_ANSWER), Answer(200, b"a,b"))

    def answer(asked: Asked) -> Answer | None:
        return next(answers)

    with answering(answer) as server:
        async with AsyncClient(server.url, "k") as client:
            page = await client.links()
            with pytest.raises(ApiError, match="more than"):
                await client.links()
            async with client.export(LinkQuestion(tag="x"), "text/csv") as parts:
                exported = b"".join([part async for part in parts])

    assert (page.items, exported) == ((), b"a,b")
    assert server.asked[-1].query == {"tag": ["x"]}


async def test_an_asynchronous_client_has_a_deadline() -> None:
    """A silent server costs no more than the time-out, and other tasks go on meanwhile."""
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stay_silent(asked: Asked) -> Answer | None:
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result(10)
        return None

    with answering(stay_silent) as server:
        async with AsyncClient(server.url, "k", timeout_s=0.2) as client:
            with pytest.raises(Unreachable):
                await client.links()
        released.set()
        await asyncio.sleep(0)
