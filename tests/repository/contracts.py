"""A contract for import-linter that it does not have: a package imports itself and Python's standard library alone."""

import sys
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class StandardLibraryContract(Contract):
    """Says which imports of the packages in `modules` are of others; `pyproject.toml` names it."""

    type_name = "standard_library"

    modules = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        foreign = {}
        for package in cast("list[str]", self.modules):
            for importer in sorted({package, *graph.find_descendants(package)}):
                imported = graph.find_modules_directly_imported_by(importer)
                foreign[importer] = sorted(each for each in imported if not _is_allowed(each, package))
        return ContractCheck(kept=not any(foreign.values()), metadata={"foreign": foreign})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported in check.metadata["foreign"].items():
            for each in imported:
                output.print_error(f"{importer} imports {each}")


def _is_allowed(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.") or module.partition(".")[0] in sys.stdlib_module_names
