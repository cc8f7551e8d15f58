"""Whatever stands in a manifest of ours, it is an object or an error with a field."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trimtab.cli.offline.manifest_check import read_object

EXAMPLES = [
    yaml.safe_load(path.read_text())
    for path in sorted((Path(__file__).parents[3] / "manifests" / "examples").glob("*.yaml"))
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, the outermost left out."""
    found = [path] if path else []
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [*found, *(place for key, inner in items for place in places(inner, (*path, key)))]


@pytest.mark.parametrize("document", EXAMPLES, ids=lambda one: str(one["kind"]))
def test_our_examples_are_read_without_a_remark(document: dict[str, Any]) -> None:
    found, remarks = read_object(document)
    assert found is not None
    assert remarks == []


@given(data=st.data())
def test_anything_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(EXAMPLES)))
    places_inside = [p for p in places(document) if p[0] not in ("apiVersion", "kind")]
    place = data.draw(st.sampled_from(places_inside))
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = data.draw(JSON)
    found, remarks = read_object(document)
    assert found is not None or any(remark.severity == "error" for remark in remarks)
