"""Graphs as people export them, and by hand: what is fed, what is answered, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from trimtab.contract.artifact import Signature, Tensor
from trimtab.contract.onnx_graph import AnswerRefused, OnnxModel
from trimtab.contract.onnx_layout import GraphRefused
from trimtab.training.models import answer

ROWS = np.random.default_rng(0).normal(size=(60, 4))
TRUTH = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 0.5)
VECTOR = Tensor(name="x", datatype="FP32", shape=[4])
CLASSES = ["0", "1", "2"]


def classifier(
    inputs: list[Tensor], classes: list[str], outputs: list[Tensor] | None = None
) -> Signature:
    named = outputs or [Tensor(name="class", datatype="BYTES")]
    return Signature(task="classification", inputs=inputs, outputs=named, classes=classes)


def regression(inputs: list[Tensor], *outputs: str) -> Signature:
    named = [Tensor(name=name, datatype="FP32") for name in outputs]
    return Signature(task="regression", inputs=inputs, outputs=named)


def graph(
    nodes: list[Any],
    inputs: list[tuple[str, int, list[Any] | None]],
    outputs: list[tuple[str, int, list[Any] | None]],
    **weights: NDArray[Any],
) -> bytes:
    """A model of `nodes`; a shape of None is of any rank."""
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=9)
    body: bytes = model.SerializeToString()
    return body


def copying(kind: int, shape: list[Any] | None, name: str = "p") -> bytes:
    """A graph that answers with its input."""
    node = helper.make_node("Identity", ["x"], [name])
    return graph([node], [("x", kind, shape)], [(name, kind, shape)])


@pytest.mark.parametrize("zipmap", [True, False], ids=["maps", "tensor"])
@pytest.mark.parametrize("named", [False, True], ids=["numbers", "names"])
def test_an_exported_classifier_answers_as_scikit_learn_does(zipmap: bool, named: bool) -> None:
    truth = np.array(["b", "a", "c"])[TRUTH] if named else TRUTH
    model = LogisticRegression().fit(ROWS, truth)
    body = to_onnx(model, ROWS[:1].astype(np.float32), options={"zipmap": zipmap})
    classes = [str(name) for name in model.classes_]
    loaded = OnnxModel(body.SerializeToString(), classifier([VECTOR], classes))
    found: Any = loaded.answers(ROWS)
    assert loaded.has_probabilities
    np.testing.assert_allclose(found.probabilities, model.predict_proba(ROWS), atol=1e-5)
    assert [classes[place] for place in found.chosen] == [str(one) for one in model.predict(ROWS)]
    measured: Any = answer(loaded, ROWS, list(model.classes_))
    assert (measured.predicted == model.predict(ROWS)).all()
    np.testing.assert_allclose(measured.score, found.probabilities)


def test_numbers_are_places_where_classes_have_names() -> None:
    model = RandomForestClassifier(3, random_state=0).fit(ROWS, TRUTH)
    body = to_onnx(model, ROWS[:1].astype(np.float32))
    loaded = OnnxModel(body.SerializeToString(), classifier([VECTOR], ["low", "mid", "high"]))
    found: Any = loaded.answers(ROWS)
    assert (found.chosen == model.predict(ROWS)).all()
    np.testing.assert_allclose(found.probabilities, model.predict_proba(ROWS), atol=1e-5)


def test_a_pipeline_takes_named_inputs_of_several_types() -> None:
    import pandas as pd

    frame = pd.DataFrame({"size": ROWS[:, 0], "colour": np.array(["red", "blue"])[TRUTH % 2]})
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("colour", encoder, ["colour"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, TRUTH)
    body = to_onnx(model, frame.astype({"size": np.float32})[:1])
    inputs = [Tensor(name="colour", datatype="BYTES"), Tensor(name="size", datatype="FP32")]
    loaded = OnnxModel(body.SerializeToString(), classifier(inputs, CLASSES))
    rows = frame[["colour", "size"]].to_numpy(dtype=object)
    found: Any = loaded.answers(rows)
    np.testing.assert_allclose(found.probabilities, model.predict_proba(frame), atol=1e-5)


def test_scalar_inputs_make_one_matrix_for_a_graph_with_one_input() -> None:
    model = LogisticRegression().fit(ROWS, TRUTH)
    body = to_onnx(model, ROWS[:1].astype(np.float32)).SerializeToString()
    inputs = [Tensor(name=name, datatype="FP32") for name in "abc"]
    inputs.append(Tensor(name="d", datatype="INT32"))
    found: Any = OnnxModel(body, classifier(inputs, CLASSES)).answers(ROWS)
    np.testing.assert_allclose(found.probabilities, model.predict_proba(ROWS), atol=1e-5)


def test_targets_of_a_regression_are_columns() -> None:
    truth = np.c_[TRUTH, ROWS[:, 0]]
    model = LinearRegression().fit(ROWS, truth)
    body = to_onnx(model, ROWS[:1].astype(np.float32)).SerializeToString()
    loaded = OnnxModel(body, regression([VECTOR], "a", "b"))
    found: Any = loaded.answers(ROWS)
    np.testing.assert_allclose(found.values, model.predict(ROWS), atol=1e-5)
    assert found.values.shape == (60, 2)


def test_named_outputs_come_in_the_order_of_the_signature() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["down"]), helper.make_node("Abs", ["x"], ["size"])]
    shape = ["n", 1]
    body = graph(
        nodes,
        [("x", TensorProto.FLOAT, shape)],
        [("down", TensorProto.FLOAT, shape), ("size", TensorProto.FLOAT, shape)],
    )
    x = Tensor(name="x", datatype="FP32")
    found: Any = OnnxModel(body, regression([x], "size", "down")).answers(np.array([[-2.0], [3.0]]))
    assert found.values.tolist() == [[2, 2], [3, -3]]
    with pytest.raises(GraphRefused, match="name them alike"):
        OnnxModel(body, regression([x], "size", "other"))


def test_an_image_keeps_its_dimensions() -> None:
    weights = np.random.default_rng(1).normal(size=(64, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=1),
    ]
    body = graph(
        nodes,
        [("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [("p", TensorProto.FLOAT, ["n", 3])],
        w=weights,
    )
    image = Tensor(name="x", datatype="FP32", shape=[8, 8])
    rows = np.random.default_rng(2).normal(size=(5, 64))
    found: Any = OnnxModel(body, classifier([image], CLASSES)).answers(rows)
    logits = np.exp(rows @ weights)
    np.testing.assert_allclose(
        found.probabilities, logits / logits.sum(axis=1, keepdims=True), atol=1e-5
    )
    assert found.chosen is None


def test_one_column_is_the_second_of_two_classes() -> None:
    body = copying(TensorProto.FLOAT, ["n", 1])
    x = Tensor(name="x", datatype="FP32")
    loaded = OnnxModel(body, classifier([x], ["no", "yes"]))
    assert loaded.answers(np.array([[0.25], [1.0]])).probabilities == pytest.approx(
        np.array([[0.75, 0.25], [0.0, 1.0]])
    )


def test_a_graph_for_one_row_is_run_row_by_row() -> None:
    body = copying(TensorProto.FLOAT, [1, 4])
    loaded = OnnxModel(body, regression([VECTOR], *"abcd"))
    found: Any = loaded.answers(ROWS[:7]).values
    assert found == pytest.approx(ROWS[:7])


@pytest.mark.parametrize("shape", [["n"], ["n", 1], ["n", "m"], None])
def test_a_scalar_takes_the_rank_that_the_graph_wants(shape: list[Any] | None) -> None:
    x = Tensor(name="x", datatype="FP32")
    loaded = OnnxModel(copying(TensorProto.FLOAT, shape), regression([x], "v"))
    found: Any = loaded.answers(np.array([[1.0], [2.0], [3.0]])).values
    assert found.tolist() == [[1], [2], [3]]


def test_a_whole_number_of_64_bits_stays_exact_beside_others() -> None:
    nodes = [
        helper.make_node("Mod", ["id", "two"], ["label"]),
        helper.make_node("Identity", ["x"], ["unused"]),
    ]
    body = graph(
        nodes,
        [("id", TensorProto.INT64, ["n"]), ("x", TensorProto.FLOAT, ["n"])],
        [("label", TensorProto.INT64, ["n"])],
        two=np.array(2),
    )
    inputs = [Tensor(name="x", datatype="FP32"), Tensor(name="id", datatype="INT64")]
    loaded = OnnxModel(body, classifier(inputs, ["even", "odd"]))
    rows = np.array([[0.5, 2**53 + 1], [0.5, 2**62 + 3], [0.5, 4]], dtype=object)
    assert loaded.keeps_whole
    assert not loaded.has_probabilities
    found: Any = loaded.answers(rows).chosen
    assert found.tolist() == [1, 1, 0]


def test_truth_values_reach_the_graph_as_such() -> None:
    node = helper.make_node("Where", ["x", "a", "b"], ["v"])
    body = graph(
        [node],
        [("x", TensorProto.BOOL, ["n"])],
        [("v", TensorProto.FLOAT, ["n"])],
        a=np.array(5, np.float32),
        b=np.array(7, np.float32),
    )
    x = Tensor(name="x", datatype="BOOL")
    found: Any = OnnxModel(body, regression([x], "v")).answers(np.array([[1.0], [0.0]])).values
    assert found.tolist() == [[5], [7]]


FLOAT_2 = copying(TensorProto.FLOAT, ["n", 2])


@pytest.mark.parametrize(
    ("body", "signature", "said"),
    [
        pytest.param(b"", classifier([VECTOR], CLASSES), "onnxruntime", id="empty"),
        pytest.param(b"\x08\x09not a graph", classifier([VECTOR], CLASSES), "rotobuf", id="noise"),
        pytest.param(
            graph(
                [helper.make_node("Gelu2", ["x"], ["p"], domain="com.example")],
                [("x", TensorProto.FLOAT, ["n", 4])],
                [("p", TensorProto.FLOAT, ["n", 3])],
            ),
            classifier([VECTOR], CLASSES),
            "Gelu2|com.example",
            id="foreign_operator",
        ),
        pytest.param(
            copying(TensorProto.FLOAT, [16, 4]),
            classifier([VECTOR], CLASSES),
            "16 rows at a time",
            id="fixed_batch",
        ),
        pytest.param(
            copying(TensorProto.FLOAT, ["n", 5]),
            classifier([VECTOR], CLASSES),
            r"\['rows', 5\], the signature says \['rows', 4\]",
            id="width",
        ),
        pytest.param(
            copying(TensorProto.FLOAT, ["n", 4]),
            classifier([VECTOR.model_copy(update={"datatype": "FP64"})], CLASSES),
            "x FP64; FP32 or INT32",
            id="narrowing",
        ),
        pytest.param(
            copying(TensorProto.UINT8, ["n", 4]),
            classifier([VECTOR], CLASSES),
            "begin the graph with a Cast",
            id="unknown_type",
        ),
        pytest.param(
            copying(TensorProto.INT64, ["n", 4]),
            classifier(
                [Tensor(name="x", datatype="INT64", shape=[4], missing_allowed=True)], CLASSES
            ),
            "cannot say so",
            id="missing",
        ),
        pytest.param(
            graph(
                [helper.make_node("Add", ["a", "b"], ["p"])],
                [("a", TensorProto.FLOAT, ["n", 2]), ("b", TensorProto.FLOAT, ["n", 2])],
                [("p", TensorProto.FLOAT, ["n", 2])],
            ),
            classifier([VECTOR], CLASSES),
            r"takes \['a', 'b'\], the signature says \['x'\]",
            id="names",
        ),
        pytest.param(
            copying(TensorProto.BOOL, ["n", 4]),
            classifier([VECTOR.model_copy(update={"datatype": "BOOL"})], CLASSES),
            "a classifier gives a label or probabilities",
            id="no_answer",
        ),
        pytest.param(
            graph(
                [helper.make_node("Neg", ["x"], ["u"]), helper.make_node("Abs", ["x"], ["v"])],
                [("x", TensorProto.FLOAT, ["n", 4])],
                [("u", TensorProto.FLOAT, ["n", 4]), ("v", TensorProto.FLOAT, ["n", 4])],
            ),
            classifier([VECTOR], CLASSES),
            "could all be the probabilities",
            id="ambiguous",
        ),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(body: bytes, signature: Signature, said: str) -> None:
    with pytest.raises(GraphRefused, match=said):
        OnnxModel(body, signature)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([2.0, -1.0], "end the graph with a Softmax"),
        ([0.5, 0.4], "end the graph with a Softmax"),
        ([np.nan, 1.0], "end the graph with a Softmax"),
    ],
)
def test_scores_that_are_no_probabilities_are_no_answer(row: list[float], said: str) -> None:
    pair = Tensor(name="x", datatype="FP32", shape=[2])
    loaded = OnnxModel(FLOAT_2, classifier([pair], ["a", "b"]))
    assert loaded.answers(np.array([[0.5, 0.5]])).probabilities is not None
    with pytest.raises(AnswerRefused, match=said):
        loaded.answers(np.array([[0.5, 0.5], row]))


def test_a_number_of_columns_or_a_label_that_is_not_the_signatures_is_no_answer() -> None:
    pair = Tensor(name="x", datatype="FP32", shape=[2])
    with pytest.raises(AnswerRefused, match="2 columns for 3 classes"):
        OnnxModel(FLOAT_2, classifier([pair], CLASSES)).answers(np.array([[0.5, 0.5]]))
    x = Tensor(name="x", datatype="INT64")
    labels = OnnxModel(copying(TensorProto.INT64, ["n"]), classifier([x], ["2", "1"]))
    found: Any = labels.answers(np.array([[1], [2]])).chosen
    assert found.tolist() == [1, 0]
    with pytest.raises(AnswerRefused, match="'0' is no class"):
        labels.answers(np.array([[0]]))


def test_weights_beside_the_graph_are_read_and_nothing_outside_of_its_folder(
    tmp_path: Path,
) -> None:
    (tmp_path / "secret").write_bytes(np.array([1, 2], np.float32).tobytes())
    inside = tmp_path / "artifact"
    inside.mkdir()
    (inside / "weights").write_bytes(np.array([1, 2], np.float32).tobytes())
    pair = Tensor(name="x", datatype="FP32", shape=[2])
    for location, is_allowed in (("weights", True), ("../secret", False)):
        body = graph(
            [helper.make_node("Add", ["x", "w"], ["v"])],
            [("x", TensorProto.FLOAT, ["n", 2])],
            [("v", TensorProto.FLOAT, ["n", 2])],
            w=np.array([1, 2], np.float32),
        )
        model = onnx.load_from_string(body)
        weights = model.graph.initializer[0]
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "8")):
            entry = weights.external_data.add()
            entry.key, entry.value = key, value
        file = inside / "model.onnx"
        file.write_bytes(model.SerializeToString())
        if is_allowed:
            found: Any = OnnxModel(file, regression([pair], "a", "b")).answers(np.zeros((1, 2)))
            assert found.values.tolist() == [[1, 2]]
        else:
            with pytest.raises(GraphRefused, match=r"secret|xternal"):
                OnnxModel(file, regression([pair], "a", "b"))
