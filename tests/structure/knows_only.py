"""An import contract: what a package may import of ours; everything else is forbidden.

The list of what is forbidden follows from what there is, so that a new package is forbidden until
somebody allows it. Used by `lint-imports`, see `[tool.importlinter]` in pyproject.toml.
"""

from __future__ import annotations

import sys

from grimp import ImportGraph
from importlinter.application import output
from importlinter.domain import fields
from importlinter.domain.contract import Contract, ContractCheck

Import = tuple[str, str]


class KnowsOnlyContract(Contract):
    """`source_modules` import of the root package only themselves and `allowed_modules`.

    Directly, as `mypackage.a` or anything in it; what those import is their own contract's matter.
    The root package itself, which has the version, is free. `left_out_modules` may be in the source
    modules: they are not looked at, and may not be imported. With `standard_library_only` nothing
    of others is allowed either.
    """

    type_name = "knows_only"

    source_modules = fields.ListField(subfield=fields.StringField())
    allowed_modules = fields.ListField(subfield=fields.StringField())
    left_out_modules = fields.ListField(subfield=fields.StringField(), required=False)
    standard_library_only = fields.BooleanField(required=False, default=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Return the imports of the source modules that are not allowed."""
        allowed = [str(module) for module in self.allowed_modules]  # type: ignore[attr-defined]
        left_out = [str(module) for module in getattr(self, "left_out_modules", None) or ()]
        broken = [
            (importer, imported)
            for source in self.source_modules  # type: ignore[attr-defined]
            for importer in sorted({source, *graph.find_descendants(source)})
            if not any(is_in(importer, module) for module in left_out)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if self._is_forbidden(imported, [source, *allowed], left_out)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def _is_forbidden(self, imported: str, allowed: list[str], left_out: list[str]) -> bool:
        root = self.session_options["root_packages"][0]
        if not is_in(imported, root):
            return bool(self.standard_library_only) and imported not in sys.stdlib_module_names
        if imported == root:
            return False
        if any(is_in(imported, module) for module in left_out):
            return True
        return not any(is_in(imported, module) for module in allowed)

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Name each import."""
        broken: list[Import] = check.metadata["broken"]
        for importer, imported in broken:
            output.print_error(f"{importer} is not allowed to import {imported}")


def is_in(module: str, package: str) -> bool:
    """Whether a module is a package or lies in it."""
    return module == package or module.startswith(f"{package}.")
