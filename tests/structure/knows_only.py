"""An import contract: what a package may import of ours; everything else is forbidden.

The list of what is forbidden follows from what there is, so that a new package is forbidden until
somebody allows it. Used by `lint-imports`, see `[tool.importlinter]` in pyproject.toml.
"""

from __future__ import annotations

from grimp import ImportGraph
from importlinter.application import output
from importlinter.domain import fields
from importlinter.domain.contract import Contract, ContractCheck

Import = tuple[str, str]


class KnowsOnlyContract(Contract):
    """`source_modules` import of the root package only themselves and `allowed_modules`.

    Directly, as `mypackage.a` or anything in it; what those import is their own contract's matter.
    The root package itself, which has the version, is free.
    """

    type_name = "knows_only"

    source_modules = fields.ListField(subfield=fields.StringField())
    allowed_modules = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Return the imports of the source modules that are not allowed."""
        allowed = [str(module) for module in self.allowed_modules]  # type: ignore[attr-defined]
        broken = [
            (importer, imported)
            for source in self.source_modules  # type: ignore[attr-defined]
            for importer in sorted({source, *graph.find_descendants(source)})
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if self._is_forbidden(imported, [source, *allowed])
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def _is_forbidden(self, imported: str, allowed: list[str]) -> bool:
        root = self.session_options["root_packages"][0]
        if imported == root or not is_in(imported, root):
            return False
        return not any(is_in(imported, module) for module in allowed)

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Name each import."""
        broken: list[Import] = check.metadata["broken"]
        for importer, imported in broken:
            output.print_error(f"{importer} is not allowed to import {imported}")


def is_in(module: str, package: str) -> bool:
    """Whether a module is a package or lies in it."""
    return module == package or module.startswith(f"{package}.")
