"""What `docs/clients` has for other programs, used as they use it, before the whole site."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dashboard.site import DashboardSite, running_site

FOLDER = Path(__file__).parents[2] / "docs" / "clients"
PLACE, KEY = "https://go.example.com", "tu_..."
TARGET = 'https://www.example.com/?q="a\\b"&r=ü'
PARSED = "https://www.example.com/?q=%22a\\b%22&r=%C3%BC"
TIMEOUT_S = 30


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardSite]:
    with running_site(tmp_path_factory.mktemp("site"), dashboard=False) as running:
        yield running


def filled_in(name: str, site: DashboardSite, key: str) -> str:
    """A file of the folder with an address and a key in their places."""
    text = (FOLDER / name).read_text()
    assert PLACE in text
    return text.replace(PLACE, site.url).replace(KEY, key)


def send_as_sharex(uploader: dict[str, Any], target: str) -> httpx.Response:
    """Send what ShareX sends for a custom URL shortener whose body is JSON: the input is escaped for a text of JSON."""
    assert uploader["DestinationType"] == "URLShortener"
    assert uploader["Body"] == "JSON"
    return httpx.request(
        uploader["RequestMethod"],
        uploader["RequestURL"],
        headers={"Content-Type": "application/json", "User-Agent": "ShareX/17.0.0", **uploader["Headers"]},
        content=uploader["Data"].replace("{input}", json.dumps(target)[1:-1]),
    )


def found(path: str, answer: httpx.Response) -> Any:
    """What ShareX reads for `{json:NAME}`."""
    match = re.fullmatch(r"\{json:(\w+)\}", path)
    assert match is not None
    return answer.json()[match[1]]


def target_of(site: DashboardSite, short_url: str) -> str | None:
    location: str | None = httpx.get(short_url).headers.get("Location")
    return location


def test_sharex_gets_a_short_url(site: DashboardSite) -> None:
    """Any address is sent as it is, and the short URL is where the file says; an error is a sentence."""
    uploader = json.loads(filled_in("tinyurl.sxcu", site, site.key("alice")))
    made = send_as_sharex(uploader, TARGET)
    refused = send_as_sharex(uploader, "ftp://www.example.com/")
    unknown = send_as_sharex(json.loads(filled_in("tinyurl.sxcu", site, "tu_wrong")), TARGET)

    assert made.status_code == 201
    assert target_of(site, found(uploader["URL"], made)) == PARSED
    assert [len(found(uploader["ErrorMessage"], each)) > 10 for each in (refused, unknown)] == [True, True]


def test_curl_gets_a_short_url(site: DashboardSite) -> None:
    """The line of the document works when it is pasted."""
    (line,) = re.findall(r"^curl .*$", filled_in("README.md", site, site.key("alice")), re.MULTILINE)
    done = subprocess.run(shlex.split(line), capture_output=True, timeout=TIMEOUT_S, check=True)

    assert target_of(site, json.loads(done.stdout)["short_url"]) == "https://docs.python.org/3/"


def test_script_of_raycast_and_alfred_gets_a_short_url(site: DashboardSite, tmp_path: Path) -> None:
    """From an argument or the clipboard, into the clipboard; what goes wrong is told on stderr, and the key is in no list."""
    (tmp_path / "pbpaste").write_text(f"#!/bin/sh\ncat {tmp_path}/clipboard\n")
    (tmp_path / "pbcopy").write_text(f"#!/bin/sh\ncat >{tmp_path}/clipboard\n")
    (tmp_path / "clipboard").write_text("https://www.example.com/pasted\n")
    for name in ("pbpaste", "pbcopy"):
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "shorten.sh"
    script.write_text(filled_in("shorten.sh", site, site.key("alice")))

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        command = ["sh", str(script), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    pasted = run()
    copied = (tmp_path / "clipboard").read_text()
    typed, refused = run(TARGET), run("mailto:a@example.com")

    assert target_of(site, pasted.stdout.strip()) == "https://www.example.com/pasted"
    assert copied == pasted.stdout.strip()
    assert target_of(site, typed.stdout.strip()) == PARSED
    assert (refused.returncode, refused.stdout) == (1, "")
    assert 10 < len(refused.stderr) < 300
    assert "$key" not in re.sub(r"<<EOF.*?^EOF", "", script.read_text(), flags=re.DOTALL | re.MULTILINE)
