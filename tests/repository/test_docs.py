"""The documents stay true: what they name exists, and what exists is named where it should be."""

import ast
import builtins
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from deploy.backup import settings as backup_settings
from deploy.command.cli import app
from shared import settings as shared_settings
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DECISIONS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "decisions").glob("*.md"))
DOCUMENTS = [
    *("README.md", "deploy/README.md", "docs/clients/README.md", "shared/client/README.md"),
    *DECISIONS,
    *("PROMISES.md", "CHANGELOG.md", ".github/CONTRIBUTING.md"),
]


def all_settings() -> dict[str, object]:
    """Every setting of every service with its default."""
    members = {**vars(shared_settings), **vars(backup_settings)}.values()
    classes = [each for each in members if isinstance(each, type) and issubclass(each, Settings)]
    return {name.upper(): field.get_default() for each in classes for name, field in each.model_fields.items()}


def test_every_setting_is_in_the_example() -> None:
    """`.env.example` lists all settings, no others, and the defaults that they have."""
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if re.match(r"[A-Z_]+=", line)]
    example = dict(line.split("=", 1) for line in lines)
    settings = all_settings()

    assert set(example) == set(settings)
    for name, default in settings.items():
        if isinstance(default, str | int | bool):
            assert example[name] == str(default).lower() or example[name] == str(default)
        assert not isinstance(default, SecretStr)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_files_exist(document: str) -> None:
    """Each file or folder of this repository that a document names is there."""
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`((?:\.ci|\.github|deploy|services|shared|tests)/[\w./-]*)`", text))
    linked = set(re.findall(r"\]\(([\w./-]+)\)", text))
    missing = {
        name
        for name in named | linked
        if not (ROOT / name).exists() and not (ROOT / document).parent.joinpath(name).exists()
    }

    assert missing == set()


def test_modules_in_the_map_exist() -> None:
    """Each module that the README's map names lies in the folder of its row."""
    for folder, text in re.findall(r"^\| `(services/[\w/]+/)` \| (.*) \|$", README, re.MULTILINE):
        for name in re.findall(r"`(\w+\.py)`", text):
            assert (ROOT / folder / name).is_file()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document: str) -> None:
    """Each `tinyurl …` command in a document is one, with the options that are shown."""
    commands = set(re.findall(r"tinyurl (keys \w+|[\w-]+)((?: --[\w-]+)*)", (ROOT / document).read_text()))
    for command, options in commands:
        if command == "bench":
            shown_text = subprocess.run(
                [sys.executable, "-m", "tests.bench", "--help"],
                capture_output=True,
                text=True,
                check=True,
                cwd=ROOT,
                env={**os.environ, "COLUMNS": "200"},
            ).stdout
        else:
            shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
            assert shown.exit_code == 0, f"tinyurl {command}"
            shown_text = shown.output
        for option in options.split():
            assert option in shown_text


def test_every_decision_is_in_the_index() -> None:
    """The index of the decisions links each of them, in the order of their numbers, and no other."""
    linked = re.findall(r"\]\((\d{3}-[\w-]+\.md)\)", (ROOT / "docs" / "decisions" / "README.md").read_text())

    assert [f"docs/decisions/{name}" for name in linked] == [
        name for name in DECISIONS if not name.endswith("README.md")
    ]


def test_readme_commands_are_two_and_the_same_as_in_ci() -> None:
    """The README's way to run the tests is what CI calls."""
    assert "uv run --group dev pytest" in README
    assert re.search(r"^[^#\n]* uv run --group dev pytest\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_examples_lead_to_no_package_index() -> None:
    """What an example shortens is a page of example.com or a project's home, in documents, API and command alike."""
    index = re.compile(r"https?://[\w.]*(?:pypi\.org|npmjs\.com|crates\.io|rubygems\.org)")
    sources = [path for folder in ("deploy", "services", "shared") for path in (ROOT / folder).rglob("*.py")]
    found = [path for path in [*sources, *(ROOT / name for name in DOCUMENTS)] if index.search(path.read_text())]

    assert found == []


def test_nothing_of_one_machine_is_committed() -> None:
    """No absolute path of someone's machine and no secret-looking text is in the tracked text files."""
    suspicious = re.compile(r"/(?:root|home)/\w+/|BEGIN [A-Z ]*PRIVATE KEY|tu_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}")
    for folder in ("deploy", "services", "shared", "tests", ".github"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".conf", ".template", ".sql", ".lua", ".yml", ".yaml"):
                assert not suspicious.search(path.read_text()), path


def test_errors_that_docstrings_name_exist() -> None:
    """Each error that the docstring of a function says it raises is a class of the tree, or is imported in it."""
    known = set(vars(builtins))
    named: dict[str, str] = {}
    for path in (each for folder in ("deploy", "services", "shared") for each in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                known.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                known |= {alias.asname or alias.name for alias in node.names}
                known.add((getattr(node, "module", None) or "").split(".")[0])
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                _, _, raises = (ast.get_docstring(node) or "").partition("Raises:\n")
                for names in re.findall(r"^    ([\w., ]+):", raises, re.MULTILINE):
                    named |= {name.split(".")[0]: f"{path}: {node.name}" for name in names.split(", ")}

    assert len(named) > 40
    assert {name: place for name, place in named.items() if name not in known} == {}
