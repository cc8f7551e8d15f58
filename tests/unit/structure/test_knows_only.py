"""The import contract of our own fails for what is not allowed, and for nothing else."""

from __future__ import annotations

import grimp
import pytest
from tests.structure.knows_only import KnowsOnlyContract

OPTIONS = {"root_packages": ["shop"]}


def kept(importer: str, imported: str, **more: object) -> bool:
    graph = grimp.ImportGraph()
    for module in ("shop", "shop.api", "shop.api.deep", "shop.apis", "shop.desk", "shop.desk.till"):
        graph.add_module(module)
    for module in ("json", "numpy"):
        graph.add_module(module, is_squashed=True)
    graph.add_import(importer=importer, imported=imported)
    contract = KnowsOnlyContract(
        name="the desk knows the api",
        session_options=OPTIONS,
        contract_options={"source_modules": ["shop.desk"], "allowed_modules": ["shop.api"], **more},
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


def test_a_room_that_is_left_out_may_import_what_it_likes_and_is_not_imported() -> None:
    till = ["shop.desk.till"]
    assert kept("shop.desk.till", "shop.apis", left_out_modules=till)
    assert not kept("shop.desk", "shop.desk.till", left_out_modules=till)


@pytest.mark.parametrize(("imported", "is_kept"), [("json", True), ("numpy", False)])
def test_only_the_standard_library(imported: str, is_kept: bool) -> None:
    assert kept("shop.desk", imported, standard_library_only="true") == is_kept
    assert kept("shop.desk", imported)
