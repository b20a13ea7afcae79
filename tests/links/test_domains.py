"""Domains: what operators decide about them, who may, and what is refused."""

import asyncio
from urllib.parse import quote

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.links.domains.forms import parse_not_found
from services.links.links.targets import TargetRefused, TargetRules
from shared.domains import CODE_PLACE, FILES, LARGEST_FILE
from tests.conftest import Database
from tests.links.conftest import ClientOf

DOMAINS = "/api/v1/domains"
SHO_RT = f"{DOMAINS}/sho.rt"
FILE = f"{SHO_RT}/files"
DECIDED = {
    "root_url": "https://www.example.com/",
    "not_found_url": "https://www.example.com/missing/{code}",
    "expired_url": "https://www.example.com/ended",
    "page_title": "Example & Söhne",
    "page_colour": "#0a7d4b",
    "robots": "User-agent: *\nDisallow: /\n",
    "multi_segment": True,
}
RULES = TargetRules(own_domains=["sho.rt"], allow_private=False)


@pytest.fixture
async def root(client_with: ClientOf) -> httpx.AsyncClient:
    """A client with the scope `admin`."""
    return await client_with("root", "admin")


async def test_domain_is_read_and_edited(root: httpx.AsyncClient) -> None:
    """A domain has nothing of its own at first; what is decided comes back, what is left out stays, null takes away."""
    first = await root.get(SHO_RT)
    edited = await root.patch(SHO_RT, json=DECIDED)
    again = await root.patch(SHO_RT, json={"page_colour": "#FFFFFF", "robots": None, "root_url": ""})

    undecided = {**dict.fromkeys(DECIDED), "multi_segment": False}
    assert first.json() == {"domain": "sho.rt", **undecided, "files": [], "version": 0}
    assert (edited.status_code, edited.headers["etag"]) == (200, '"1"')
    assert edited.json() == {"domain": "sho.rt", **DECIDED, "files": [], "version": 1}
    assert again.json() == edited.json() | {"page_colour": "#ffffff", "robots": None, "root_url": None, "version": 2}
    assert (await root.get(SHO_RT)).json() == again.json()
    assert (await root.patch(SHO_RT, json={"page_colour": "#ffffff"})).json()["version"] == 2


async def test_domains_decisions_are_its_own(root: httpx.AsyncClient) -> None:
    """The decisions about one domain say nothing of another; `www.` is the same domain, in whatever case."""
    await root.patch(SHO_RT, json=DECIDED)

    assert (await root.get(f"{DOMAINS}/go.example.org")).json()["root_url"] is None
    assert (await root.get(f"{DOMAINS}/WWW.sho.rt")).json() == (await root.get(SHO_RT)).json()


@pytest.mark.parametrize("domain", ["other.example", "www.other.example", "a%00b", "sho.rt."])
async def test_domain_that_is_not_ours(root: httpx.AsyncClient, domain: str) -> None:
    """Nothing can be decided about a domain that is not in the settings; a dot at the end of a name changes nothing."""
    answers = [await root.get(f"{DOMAINS}/{domain}"), await root.patch(f"{DOMAINS}/{domain}", json=DECIDED)]

    assert {answer.status_code for answer in answers} == ({200} if domain == "sho.rt." else {404})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", SHO_RT),
        ("PATCH", SHO_RT),
        ("GET", f"{FILE}/security.txt"),
        ("PUT", f"{FILE}/security.txt"),
        ("DELETE", f"{FILE}/security.txt"),
    ],
)
async def test_only_an_admin_decides(client_with: ClientOf, method: str, path: str) -> None:
    """A key without the scope `admin` reads and changes nothing of a domain, whatever else it may."""
    tenant = await client_with("alice", "links:read", "links:write", "stats:read")

    assert (await tenant.request(method, path, json={})).status_code == 403
    assert (await tenant.request(method, path, json={}, headers={"Authorization": ""})).status_code == 401


REFUSED = [
    ("root_url", "javascript:alert(1)"),
    ("root_url", "/dashboard/"),
    ("root_url", "https://sho.rt/"),
    ("expired_url", "http://127.0.0.1/"),
    ("not_found_url", "https://{code}.example.com/"),
    ("not_found_url", "https://{code}/"),
    ("not_found_url", "https://www.example.com{code}/"),
    ("not_found_url", "https://www.example.com:{code}/"),
    ("not_found_url", "https://{code}@www.example.com/"),
    ("not_found_url", "{code}://www.example.com/"),
    ("not_found_url", "{code}"),
    ("not_found_url", "https://www.example.com/#{code}"),
    ("not_found_url", "https://www.example.com/{code}/{code}"),
    ("not_found_url", "https://www.example.com/{code}/../x"),
    ("page_colour", "red"),
    ("page_colour", "#fff; } body { background: url(//evil.example)"),
    ("page_title", "x" * 513),
    ("page_title", "\u202e"),
    ("robots", "\0"),
    ("robots", "x" * 65537),
    ("domain", "x"),
    ("version", 1),
    ("multi_segment", None),
    ("multi_segment", "yes"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
async def test_refusal_names_the_field(root: httpx.AsyncClient, name: str, value: object) -> None:
    """What no domain can have is invalid input, with the field's name; nothing is stored."""
    answer = await root.patch(SHO_RT, json={"page_title": "stays away", name: value})

    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [name])
    assert (await root.get(SHO_RT)).json()["version"] == 0


@given(
    st.text(max_size=20),
    st.text(max_size=20),
    st.text(st.characters(codec="utf-8"), min_size=1).map(lambda code: quote(code, safe="")),
)
def test_code_never_chooses_the_host(before: str, after: str, code: str) -> None:
    """Wherever `{code}` stands: the address is refused, or all codes lead to the one host that the operator wrote."""
    for text in (f"https://www.example.com{before}{{code}}{after}", f"https://{before}{{code}}{after}"):
        try:
            address = parse_not_found(text, RULES)
        except TargetRefused:
            continue
        host, place, _ = address.partition(CODE_PLACE)

        assert "/" in host.removeprefix("https://") or "?" in host.removeprefix("https://")
        assert place == CODE_PLACE
        assert RULES.parse(address.replace(CODE_PLACE, code)).split("/")[2] == host.split("/")[2]


async def test_edit_of_another_version_is_refused(root: httpx.AsyncClient) -> None:
    """`If-Match` keeps two operators apart."""
    await root.patch(SHO_RT, json=DECIDED, headers={"If-Match": '"0"'})
    answer = await root.patch(SHO_RT, json={"robots": "x"}, headers={"If-Match": '"0"'})

    assert (answer.status_code, answer.json()["detail"]) == (412, "The domain is at version 1.")


async def test_operators_at_once(root: httpx.AsyncClient) -> None:
    """Several first decisions at once are all there in the end."""
    await asyncio.gather(*(root.patch(SHO_RT, json={name: value}) for name, value in DECIDED.items()))

    assert (await root.get(SHO_RT)).json() == {"domain": "sho.rt", **DECIDED, "files": [], "version": len(DECIDED)}


@pytest.mark.parametrize("name", FILES)
async def test_file_is_stored_read_and_deleted(root: httpx.AsyncClient, name: str) -> None:
    """A file comes back byte for byte, with its media type; it is in the list until it is deleted."""
    content = '{"applinks":  {}}\n'
    stored = await root.put(f"{FILE}/{name}", content=content)
    read = await root.get(f"{FILE}/{name}")
    (listed,) = (await root.get(SHO_RT)).json()["files"]

    assert stored.status_code == 204
    assert (read.text, read.headers["content-type"]) == (content, FILES[name])
    assert (listed["name"], listed["bytes"], listed["media_type"]) == (name, len(content), FILES[name])
    assert (await root.delete(f"{FILE}/{name}")).status_code == 204
    assert (await root.delete(f"{FILE}/{name}")).status_code == 404
    assert (await root.get(f"{FILE}/{name}")).status_code == 404
    assert (await root.get(SHO_RT)).json()["files"] == []


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("acme-challenge", b"x", 422),
        ("acme-challenge%2Fx", b"x", 404),
        ("..%2Fsecurity.txt", b"x", 404),
        ("openid-configuration", b"{}", 422),
        ("assetlinks.json", b"[", 422),
        ("assetlinks.json", b"", 422),
        ("security.txt", b"\xff", 422),
        ("security.txt", b"a\0b", 422),
        ("security.txt", b"", 422),
        ("security.txt", b"x" * LARGEST_FILE, 204),
        ("security.txt", b"x" * (LARGEST_FILE + 1), 413),
    ],
)
async def test_files_that_are_refused(root: httpx.AsyncClient, name: str, content: bytes, status: int) -> None:
    """Only the known names are taken, with what they promise, up to 64 KiB; the certificates' challenges are nobody's."""
    assert (await root.put(f"{FILE}/{name}", content=content)).status_code == status


async def test_each_change_is_announced(root: httpx.AsyncClient, database: Database) -> None:
    """Each change is a row of the feed with the domain's name and no code; a refused one is none."""
    await root.patch(SHO_RT, json=DECIDED)
    await root.put(f"{FILE}/security.txt", content=b"x")
    await root.delete(f"{FILE}/security.txt")
    await root.delete(f"{FILE}/security.txt")
    await root.patch(SHO_RT, json={"page_colour": "red"})
    conn = await asyncpg.connect(database.links_url)
    changes = await conn.fetch("SELECT domain, code FROM link_changes")
    await conn.close()

    assert [tuple(change) for change in changes] == [("sho.rt", "")] * 3
