"""Which instance and key a command takes, and where they are kept."""

from pathlib import Path

import pytest

from tests.client.server import Answer, Asked, answering
from tests.client.typed import Terminal
from tests.dashboard.stack import Stack


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "config")


def test_a_login_is_tried_and_kept_for_oneself(stack: Stack, terminal: Terminal) -> None:
    """What is kept works for the other commands, and nobody else may read it."""
    done = terminal.type("login", stack.url, stdin=f"{stack.key()}\n")

    assert (done.exit_code, done.stdout) == (0, f"alice at {stack.url}: links:read, links:write, stats:read\n")
    assert terminal.login_file.stat().st_mode & 0o777 == 0o600
    assert terminal.lines("links", "list", "--output", "url") == []


def test_a_key_that_does_not_count_is_not_kept(stack: Stack, terminal: Terminal) -> None:
    """A mistyped key is told at once, and the login of before stays."""
    terminal.type("login", stdin=f"{stack.url}\n{stack.key()}\n")
    before = terminal.login_file.read_text()
    done = terminal.type("login", stack.url, stdin="tu_wrong\n")

    assert done.exit_code == 1
    assert done.stderr.startswith("tinyurl login: the instance does not know this key")
    assert terminal.login_file.read_text() == before


def test_an_option_counts_before_the_environment_and_this_before_the_login(terminal: Terminal) -> None:
    """Each of three instances gets the key that belongs to it."""

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith("/keys/current"):
            return Answer(200, KEY)
        return Answer(200, b'{"items": [], "next_cursor": null}')

    with answering(answer) as kept, answering(answer) as exported, answering(answer) as given:
        terminal.type("login", kept.url, stdin="of-the-login\n")
        environment = Terminal(terminal.home, {"TINYURL_URL": exported.url, "TINYURL_KEY": "of-the-environment"})
        terminal.lines("links", "list", "--output", "url")
        environment.lines("links", "list", "--output", "url")
        environment.lines("links", "list", "--output", "url", "--url", given.url, "--key", "of-the-option")
        keys = [server.asked[-1].headers["authorization"] for server in (kept, exported, given)]

    assert keys == ["Bearer of-the-login", "Bearer of-the-environment", "Bearer of-the-option"]


def test_the_key_of_a_login_goes_to_no_other_instance(terminal: Terminal) -> None:
    """An instance that is named without a key gets none."""
    with answering(lambda asked: Answer(200, KEY)) as kept, answering(lambda asked: Answer(500)) as other:
        terminal.type("login", kept.url, stdin="secret\n")
        done = terminal.type("links", "list", "--url", other.url)

    assert done.exit_code == 2
    assert f"there is no key for {other.url}" in done.stderr
    assert other.asked == []


def test_a_command_without_an_instance_says_what_to_do(terminal: Terminal) -> None:
    """Nothing is asked, and the way out is named; so is an address that is none, and a file that is broken."""
    nowhere = terminal.type("links", "list")
    wrong = terminal.type("links", "list", "--url", "go.example", "--key", "k")
    terminal.login_file.parent.mkdir(parents=True)
    terminal.login_file.write_text("{")
    broken = terminal.type("links", "list")

    assert [done.exit_code for done in (nowhere, wrong, broken)] == [2, 2, 2]
    assert "Run `tinyurl login`" in nowhere.stderr
    assert "--url: the URL of an instance is like" in wrong.stderr
    assert str(terminal.login_file) in broken.stderr


KEY = (
    b'{"id": "x", "owner": "alice", "name": null, "scopes": ["links:read"], '
    b'"created_at": "2026-01-01T00:00:00Z", "expires_at": null, "revoked_at": null}'
)
