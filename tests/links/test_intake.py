"""The intake of clicks over HTTP: what each answer says, and that what was taken is not taken again."""

import gzip
from uuid import UUID, uuid4

import httpx
import pytest

from services.links.clicks.pipe import LARGEST_BATCH
from shared.postgres import Connection
from tests.links.click_data import FIRST_OFFSET, check_sums, click, make_links, records
from tests.links.intake_client import URL, send


async def test_clicks_are_taken_once(intake: httpx.AsyncClient, owner: Connection) -> None:
    """A batch is stored and its end answered; sent again, or overlapping, it is answered the same and not counted again."""
    (link,) = await make_links(owner, 1)
    first, second = records([click(link)] * 3), records([click(link)] * 2)
    segment = uuid4()
    end = FIRST_OFFSET + len(first)

    answers = [await send(intake, first, segment=segment) for _ in range(2)]
    overlap = await send(intake, first + second, segment=segment)
    from_header = await send(intake, b"x" * FIRST_OFFSET + first + second, segment=segment, offset=0)

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"offset": end})] * 2
    assert (overlap.status_code, overlap.json()) == (200, {"offset": end + len(second)})
    assert (from_header.status_code, from_header.json()) == (200, {"offset": end + len(second)})
    assert await check_sums(owner) == 5


async def test_country_of_a_click_needs_no_setting(intake: httpx.AsyncClient, owner: Connection) -> None:
    """Without a database of the operator's the one of the release tells where a click came from."""
    (link,) = await make_links(owner, 1)
    await send(intake, records([click(link, address=b"193.0.6.139")]), segment=uuid4())

    assert await owner.fetchval("SELECT country FROM clicks") == "NL"


async def test_gap_is_a_conflict(intake: httpx.AsyncClient, owner: Connection) -> None:
    """A batch beyond what is known is not taken; the answer says where to go on, 16 for a new segment."""
    (link,) = await make_links(owner, 1)
    data = records([click(link)])
    segment = uuid4()

    new = await send(intake, data, segment=segment, offset=17)
    assert await owner.fetchval("SELECT count(*) FROM click_segments") == 0
    await send(intake, data, segment=segment)
    gap = await send(intake, data, segment=segment, offset=FIRST_OFFSET + len(data) + 1)

    assert (new.status_code, new.json()) == (409, {"offset": FIRST_OFFSET})
    assert (gap.status_code, gap.json()) == (409, {"offset": FIRST_OFFSET + len(data)})
    assert await check_sums(owner) == 1


@pytest.mark.parametrize("damage", ["checksum", "length", "cut"])
async def test_damage_is_set_aside(intake: httpx.AsyncClient, owner: Connection, damage: str) -> None:
    """What is readable before is taken; the rest of the batch is set aside and counted, and the segment goes on."""
    (link,) = await make_links(owner, 1)
    good, bad, lost = (records([click(link)]) for _ in range(3))
    match damage:
        case "checksum":
            batch = good + bad[:-1] + bytes([bad[-1] ^ 1]) + lost
        case "length":
            batch = good + b"\xff\xff\xff\xff" + bad[4:] + lost
        case _:
            batch = bad[:-1]
    segment = uuid4()
    end = FIRST_OFFSET + len(batch)

    answer = await send(intake, batch, segment=segment)
    again = await send(intake, batch, segment=segment)
    following = await send(intake, good, segment=segment, offset=end)

    assert (answer.status_code, answer.json()) == (422, {"offset": end})
    assert (again.status_code, again.json()) == (200, {"offset": end})
    assert following.status_code == 200
    assert await check_sums(owner) == (1 if damage == "cut" else 2)
    assert await owner.fetchval("SELECT refused FROM click_segments") == 1
    assert "links_clicks_refused_total 1.0" in (await intake.get("/metrics")).text


async def test_incomplete_end_is_left_to_the_sender(intake: httpx.AsyncClient, owner: Connection) -> None:
    """Of a batch that ends within a record the whole records are taken, and the answer points at the rest."""
    (link,) = await make_links(owner, 1)
    first, second = records([click(link)]), records([click(link)])
    segment = uuid4()

    answer = await send(intake, first + second[:-1], segment=segment)
    rest = await send(intake, second, segment=segment, offset=answer.json()["offset"])

    assert (answer.status_code, answer.json()) == (200, {"offset": FIRST_OFFSET + len(first)})
    assert rest.status_code == 200
    assert await check_sums(owner) == 2


async def test_gzip_is_bounded(intake: httpx.AsyncClient, owner: Connection) -> None:
    """A batch may come with gzip; one that is larger than 8 MiB with or without it is refused, nothing of it taken."""
    (link,) = await make_links(owner, 1)
    data = records([click(link)])
    packed = gzip.compress(data)
    gzipped = {"Content-Encoding": "gzip"}
    segment = uuid4()

    good = await send(intake, packed, gzipped, segment=segment)
    large = bytes(LARGEST_BATCH + 1)
    too_large = [
        await send(intake, body, headers, segment=uuid4())
        for body, headers in ((gzip.compress(large), gzipped), (large, {}))
    ]
    malformed = [
        (await send(intake, body, gzipped, segment=uuid4())).status_code
        for body in (data, packed[:-1], packed + b"x", packed + packed)
    ]

    assert (good.status_code, good.json()) == (200, {"offset": FIRST_OFFSET + len(data)})
    assert [answer.status_code for answer in too_large] == [413] * 2
    assert {answer.json()["detail"] for answer in too_large} == {"A batch must not be larger than 8388608 bytes."}
    assert malformed == [400] * 4
    assert await owner.fetchval("SELECT count(*) FROM click_segments") == 1


async def test_unknown_format_stays_with_the_sender(intake: httpx.AsyncClient, owner: Connection) -> None:
    """Another format of the journal, or an encoding that is not known, is 415, and nothing is noted."""
    answers = [
        await send(intake, b"x", headers, segment=uuid4())
        for headers in ({"X-Journal-Format": "2"}, {"X-Journal-Format": ""}, {"Content-Encoding": "br"})
    ]

    assert [answer.status_code for answer in answers] == [415] * 3
    assert await owner.fetchval("SELECT count(*) FROM click_segments") == 0


_SEGMENT = UUID(int=1)
_OFFSETS = ("-1", "1e3", "²", "9" * 19)


@pytest.mark.parametrize(
    "place",
    ["", "?segment=x&offset=16", f"?segment={_SEGMENT}", *(f"?segment={_SEGMENT}&offset={n}" for n in _OFFSETS)],
)
async def test_malformed_place_is_refused(intake: httpx.AsyncClient, place: str) -> None:
    """Without a segment and an offset there is nothing to take: 400, which is no answer about damage."""
    assert (await intake.post(URL + place, content=b"x")).status_code == 400
