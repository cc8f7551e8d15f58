"""ONNX models over HTTP: answers, counters, and what never becomes Ready."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from tests.unit.serving.loopback import refused, served_as, serving, vector
from tests.unit.serving.stored import Stored, store, with_digest

from trimtab.contract.artifact import Baseline, Signature, Tensor
from trimtab.serving.settings import ServingSettings

Make = Callable[..., Stored]


@pytest.fixture
def as_graph(binary: Stored, tmp_path: Path) -> Make:
    """The stored logistic regression, or another graph, in place of the skops file."""

    def make(body: bytes | None = None, estimator: Any = None, **signature: Any) -> Stored:
        exported = to_onnx(estimator or binary.estimator, binary.rows[:1].astype(np.float32))
        single = binary.signature.inputs[0].model_copy(update={"datatype": "FP32"})
        changed = binary.signature.model_copy(update={"inputs": [single], **signature})
        return store(
            tmp_path / "graph",
            body if body is not None else exported.SerializeToString(),
            changed,
            binary.baseline,
            binary.rows,
            model_file="model.onnx",
            model_format="onnx",
        )

    return make


def graph_of(settings: ServingSettings, stored: Stored) -> ServingSettings:
    return served_as(settings, stored, artifact_format="onnx")


async def test_a_graph_answers_and_is_counted_as_the_estimator_is(
    settings: ServingSettings, binary: Stored, as_graph: Make
) -> None:
    rows = binary.rows[:50]
    async with serving(graph_of(settings, as_graph())) as client:
        page = (await client.front.get("/v2/models/digits")).json()
        answer = await client.infer(vector(rows, datatype="FP32"), id="a")
        double = await client.infer(vector(rows))
        old = await client.front.post(
            "/v1/models/digits:predict", json={"instances": rows.tolist()}
        )
        wrong = await client.infer(vector(np.full((1, 4), 1e300)))
        counted = await client.metrics()
    async with serving(settings) as client:
        same = await client.infer(vector(rows))
        await client.infer(vector(rows))
        await client.infer(vector(rows))
        expected = await client.metrics()
    assert page["platform"] == "onnx_trimtab"
    assert (answer.status_code, answer.json()["id"]) == (200, "a")
    named = {one["name"]: one["data"] for one in answer.json()["outputs"]}
    reference = {one["name"]: one["data"] for one in same.json()["outputs"]}
    assert named["class"] == reference["class"]
    assert named["probabilities"] == pytest.approx(reference["probabilities"], abs=1e-5)
    assert {one["name"]: one["data"] for one in double.json()["outputs"]} == named
    assert old.json()["predictions"] == reference["class"]
    assert wrong.status_code == 400
    assert "FP32" in wrong.json()["error"]
    for name in ("feature_bin_total", "predicted_total", "score_bin_total"):
        of = f"trimtab_{name}"
        assert {k: v for k, v in counted.items() if k.startswith(of)} == {
            k: v for k, v in expected.items() if k.startswith(of)
        }


async def test_a_label_alone_is_an_answer(settings: ServingSettings, as_graph: Make) -> None:
    node = [
        helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["is"]),
        helper.make_node("Cast", ["is"], ["label"], to=TensorProto.INT64),
    ]
    made = helper.make_graph(
        node,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["n"])],
        [
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        ],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    label = [Tensor(name="class", datatype="INT64")]
    stored = as_graph(model.SerializeToString(), outputs=label)
    async with serving(graph_of(settings, stored)) as client:
        answer = await client.infer(vector([[1.0, 1, 1, 1], [-1, -1, -1, -1]]))
        asked = await client.infer(vector([[1.0, 1, 1, 1]]), parameters={"probabilities": True})
    assert [one["data"] for one in answer.json()["outputs"]] == [[1, 0]]
    assert asked.status_code == 400


async def test_an_id_of_64_bits_is_exact_beside_a_double(
    settings: ServingSettings, tmp_path: Path
) -> None:
    made = helper.make_graph(
        [
            helper.make_node("Mod", ["id", "two"], ["label"]),
            helper.make_node("Neg", ["x"], ["unused"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("id", TensorProto.INT64, ["n", 1]),
            helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", 1]),
        ],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["n", 1])],
        [helper.make_tensor("two", TensorProto.INT64, [], [2])],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    signature = Signature(
        task="classification",
        inputs=[
            Tensor(name="x", datatype="FP64", watched=False),
            Tensor(name="id", datatype="INT64", watched=False),
        ],
        outputs=[Tensor(name="parity", datatype="BYTES")],
        classes=["even", "odd"],
    )
    baseline = Baseline(digest="", n=0, features=[], score_edges=[], score_counts=[0])
    stored = store(
        tmp_path,
        model.SerializeToString(),
        signature,
        with_digest(baseline),
        np.empty((0, 2)),
        model_file="model.onnx",
        model_format="onnx",
    )
    inputs = [
        {"name": "id", "datatype": "INT64", "shape": [3, 1], "data": [2**53 + 1, 2**62 + 1, 4]},
        {"name": "x", "datatype": "FP64", "shape": [3, 1], "data": [0.5, 0.5, 1e300]},
    ]
    async with serving(graph_of(settings, stored)) as client:
        answer = await client.infer(inputs)
    assert [one["data"] for one in answer.json()["outputs"]] == [["odd", "odd", "even"]]


async def test_what_is_no_graph_never_becomes_ready(
    settings: ServingSettings, as_graph: Make
) -> None:
    cut = to_onnx(LogisticRegression().fit([[0.0] * 4, [1.0] * 4], [0, 1]), np.zeros((1, 4)))
    broken = await refused(graph_of(settings, as_graph(cut.SerializeToString()[:100])))
    assert broken.reason == "GraphRefused"
    assert "onnxruntime" in str(broken)


async def test_a_signature_of_another_graph_never_becomes_ready(
    settings: ServingSettings, as_graph: Make
) -> None:
    double = Tensor(name="x", datatype="FP64", shape=[4])
    found = await refused(graph_of(settings, as_graph(inputs=[double])))
    assert (found.reason, "FP32" in str(found)) == ("GraphRefused", True)


async def test_scores_that_are_no_probabilities_never_become_ready(
    settings: ServingSettings, as_graph: Make
) -> None:
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("w", TensorProto.FLOAT, [4, 2], [1.0, 2, 3, 4, 5, 6, 7, 8])],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    found = await refused(graph_of(settings, as_graph(model.SerializeToString())))
    assert (found.reason, "Softmax" in str(found)) == ("WarmUpFailed", True)


async def test_an_image_without_the_library_says_which_one_has_it(
    settings: ServingSettings, as_graph: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = await refused(graph_of(settings, as_graph()))
    assert (found.reason, "serving-onnx" in str(found)) == ("NeedsOnnxRuntime", True)
