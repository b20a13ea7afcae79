"""A client that openapi-python-client generates from the description is one that people can use."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.dashboard.site import DashboardSite

PROGRAM = """
import sys
from http import HTTPStatus

from generated.api.exports import export_links
from generated.api.keys import get_current_key, post_key
from generated.api.links import create_batch, create_link, edit_link, list_links, read_link, remove_link
from generated.api.statistics import get_link_stats, get_stats
from generated.api.tags import list_tags
from generated.client import AuthenticatedClient
from generated.models import CreateBatchBody, KeyIn, LinkIn, LinkPatch, ProblemOut

url, key = sys.argv[1:]
client = AuthenticatedClient(url, token=key)
link = create_link.sync(client=client, body=LinkIn(url="https://www.example.com/a", code="mine", enabled=False, tags=["a"]))
assert link.code == "mine" and link.enabled is False
again = create_link.sync_detailed(client=client, body=LinkIn(url="https://www.example.com/b", find_existing=True))
found = create_link.sync_detailed(client=client, body=LinkIn(url="https://www.example.com/b", find_existing=True))
assert (again.status_code, found.status_code) == (HTTPStatus.CREATED, HTTPStatus.OK)
assert found.parsed.code == again.parsed.code
edited = edit_link.sync("mine", client=client, body=LinkPatch(title="Only this"))
assert (edited.title, edited.enabled, edited.tags, edited.url) == ("Only this", False, ["a"], link.url), edited
assert edit_link.sync("mine", client=client, body=LinkPatch(title=None)).title is None
taken = create_link.sync(client=client, body=LinkIn(url="https://www.example.com/", code="mine"))
assert isinstance(taken, ProblemOut) and taken.status == 409
rows = [LinkIn(url="https://www.example.com/c"), LinkIn(url="no")]
batch = create_batch.sync(client=client, body=CreateBatchBody(links=rows))
assert (batch.created, batch.failed) == (1, 1) and batch.results[1].problem.errors[0].field == "url"
assert len(list_links.sync(client=client, limit=2).items) == 2
assert [tag.tag for tag in list_tags.sync(client=client).items] == ["a"]
assert get_link_stats.sync("mine", client=client).totals.clicks == 0
assert get_stats.sync(client=client).totals.clicks == 0
assert get_current_key.sync(client=client).owner == "local"
assert post_key.sync(client=client, body=KeyIn(owner="other")).key.startswith("tu_")
assert export_links.sync_detailed(client=client).status_code == HTTPStatus.OK
assert remove_link.sync_detailed("mine", client=client).status_code == HTTPStatus.NO_CONTENT
assert read_link.sync("mine", client=client).status == 404
print("all of it")
"""


@pytest.fixture(scope="module")
def generated(site: DashboardSite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client as the package `generated`."""
    folder = tmp_path_factory.mktemp("client")
    arguments = [
        "generate",
        "--url",
        f"{site.url}/openapi.json",
        "--output-path",
        str(folder / "generated"),
        "--meta",
        "none",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # A QR code is an image of two types, which the generator has no reader for.
    assert done.stdout.count("WARNING") <= 1, done.stdout
    return folder


def test_generated_client_does_what_it_says(site: DashboardSite, generated: Path) -> None:
    """It creates, finds, edits one field alone, lists, exports and deletes, and reads problems as they are described."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, site.url, site.stack.api_key],
        cwd=generated,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == "all of it\n", done.stderr
