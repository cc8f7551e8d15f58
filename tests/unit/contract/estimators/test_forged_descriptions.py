"""Files whose description lies: of loaders, of names, of sizes, of what is shared."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import linear_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from trimtab.contract.estimators.arrays import check_dtype
from trimtab.contract.estimators.refused import ModelRefused, UnsafeModel
from trimtab.contract.estimators.stored import load_skops
from trimtab.contract.estimators.trusted import check, loader_of, untrusted
from trimtab.training.models import pack

RANDOM = np.random.default_rng(0)
X = np.abs(RANDOM.normal(size=(40, 4)))
Y = (X[:, 0] > 0.6).astype(int) + (X[:, 1] > 0.8)
MODEL = LogisticRegression().fit(X, Y)
Node = dict[str, Any]


def node(loader: str, name: str, **rest: Any) -> Node:
    module, _, kind = name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": kind, **rest}


def plain(value: Any) -> Node:
    return node("JsonNode", "builtins.str", content=json.dumps(value), is_json=True)


def listed(*items: Node, kind: str = "list") -> Node:
    return node(f"{kind.title()}Node", f"builtins.{kind}", content=list(items))


def objects(*values: Any) -> Node:
    shape = listed(plain(len(values)), kind="tuple")
    content = [plain(value) for value in values]
    return node("NdArrayNode", "numpy.ndarray", type="json", content=content, shape=shape)


def unpacked(model: Any) -> tuple[Node, dict[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(pack(model).body)) as packed:
        entries = {name: packed.read(name) for name in packed.namelist()}
    return json.loads(entries.pop("schema.json")), entries


def packed(schema: Node, entries: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as file:
        for name, content in ({"schema.json": json.dumps(schema).encode()} | entries).items():
            file.writestr(name, content)
    return buffer.getvalue()


def with_extra(extra: Node, **entries: bytes) -> bytes:
    """A model with one more attribute."""
    schema, others = unpacked(MODEL)
    add(schema, "extra_", extra)
    return packed(schema, others | entries)


def add(schema: Node, name: str, value: Node) -> None:
    state = schema["content"]
    state["content"][name] = value
    state["key_types"]["content"].append(node("TypeNode", "builtins.str"))


def array(content: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("loader", "name", "rest"),
    [
        (
            "ConstructorFromReduceNode",
            "numpy.power",
            {"content": listed(objects(7), objects(3), kind="tuple")},
        ),
        (
            "LossNode",
            "numpy.dtype",
            {
                "__reduce__": {"args": listed(plain("S5"), kind="tuple")},
                "content": listed(
                    *map(plain, (3, "|", None, None, None, -1000, 1, 0)), kind="tuple"
                ),
            },
        ),
        ("NdArrayNode", "sklearn.dummy.DummyClassifier", {"type": "numpy", "file": "an.npy"}),
        ("TypeNode", "sklearn.dummy.DummyClassifier", {}),
        (
            "LossNode",
            "sklearn.tree._tree.Tree",
            {"__reduce__": {"args": listed(kind="tuple")}, "content": plain(None)},
        ),
    ],
)
def test_what_is_trusted_is_made_by_its_own_loader_only(
    loader: str, name: str, rest: dict[str, Any]
) -> None:
    file = with_extra(node(loader, name, **rest), **{"an.npy": array(X)})
    with pytest.raises(UnsafeModel, match=f"a {name} is to be made by {loader}"):
        load_skops(file)


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("functools.partial", "PartialNode"),
        ("numpy.dtype", "DTypeNode"),
        ("numpy.sum", "FunctionNode"),
        ("scipy.sparse._csr.csr_array", "SparseMatrixNode"),
        ("sklearn.svm._classes.SVC", "ObjectNode"),
        ("sklearn.tree._tree.Tree", "TreeNode"),
    ],
)
def test_the_loader_is_the_one_that_skops_writes(name: str, loader: str) -> None:
    assert loader_of(name) == loader


@pytest.mark.parametrize(
    "name",
    [
        "numpy.f2py.__main__.sum",  # a program, which runs where it is imported
        "sklearn.conftest.SVC",
        "sklearn.linear_model.tests.test_ridge.Ridge",
        "sklearn.externals.conftest.Ridge",
    ],
)
def test_no_module_is_imported_that_only_a_file_names(name: str) -> None:
    module = name.rpartition(".")[0]
    code = (
        "import sys\n"
        "from trimtab.contract.estimators.trusted import untrusted\n"
        f"print(untrusted([{name!r}]), {module!r} in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[4] / "operator")},
    )
    assert said.stdout == f"[{name!r}] False\n", said.stderr


def test_functions_of_the_libraries_are_known_where_they_are_defined() -> None:
    names = ["numpy.sum", "scipy.special._ufuncs.expit", "sklearn.metrics.pairwise.rbf_kernel"]
    assert not untrusted(names)


def test_parts_that_name_each_other_are_refused() -> None:
    inner = listed(plain(1)) | {"__id__": 1}
    for place in range(60):
        inner = listed(inner, listed() | {"__id__": place + 1}) | {"__id__": place + 2}
    with pytest.raises(UnsafeModel, match="over and over"):
        load_skops(with_extra(inner))


def test_a_part_within_itself_is_refused() -> None:
    with pytest.raises(UnsafeModel, match="within itself"):
        load_skops(with_extra(listed(listed() | {"__id__": 7}) | {"__id__": 7}))


def test_one_file_is_read_once() -> None:
    schema, entries = unpacked(MODEL)
    entries["many"] = bytes(25 << 20)
    parts = [node("BytesNode", "builtins.bytes", file="many") for _ in range(3)]
    shared = copy.deepcopy(schema)
    add(schema, "extra_", listed(*parts))
    with pytest.raises(ModelRefused, match="unpacks to more than"):
        load_skops(packed(schema, entries, zipfile.ZIP_DEFLATED))
    add(shared, "extra_", listed(*(part | {"__id__": 9} for part in parts)))
    assert load_skops(packed(shared, entries, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_no_more_comes_out_than_the_directory_says(how: int) -> None:
    schema, entries = unpacked(MODEL)
    add(schema, "extra_", node("BytesNode", "builtins.bytes", file="zeros"))
    content = bytes(1 << 20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as file:
        for name, each in (entries | {"zeros": content}).items():
            file.writestr(name, each)
        file.writestr("schema.json", json.dumps(schema))
        said = file.getinfo("zeros")
        said.file_size, said.CRC = 100, zlib.crc32(content[:100])
    with pytest.raises(ModelRefused, match=r"CRC|deflate"):
        load_skops(buffer.getvalue())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", json.dumps(schema))
        file.writestr("zeros", content)
        said = file.getinfo("zeros")
        said.file_size, said.CRC = 100, zlib.crc32(content[:101])
    with pytest.raises(ModelRefused, match="more than it says"):
        load_skops(buffer.getvalue())


def test_a_packed_file_is_loaded() -> None:
    schema, entries = unpacked(MODEL)
    model = load_skops(packed(schema, entries, zipfile.ZIP_DEFLATED))
    assert (model.predict(X) == MODEL.predict(X)).all()


def test_a_sparse_matrix_is_packed_once_more() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, format=b"csr", data=np.zeros(20 << 20))
    matrix = node("SparseMatrixNode", "scipy.sparse._csr.csr_matrix", type="scipy", file="m.npz")
    with pytest.raises(ModelRefused, match="unpacks to"):
        load_skops(with_extra(matrix, **{"m.npz": buffer.getvalue()}))


@pytest.mark.parametrize("kind", [sparse.bsr_matrix, sparse.coo_matrix, sparse.dia_matrix])
def test_a_sparse_matrix_is_of_the_format_that_is_checked(kind: Any) -> None:
    form = kind(X).format
    buffer = io.BytesIO()
    sparse.save_npz(buffer, kind(X))
    matrix = node("SparseMatrixNode", "scipy.sparse._csr.csr_matrix", type="scipy", file="m.npz")
    with pytest.raises(UnsafeModel, match=f"of format {form}"):
        load_skops(with_extra(matrix, **{"m.npz": buffer.getvalue()}))


def test_items_without_a_size_are_refused() -> None:
    buffer = io.BytesIO()
    header = {"descr": "<U0", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    many = node("NdArrayNode", "numpy.ndarray", type="numpy", file="many.npy")
    with pytest.raises(UnsafeModel, match="without a size"):
        load_skops(with_extra(many, **{"many.npy": buffer.getvalue()}))


def test_a_data_type_has_no_negative_size() -> None:
    broken = np.dtype("S5")
    broken.__setstate__((3, "|", None, None, None, -1000, 1, 0))  # type: ignore[attr-defined]
    with pytest.raises(UnsafeModel, match="data type"):
        check_dtype(broken)


def refused(model: Any, says: str) -> None:
    with pytest.raises(UnsafeModel, match=says):
        check(model)


def test_what_a_partial_function_is_given_is_checked() -> None:
    broken = sparse.csr_matrix(X)
    broken.indices[0] = 10**6
    steps = make_pipeline(FunctionTransformer(np.sin), LogisticRegression()).fit(X, Y)
    model = load_skops(pack(steps).body)
    model[0].func = partial(linear_kernel, Y=broken)
    refused(model, "sparse matrix is broken")
    huge = np.array([10**30], dtype=object)
    for function in (
        partial(np.power, huge, huge),
        partial(np.power, 10**30),
        partial(np.power, 2.0, dtype=object),
    ):
        model[0].func = function
        refused(model, "more than plain numbers")
    model[0].func = partial(np.power, 2.0)
    check(model)


def test_boosted_trees_have_nodes() -> None:
    model = load_skops(pack(GradientBoostingClassifier(n_estimators=2).fit(X, Y)).body)
    model.estimators_[0, 0].tree_ = None
    refused(model, "without nodes")
    del model.estimators_[0, 0].tree_
    refused(model, "without nodes")


def test_a_kernel_gives_a_column_for_each_row_of_training() -> None:
    model = load_skops(pack(SVC(kernel=linear_kernel).fit(X, Y)).body)
    check(model)
    forged = copy.deepcopy(model)
    vars(forged)["_BaseLibSVM__Xfit"] = X[:1]
    refused(forged, "gives the shape")
    vars(forged)["_BaseLibSVM__Xfit"] = None
    refused(forged, "no rows for its kernel")


def test_a_class_keeps_its_own_lists() -> None:
    model = load_skops(pack(SVC(kernel="linear").fit(sparse.csr_matrix(X), Y)).body)
    model._sparse_kernels = ["poly", "rbf", "sigmoid", "precomputed", "linear"]
    refused(model, "hides")
