"""The import contract of our own fails for what is not allowed, and for nothing else."""

from __future__ import annotations

import grimp
import pytest
from tests.structure.knows_only import KnowsOnlyContract

OPTIONS = {"root_packages": ["shop"]}


def kept(importer: str, imported: str) -> bool:
    graph = grimp.ImportGraph()
    for module in ("shop", "shop.api", "shop.api.deep", "shop.apis", "shop.desk", "shop.desk.till"):
        graph.add_module(module)
    graph.add_module("json", is_squashed=True)
    graph.add_import(importer=importer, imported=imported)
    contract = KnowsOnlyContract(
        name="the desk knows the api",
        session_options=OPTIONS,
        contract_options={"source_modules": ["shop.desk"], "allowed_modules": ["shop.api"]},
    )
    return contract.check(graph, verbose=False).kept


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        pytest.param("shop.desk", "shop.api", id="what_is_allowed"),
        pytest.param("shop.desk.till", "shop.api.deep", id="what_lies_in_it"),
        pytest.param("shop.desk", "shop.desk.till", id="itself"),
        pytest.param("shop.desk", "json", id="other_projects"),
        pytest.param("shop.desk", "shop", id="the_version"),
        pytest.param("shop.api", "shop.apis", id="others_among_themselves"),
    ],
)
def test_kept(importer: str, imported: str) -> None:
    assert kept(importer, imported)


@pytest.mark.parametrize("importer", ["shop.desk", "shop.desk.till"])
def test_a_new_neighbour_is_forbidden_until_somebody_allows_it(importer: str) -> None:
    assert not kept(importer, "shop.apis")
