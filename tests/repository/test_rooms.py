"""The rooms stay apart: each import contract refuses what it is there for, and no folder or module becomes too full."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

BREAKS = [
    ("layers", "services.links.links.rows", "deploy.command.cli"),
    ("layers", "shared.records", "services.links.links.rows"),
    ("services", "services.redirect.answers", "services.links.links.rows"),
    ("web", "services.links.web.errors", "services.links.keys.rows"),
    ("web", "services.links.web.errors", "services.links.site"),
    ("keys", "services.links.keys.rows", "services.links.links.rows"),
    ("links", "services.links.links.checks", "services.links.clicks.rows"),
    ("links", "services.links.links.checks", "services.links.stats.intervals"),
    ("codes", "services.links.codes.stems", "services.links.links.rows"),
    ("domains", "services.links.domains.rows", "services.links.links.rows"),
    ("claims", "services.links.claims.rows", "services.links.links.rows"),
    ("clicks", "services.links.clicks.routes", "services.links.keys.authentication"),
    ("clicks", "services.links.clicks.rows", "services.links.links.rows"),
    ("packed", "services.links.packed.rows", "services.links.clicks.counts"),
    ("imported", "services.links.imported.storing", "services.links.links.rows"),
    ("stats", "services.links.stats.rows", "services.links.clicks.rows"),
    ("stats", "services.links.stats.rows", "services.links.clicks.enrichment"),
    ("stats", "services.links.stats.routes", "services.links.links.routes"),
    ("sources", "services.links.sources.drafts", "services.links.links.rows"),
    ("decisions", "services.links.decisions.routes", "services.links.links.routes"),
    ("sources", "services.links.sources.archive", "services.links.links.rows"),
    ("archive", "services.links.archive.pages", "services.links.stats.rows"),
    ("qr", "services.links.qr.routes", "services.links.links.creation"),
    ("tags", "services.links.tags.routes", "services.links.links.rows"),
    ("compat", "services.links.compat.naming", "services.links.clicks.rows"),
    ("compat", "services.links.compat.kutt.routes", "services.links.claims.rows"),
    ("foreign", "services.links.compat.kutt.forms", "services.links.compat.polr.routes"),
    ("unlocks", "services.links.unlocks.tries", "services.links.links.checks"),
    ("foundation", "services.links.site", "services.links.keys.rows"),
    ("foundation", "services.links.metrics", "services.links.clicks.pipe"),
    ("foundation", "services.links.state", "services.links.keys.authentication"),
    ("worker", "services.links.clicks.rows", "services.links.web.errors"),
    ("worker", "services.links.clicks.worker", "services.links.metrics"),
    ("parsers", "services.links.clicks.queue", "shared.bots"),
    ("parsers", "services.links.decisions.routes", "shared.visits"),
    ("parsers", "services.links.clicks.suspects", "services.links.clicks.reading"),
    ("journal", "services.redirect.journal.writer", "services.redirect.memory"),
    ("client", "shared.client.operations", "shared.api"),
    ("client", "shared.client.reading", "pydantic"),
    ("dashboard", "services.dashboard.lists.parsing", "services.dashboard.door.cookies"),
    ("dashboard", "services.dashboard.door.session", "services.dashboard.widgets.failures"),
    ("dashboard", "services.dashboard.widgets.inputs", "services.dashboard.pages.keys"),
    ("streamlit", "services.dashboard.lists.layouts", "streamlit"),
    ("streamlit", "services.dashboard.lists.columns", "pandas"),
    ("deploy", "deploy.nginx.files", "deploy.backup.files"),
    ("deploy", "deploy.local.programs", "deploy.command.smoke"),
    ("local", "deploy.backup.programs", "deploy.local.postgres"),
    ("local", "deploy.command.release", "deploy.local.programs"),
    ("host", "deploy.host.site", "httpx"),
    ("host", "deploy.host.site", "shared.postgres"),
    ("certbot", "deploy.certificates.names", "shared.settings"),
]
"""Contract, and an import that breaks it: who, and whom."""

MOST_MODULES = 15
MOST_LINES = 350

FULL_FOLDERS: set[str] = set()
LONG_MODULES: set[str] = set()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the contracts are about, once more."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "tests").mkdir()
    for name in ("deploy", "services", "shared", "tests/repository"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("vendor", "__pycache__"))
    return folder


def is_kept(tree: Path, contract: str) -> bool:
    done = subprocess.run(
        [LINT, "--contract", contract],
        cwd=tree,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Contracts: 1 kept, 0 broken." in done.stdout or "Contracts: 0 kept, 1 broken." in done.stdout, done
    return done.returncode == 0


def test_contracts_refuse_what_breaks_them(tree: Path) -> None:
    """Each contract is kept, until a module imports what it forbids."""
    for contract in {contract for contract, _, _ in BREAKS}:
        assert is_kept(tree, contract), contract
    for contract, importer, imported in BREAKS:
        path = tree / f"{importer.replace('.', '/')}.py"
        text = path.read_text()
        path.write_text(f"{text}\nimport {imported}\n")
        assert not is_kept(tree, contract), f"{importer} -> {imported}"
        path.write_text(text)


def test_every_contract_is_broken_by_the_test() -> None:
    """No contract is there that was never seen to refuse anything."""
    assert {contract["id"] for contract in CONTRACTS} == {contract for contract, _, _ in BREAKS}


def test_every_room_has_a_contract() -> None:
    """Each folder of modules in the write service says whom it imports."""
    rooms = {path.parent.name for path in (ROOT / "services" / "links").glob("*/__init__.py")}

    assert rooms <= {contract["id"] for contract in CONTRACTS}


def test_no_folder_is_too_full() -> None:
    """A folder has at most fifteen modules; one with more wants rooms."""
    folders = {path.parent for path in (ROOT / "services").rglob("*.py")}
    full = {
        folder.relative_to(ROOT).as_posix()
        for folder in folders
        if len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) > MOST_MODULES
    }

    assert full == FULL_FOLDERS


def test_no_module_is_too_long() -> None:
    """A module has at most 350 lines."""
    long = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "services").rglob("*.py")
        if len(path.read_text().splitlines()) > MOST_LINES
    }

    assert long == LONG_MODULES
