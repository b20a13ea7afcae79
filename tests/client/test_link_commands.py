"""Links, from a terminal and through pipes, over the real write service."""

import json
import re
from pathlib import Path

import pytest
import segno

from services.links.clicks.enrichment import Enricher
from shared.client.commands.instance import tell
from shared.client.commands.output import printable
from shared.client.commands.places import place_of
from tests.client.typed import Terminal
from tests.dashboard.stack import Stack
from tests.links.click_data import click

TARGET = "https://www.example.com/"


@pytest.fixture
def terminal(stack: Stack, tmp_path: Path) -> Terminal:
    return Terminal(tmp_path, {"TINYURL_URL": stack.url, "TINYURL_KEY": stack.key()})


def test_a_link_is_created_shown_edited_and_deleted(terminal: Terminal) -> None:
    """What options say is stored, any other field comes as NAME=VALUE, and an empty text takes a field away."""
    made = terminal.lines(
        *("links", "create", TARGET, "--code", "py", "--title", "T", "--tag", "a", "--tag", "b"),
        *("--expires-at", "2030-01-01T00:00:00Z", "--field", "status_code=301", "--field", "notes=n"),
    )
    link = json.loads("".join(terminal.lines("links", "show", "py", "--output", "json")))
    terminal.lines("links", "edit", made[0], f"{TARGET}new", "--title", "", "--disable", "--field", "notes=null")
    edited = json.loads("".join(terminal.lines("links", "show", "sho.rt/py", "--output", "json")))
    kept = terminal.type("links", "delete", "py")
    terminal.lines("links", "delete", "py", "--yes")

    assert made == ["https://sho.rt/py"]
    assert (link["title"], link["tags"], link["status_code"], link["notes"]) == ("T", ["a", "b"], 301, "n")
    assert link["expires_at"] == "2030-01-01T00:00:00+00:00"
    assert (edited["url"], edited["title"], edited["notes"], edited["enabled"]) == (f"{TARGET}new", None, None, False)
    assert (kept.exit_code, "--yes" in kept.stderr) == (1, True)
    assert terminal.type("links", "show", "py").exit_code == 1


def test_a_list_is_a_table_json_or_short_urls(terminal: Terminal) -> None:
    """All pages of a search come in one list, in the form that is asked for."""
    for number in range(3):
        terminal.lines("links", "create", f"{TARGET}{number}", "--code", f"c{number}", "--title", "x")
    table = terminal.lines("links", "list", "example", "--sort", "code")
    asked = ("links", "list", "--sort", "code", "--limit", "0", "--output")

    assert table[0].split() == ["SHORT", "URL", "CLICKS", "TARGET", "TITLE", "TAGS"]
    assert table[1].split() == ["https://sho.rt/c0", "0", f"{TARGET}0", "x"]
    assert terminal.lines(*asked, "url") == [f"https://sho.rt/c{number}" for number in range(3)]
    assert [link["code"] for link in json.loads("\n".join(terminal.lines(*asked, "json")))] == ["c0", "c1", "c2"]
    assert terminal.lines("links", "list", "nothing", "--output", "json") == ["[]"]


def test_a_text_does_nothing_to_a_terminal() -> None:
    """What an instance sends as a text moves no cursor and turns no line around."""
    assert printable("a\x1b[2J\u202eb\n\x9bc ä") == "a�[2J�b��c ä"


def test_a_reason_does_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What an instance or another shortener answers is a part of the line that tells of a failure."""
    tell("import", "it leads to a\x1b[2J\u202eb")

    assert capsys.readouterr().err == "tinyurl import: it leads to a�[2J�b\n"


def test_a_field_at_fault_is_named_on_stderr(terminal: Terminal) -> None:
    """Nothing is on stdout then, and the status is 1; what is typed wrongly is 2."""
    refused = terminal.type("links", "create", "javascript:alert(1)", "--code", "a b")
    typed = terminal.type("links", "create", TARGET, "--field", "status_code")

    assert (refused.exit_code, refused.stdout) == (1, "")
    assert re.findall(r"^tinyurl links create: (\w+): ", refused.stderr, re.MULTILINE) == ["code"]
    assert typed.exit_code == 2


def test_statistics_are_shown(stack: Stack, terminal: Terminal, enricher: Enricher) -> None:
    """Totals, days and dimensions of a link; CSV is the API's own."""
    terminal.lines("links", "create", TARGET, "--code", "py")
    stack.store_clicks([click(link_id=stack.link_id("py"))], enricher)
    shown = terminal.lines("links", "stats", "py", "--from", "2025-01-01", "--interval", "month")
    table = terminal.lines("links", "stats", "py", "--from", "2025-01-01", "--interval", "month", "--output", "csv")
    zone = terminal.type("links", "stats", "--from", "2020-01-01", "--time-zone", "Nowhere")

    assert shown[0] == "clicks 1, humans 1, bots 0, unique 1"
    assert "browser" in shown
    assert len(table) > 1
    assert zone.exit_code == 2


def test_a_pipe_gets_a_short_url_for_each_line(terminal: Terminal) -> None:
    """In the order of the lines; what is refused is told with its number, and stops nothing."""
    lines = f"\ufeff{TARGET}a\r\n\njavascript:alert(1)\n{TARGET}ä\n".encode() + b"\xff\n" + f"{TARGET}c".encode()
    done = terminal.type("shorten", "-", "--tag", "pipe", stdin=lines)
    listed = json.loads("".join(terminal.lines("links", "list", "--tag", "pipe", "--output", "json")))
    targets = {link["short_url"]: link["url"] for link in listed}

    assert done.exit_code == 3
    assert [targets[short_url] for short_url in done.stdout.split()] == [
        f"{TARGET}a",
        f"{TARGET}%C3%A4",
        f"{TARGET}c",
    ]
    assert re.findall(r"^tinyurl shorten: line (\d): ", done.stderr, re.MULTILINE) == ["3", "5"]


def test_a_line_without_an_end_fills_no_memory(terminal: Terminal) -> None:
    """What was read before it is shortened, and the command fails."""
    done = terminal.type("shorten", "-", stdin=f"{TARGET}\n".encode() + b"x" * 500_000)

    assert done.exit_code == 1
    assert "line 2 has no end" in done.stderr


def test_nothing_shortened_is_a_failure(terminal: Terminal) -> None:
    """The status tells a script that there is no short URL at all."""
    done = terminal.type("shorten", "mailto:a@example.com")

    assert (done.exit_code, done.stdout) == (1, "")


def test_a_qr_code_is_drawn(terminal: Terminal, tmp_path: Path) -> None:
    """It is the one of the short URL."""
    done = terminal.type("shorten", TARGET, "--code", "py", "--qr")
    with (tmp_path / "drawn").open("w+") as file:
        segno.make("https://sho.rt/py").terminal(file, compact=True)
        file.seek(0)
        drawn = file.read()

    assert done.exit_code == 0, done.output
    assert done.stdout == f"https://sho.rt/py\n{drawn}"


@pytest.mark.parametrize(
    ("text", "domain", "place"),
    [
        ("py", None, ("py", None)),
        ("py", "go.example", ("py", "go.example")),
        ("https://go.example/py", None, ("py", "go.example")),
        ("http://127.0.0.1:8080/a%2Fb", None, ("a/b", "127.0.0.1:8080")),
        ("go.example/a/b", None, ("a/b", "go.example")),
        ("a/b", None, ("a/b", None)),
        ("a.b/c", "go.example", ("a.b/c", "go.example")),
        ("caf%C3%A9", None, ("caf%C3%A9", None)),
    ],
)
def test_a_link_is_named_as_people_have_it(text: str, domain: str | None, place: tuple[str, str | None]) -> None:
    """A short URL as copied, its host and code, or the code alone."""
    assert place_of(text, domain) == place
