"""A contract that import-linter does not have: a package imports itself, the standard library and what is named, no more."""

import sys
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class StandardLibraryContract(Contract):
    """Keeps the packages in `modules` to themselves, the standard library and the packages in `beside`."""

    type_name = "standard_library"

    modules = fields.ListField(subfield=fields.StringField())
    beside = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        foreign = {}
        beside = {*sys.stdlib_module_names, *cast("list[str]", self.beside)}
        for package in cast("list[str]", self.modules):
            for importer in sorted({package, *graph.find_descendants(package)}):
                imported = graph.find_modules_directly_imported_by(importer)
                foreign[importer] = sorted(
                    each for each in imported if not _is_in(each, package) and each.partition(".")[0] not in beside
                )
        return ContractCheck(kept=not any(foreign.values()), metadata={"foreign": foreign})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported in check.metadata["foreign"].items():
            for each in imported:
                output.print_error(f"{importer} imports {each}")


def _is_in(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")
