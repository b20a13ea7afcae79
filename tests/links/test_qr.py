"""QR codes: a reader finds the short URL in them, and no parameter makes them something else."""

import struct
import zlib
from xml.etree import ElementTree as ET

import httpx
import pytest
import zxingcpp

from tests.links.conftest import ClientOf, fields_at_fault

LINKS = "/api/v1/links"
URL = "https://www.example.com/"
SVG = "{http://www.w3.org/2000/svg}"


class Gray:
    """A picture as zxing-cpp takes it."""

    def __init__(self, width: int, height: int, pixels: bytes) -> None:
        self.width, self.height = width, height
        self.view = memoryview(pixels).cast("B", (height, width))


def read_png(data: bytes) -> Gray:
    """Unpack a PNG of one bit per pixel, with the filters None and Up (RFC 2083, 6), as the service draws it."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    assert (depth, colour) == (1, 0)
    packed, place = b"", 8
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            packed += data[place + 8 : place + 8 + size]
        place += 12 + size
    raw, stride = zlib.decompress(packed), (width + 7) // 8 + 1
    rows = [bytes(stride - 1)]
    for n in range(height):
        kind, *line = raw[n * stride : (n + 1) * stride]
        assert kind in (0, 2)
        rows.append(bytes((byte + above * (kind == 2)) % 256 for byte, above in zip(line, rows[-1], strict=True)))
    bits = ["".join(f"{byte:08b}" for byte in row)[:width] for row in rows[1:]]
    return Gray(width, height, bytes(255 * int(bit) for row in bits for bit in row))


async def test_png_reads_as_the_short_url(alice: httpx.AsyncClient) -> None:
    """A reader of QR codes finds the short URL, at every level of error correction, of the domain that was asked for."""
    for domain in ("sho.rt", "go.example.org"):
        await alice.post(LINKS, json={"url": URL, "code": "Code_-1", "domain": domain})
        for level in "LMQH":
            answer = await alice.get(
                f"{LINKS}/Code_-1/qr", params={"domain": domain, "format": "png", "error_correction": level, "scale": 4}
            )
            (found,) = zxingcpp.read_barcodes(read_png(answer.content).view)

            assert answer.headers["content-type"] == "image/png"
            assert found.text == f"https://{domain}/Code_-1"
            assert "LMQH".index(found.ec_level) >= "LMQH".index(level)


async def test_svg_is_the_same_picture(alice: httpx.AsyncClient) -> None:
    """The SVG is nothing but paths, as large in user units as the PNG is in pixels."""
    await alice.post(LINKS, json={"url": URL, "code": "mine"})
    for scale, border in ((1, 0), (8, 4), (40, 20)):
        params = {"scale": scale, "border": border}
        svg = await alice.get(f"{LINKS}/mine/qr", params=params)
        png = await alice.get(f"{LINKS}/mine/qr", params={**params, "format": "png"})
        root = ET.fromstring(svg.content)  # noqa: S314  # our own drawing

        assert svg.headers["content-type"] == "image/svg+xml"
        assert svg.headers["content-disposition"] == 'inline; filename="mine.svg"'
        assert {element.tag for element in root.iter()} <= {f"{SVG}svg", f"{SVG}g", f"{SVG}path"}
        assert int(root.attrib["width"]) == int(root.attrib["height"]) == read_png(png.content).width
        assert int(root.attrib["width"]) == (25 + 2 * border) * scale
        assert b"<script" not in svg.content
        assert b"href" not in svg.content


async def test_image_is_kept_by_its_etag(alice: httpx.AsyncClient) -> None:
    """The same image is not sent twice; another one has another tag; an edit of the link changes nothing."""
    await alice.post(LINKS, json={"url": URL, "code": "mine"})
    first = await alice.get(f"{LINKS}/mine/qr")
    await alice.patch(f"{LINKS}/mine", json={"url": URL + "new"})
    etag = first.headers["etag"]

    assert first.headers["cache-control"] == "private, max-age=86400"
    for value in (etag, f'"x", W/{etag}', "*"):
        again = await alice.get(f"{LINKS}/mine/qr", headers={"If-None-Match": value})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    others = [{"format": "png"}, {"scale": "9"}, {"border": "5"}, {"error_correction": "H"}]
    tags = {
        (await alice.get(f"{LINKS}/mine/qr", params=params, headers={"If-None-Match": etag})).headers["etag"]
        for params in others
    }
    assert len(tags | {etag}) == 5


@pytest.mark.parametrize(
    "query",
    ["format=gif", "format=", "scale=0", "scale=41", "scale=1.5", "scale=1e1", "scale=99999999999999999999"]
    + ["border=-1", "border=21", "error_correction=X", "error_correction=m", "domain=%00", "svgclass=x", "title=x"],
)
async def test_bad_parameter_is_named(alice: httpx.AsyncClient, query: str) -> None:
    """A parameter that is wrong or unknown is refused by its name."""
    await alice.post(LINKS, json={"url": URL, "code": "mine"})

    assert fields_at_fault(await alice.get(f"{LINKS}/mine/qr?{query}")) == {query.partition("=")[0]}


async def test_only_links_that_are_seen_are_drawn(alice: httpx.AsyncClient, client_with: ClientOf) -> None:
    """Another owner's link, a deleted one and none look alike; the scope is that of reading."""
    await alice.post(LINKS, json={"url": URL, "code": "hers"})
    bob, admin, writer = (
        await client_with("bob"),
        await client_with("r", "admin"),
        await client_with("w", "links:write"),
    )
    unknown = await bob.get(f"{LINKS}/none/qr")
    etag = (await alice.get(f"{LINKS}/hers/qr")).headers["etag"]
    others = await bob.get(f"{LINKS}/hers/qr", headers={"If-None-Match": etag})

    assert (unknown.status_code, others.status_code, others.json()) == (404, 404, unknown.json())
    assert (await admin.get(f"{LINKS}/hers/qr")).status_code == 200
    assert (await writer.get(f"{LINKS}/hers/qr")).status_code == 403
    await alice.delete(f"{LINKS}/hers")
    for code in ("hers", "%00", "a%20b"):
        assert (await alice.get(f"{LINKS}/{code}/qr")).status_code == 404
