"""Moving in and out from a terminal: a file arrives whole, however often its sending breaks, and is written whole or not."""

import gzip
import io
import json
import random
from pathlib import Path
from uuid import uuid4
from zlib import MAX_WBITS, decompress

import pytest

from shared.client import Client, ImportOptions, Unreachable, send_file
from shared.client.imports import MOST_FAILURES
from tests.client.importer import REFUSED, Importer, importing
from tests.client.server import Answer, answering
from tests.client.typed import Terminal
from tests.dashboard.stack import Stack

CONTENT = random.Random(5).randbytes(3_000_000)
"""What cannot be packed: as many bytes are sent."""


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "config")


def at(importer: Importer) -> tuple[str, ...]:
    return ("--url", importer.server.url, "--key", "k")


def unpacked(data: bytes) -> bytes:
    return decompress(data, MAX_WBITS | 16)


def test_a_file_is_imported(terminal: Terminal, tmp_path: Path) -> None:
    """It arrives packed, with what the options say of it; the answer is on stdout, what to do next on stderr."""
    file = tmp_path / "shlink.csv"
    file.write_bytes(b"a,b\n" * 100_000)
    with importing(rows_read=3, made=2, found=1, visits=9) as importer:
        done = terminal.type(
            *("import", str(file), "--format", "shlink", "--on-conflict", "keep_both", "--domain", "a.example=sho.rt"),
            *("--domain", "sho.rt", "--zone", "Europe/Berlin", "--encoding", "utf-16", "--month-first", "--fold-case"),
            *("--scheme", "https", "--slashes", "-", *at(importer)),
        )
        ((name, sent),) = importer.files.items()
    (query,) = (asked.query for asked in importer.server.asked if asked.method == "POST")

    assert (done.exit_code, done.stdout) == (
        0,
        "done: 3 rows read: 2 made, 1 found, 0 replaced, 0 refused, 9 visits\n",
    )
    assert f"tinyurl import --undo {name}" in done.stderr
    assert (unpacked(sent), len(sent) < 10_000) == (file.read_bytes(), True)
    assert query == {
        "id": [name],
        "filename": ["shlink.csv"],
        "format": ["shlink"],
        "on_conflict": ["keep_both"],
        "domain": ["a.example=sho.rt", "sho.rt"],
        "zone": ["Europe/Berlin"],
        "encoding": ["utf-16"],
        "day_first": ["false"],
        "fold_case": ["true"],
        "scheme": ["https"],
        "slashes": ["-"],
    }


def test_a_sending_that_breaks_goes_on(terminal: Terminal, tmp_path: Path) -> None:
    """Each byte arrives once, over broken connections and a service that is away meanwhile."""
    file = tmp_path / "links.csv"
    file.write_bytes(CONTENT)
    with importing() as importer:
        importer.server.breaks_after = [1_000_000, 700_000]
        done = terminal.type("import", str(file), *at(importer))
        (sent,) = importer.files.values()
    offsets = [asked.query["offset"][0] for asked in importer.server.asked if asked.method == "PATCH"]

    assert done.exit_code == 0, done.output
    assert unpacked(sent) == CONTENT
    assert len(offsets) == 2
    assert 1_000_000 <= int(offsets[0]) < int(offsets[1])


def test_a_broken_import_is_resumed_by_its_id(terminal: Terminal, tmp_path: Path) -> None:
    """The rest is sent, of a file that was packed before, too, which is sent as it is."""
    file = tmp_path / "links.csv.gz"
    file.write_bytes(gzip.compress(CONTENT))
    name = str(uuid4())
    with importing() as importer:
        importer.files[name] = file.read_bytes()[:2_000_000]
        done = terminal.type("import", str(file), "--resume", name, *at(importer))

    assert done.exit_code == 0, done.output
    assert importer.files == {name: file.read_bytes()}
    assert [asked.method for asked in importer.server.asked].count("PATCH") == 1


def test_a_service_that_stays_away_is_given_up() -> None:
    """The tries and their pauses have an end; while something arrives they begin anew."""
    pauses: list[float] = []
    with importing() as importer, Client(importer.server.url, "k") as client:
        importer.server.breaks_after = [1] * 11
        send_file(client, io.BytesIO(CONTENT), ImportOptions(), pause=pauses.append)
        importer.server.asked.clear()
        importer.server.breaks_after = [1]
        importer.away_after = 2
        tries_with_progress = len(pauses)
        with pytest.raises(Unreachable):
            send_file(client, io.BytesIO(CONTENT), ImportOptions(), pause=pauses.append)

    assert tries_with_progress > MOST_FAILURES
    assert len(pauses) - tries_with_progress == MOST_FAILURES
    assert sum(pauses[tries_with_progress:]) < 90


def test_refused_rows_are_told_and_kept(terminal: Terminal, tmp_path: Path) -> None:
    """The first ones are on stderr with what is proposed, all of them in a file; the status says that there are some."""
    file, refused = tmp_path / "a.csv", tmp_path / "refused.csv"
    file.write_bytes(b"x")
    with importing(refused=1, made=1) as importer:
        told = terminal.type("import", str(file), *at(importer))
        (name,) = importer.files
        kept = terminal.type("import", "--follow", name, "--refused", str(refused), *at(importer))

    assert (told.exit_code, kept.exit_code) == (3, 3)
    assert "tinyurl import: row 7 (docs): is a reserved word (proposed: docs-2)\n" in told.stderr
    assert refused.read_bytes() == REFUSED


def test_a_dry_run_is_done_and_undone_by_its_id(terminal: Terminal, tmp_path: Path) -> None:
    """Each step says how to take the next one, and nothing is sent again."""
    file = tmp_path / "a.csv"
    file.write_bytes(b"x")
    with importing(dry_run=True, made=1) as importer:
        tried = terminal.type("import", str(file), "--dry-run", *at(importer))
        (name,) = importer.files
        begun = terminal.type("import", "--start", name, *at(importer))
        undone = terminal.type("import", "--undo", name, *at(importer))

    assert f"tinyurl import --start {name}" in tried.stderr
    assert f"tinyurl import --undo {name}" in begun.stderr
    assert undone.stdout.startswith("undone: ")
    assert [asked.method for asked in importer.server.asked].count("POST") == 2


def test_an_import_that_fails_says_why(terminal: Terminal, tmp_path: Path) -> None:
    """The reason is on stderr, and the status is 1; a file that is not there is named before anything is sent."""
    file = tmp_path / "a.csv"
    file.write_bytes(b"x")
    with importing(state="failed", error="line 3: is cut in the middle") as importer:
        failed = terminal.type("import", str(file), *at(importer))
        missing = terminal.type("import", str(tmp_path / "none"), *at(importer))
        both = terminal.type("import", str(file), "--undo", str(uuid4()), *at(importer))

    assert (failed.exit_code, failed.stderr) == (1, "tinyurl import: line 3: is cut in the middle\n")
    assert (missing.exit_code, "No such file" in missing.stderr) == (1, True)
    assert both.exit_code == 2


def test_another_shortener_is_pulled_and_sent(terminal: Terminal, tmp_path: Path) -> None:
    """Its links come by its API with its own key, and nothing is left behind; if it fails the file stays."""
    links = {"link_1": {"shorturl": "https://old.example/a", "url": "https://www.example.com/", "clicks": "3"}}
    whole = json.dumps({"links": links, "stats": {"total_links": "1"}, "statusCode": 200}).encode()
    answers = iter([Answer(403), Answer(200, whole)])
    cache = tmp_path / "cache"
    person = Terminal(terminal.home, {"XDG_CACHE_HOME": str(cache)})
    with importing() as importer, answering(lambda asked: next(answers)) as old:
        asked_for = ("import", old.url, "--format", "yourls", "--domain", "old.example=sho.rt", *at(importer))
        refused = person.type(*asked_for, "--source-key", "secret")
        kept = [path.stat().st_mode & 0o777 for path in (cache / "tinyurl").iterdir()]
        done = person.type(*asked_for, stdin="secret\n")
        (sent,) = importer.files.values()
    (query,) = (asked.query for asked in importer.server.asked if asked.method == "POST")

    assert (refused.exit_code, "does not accept the key" in refused.stderr) == (1, True)
    assert kept == [0o600]
    assert done.exit_code == 0, done.output
    assert b"signature=secret" in old.asked[-1].body
    assert b"https://old.example/a" in unpacked(sent)
    assert (query["filename"], query["domain"], "format" in query) == ([old.url], ["old.example=sho.rt"], False)
    assert list((cache / "tinyurl").iterdir()) == []


def test_links_are_exported_in_the_form_of_the_name(stack: Stack, terminal: Terminal, tmp_path: Path) -> None:
    """CSV and NDJSON by the end of the name or an option; `-` is stdout."""
    to = ("--url", stack.url, "--key", stack.key())
    terminal.lines("links", "create", "https://www.example.com/", "--code", "py", "--tag", "a", *to)
    terminal.lines("links", "create", "https://www.example.com/", "--code", "rs", *to)
    terminal.type("export", str(tmp_path / "links.csv"), *to)
    shown = terminal.type("export", "-", "--format", "ndjson", "--tag", "a", *to)
    wrong = terminal.type("export", str(tmp_path / "links.csv"), "--raw-clicks", *to)

    assert (tmp_path / "links.csv").read_text().count("\n") == 3
    assert shown.stdout.count('"code":"py"') == shown.stdout.count("\n") == 1
    assert (wrong.exit_code, "are for the archive" in wrong.stderr) == (2, True)


def test_an_archive_has_its_name_when_it_is_whole(terminal: Terminal, tmp_path: Path) -> None:
    """What breaks off leaves the file of before and nothing else; only its owner can read one, for it has hashes."""
    file = tmp_path / "all.tar.gz"
    answers = iter([Answer(200, b"whole"), Answer(200, b"bro", missing=2), Answer(403, b"{}")])
    with answering(lambda asked: next(answers)) as server:
        to = ("--url", server.url, "--key", "k")
        done = [terminal.type("export", str(file), "--without-passwords", *to) for _ in range(3)]

    assert [each.exit_code for each in done] == [0, 1, 1]
    assert file.read_bytes() == b"whole"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["all.tar.gz"]
    assert server.asked[0].query == {"passwords": ["false"]}
