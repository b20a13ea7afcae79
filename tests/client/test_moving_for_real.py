"""Moving in with the command, over the real write service: a file goes in, is tried first, and comes out again."""

import json
from pathlib import Path

import pytest

from tests.client.server import Answer, answering
from tests.client.typed import Terminal
from tests.dashboard.stack import Stack


@pytest.fixture
def terminal(stack: Stack, tmp_path: Path) -> Terminal:
    return Terminal(tmp_path, {"TINYURL_URL": stack.url, "TINYURL_KEY": stack.key()})


def test_a_file_is_tried_imported_and_undone(stack: Stack, terminal: Terminal, tmp_path: Path) -> None:
    """Each step says how to take the next one; what is refused is told with a code that would do."""
    file = tmp_path / "links.csv"
    other = Terminal(tmp_path, {"TINYURL_URL": stack.url, "TINYURL_KEY": stack.key("bob")})
    other.lines("links", "create", "https://www.example.com/old", "--code", "abc", "--title", "Old")
    other.lines("links", "create", "https://www.example.com/docs", "--code", "abd")
    other.type("export", str(file))
    # As if it came from elsewhere, where these codes were.
    file.write_text(file.read_text().replace("abc", "old").replace("abd", "docs"))
    tried = terminal.type("import", str(file), "--dry-run")
    before = terminal.lines("links", "list", "--output", "url")
    name = tried.stderr.split()[-1]
    done = terminal.type("import", "--start", name)
    (link,) = json.loads("".join(terminal.lines("links", "list", "--output", "json")))
    undone = terminal.type("import", "--undo", name)

    assert (tried.exit_code, done.exit_code, undone.exit_code) == (3, 3, 0)
    assert tried.stdout == done.stdout == "done: 2 rows read: 1 made, 0 found, 0 replaced, 1 refused, 0 visits\n"
    assert "row 2 (" in tried.stderr
    assert "(proposed: docs-2)" in tried.stderr
    assert before == []
    assert (link["short_url"], link["url"], link["title"]) == (
        "https://sho.rt/old",
        "https://www.example.com/old",
        "Old",
    )
    assert undone.stdout.startswith("undone: ")
    assert terminal.lines("links", "list", "--output", "url") == []


def test_an_export_is_imported_by_another_owner(stack: Stack, terminal: Terminal, tmp_path: Path) -> None:
    """NDJSON as it came, with codes of another owner in use: each gets another one, and keeps its fields."""
    terminal.lines("links", "create", "https://www.example.com/", "--code", "abc", "--tag", "a", "--title", "T")
    terminal.type("export", str(tmp_path / "links.ndjson"))
    other = Terminal(tmp_path, {"TINYURL_URL": stack.url, "TINYURL_KEY": stack.key("bob")})
    done = other.type("import", str(tmp_path / "links.ndjson"), "--on-conflict", "keep_both")
    (link,) = json.loads("".join(other.lines("links", "list", "--output", "json")))

    assert "1 made" in done.stdout, done.output
    assert "1 rows come with a change, such as another code; --refused names them" in done.stderr
    assert link["code"] != "abc"
    assert (link["url"], link["tags"], link["title"], link["owner"]) == ("https://www.example.com/", ["a"], "T", "bob")


def test_an_archive_goes_out_and_in(terminal: Terminal, tmp_path: Path) -> None:
    """What is there already is found, what was deleted since stays deleted, and nothing is doubled."""
    for code in ("abc", "abd"):
        terminal.lines("links", "create", "https://www.example.com/", "--code", code)
    out = terminal.type("export", str(tmp_path / "all.tar.gz"))
    done = terminal.type("import", str(tmp_path / "all.tar.gz"))

    assert out.exit_code == 0, out.output
    assert done.exit_code == 0, done.output
    assert "0 made, 2 found" in done.stdout
    assert "--undo" not in done.stderr, "there is nothing to take back"
    assert len(terminal.lines("links", "list", "--output", "url")) == 2


def test_another_shortener_moves_in_by_its_api(terminal: Terminal, tmp_path: Path) -> None:
    """A YOURLS is asked with its own key; its link works under its code, with its title and its clicks."""
    link = {"shorturl": "https://old.example/a", "url": "https://www.example.com/", "title": "A", "clicks": "3"}
    link |= {"timestamp": "2020-01-02 03:04:05", "ip": "192.0.2.1"}
    answer = json.dumps({"links": {"link_1": link}, "stats": {"total_links": "1"}, "statusCode": 200}).encode()
    person = Terminal(terminal.home, terminal.environment | {"XDG_CACHE_HOME": str(tmp_path), "SOURCE_KEY": "secret"})
    with answering(lambda asked: Answer(200, answer)) as old:
        done = person.type("import", old.url, "--format", "yourls", "--domain", "old.example=sho.rt")
    (found,) = json.loads("".join(terminal.lines("links", "list", "--output", "json")))

    assert done.exit_code == 0, done.output
    assert (found["short_url"], found["title"], found["clicks"]) == ("https://sho.rt/a", "A", 3)
    assert found["created_at"].startswith("2020-01-02")
