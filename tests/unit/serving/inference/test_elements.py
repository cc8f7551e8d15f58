"""Values are what both datatypes say, and whole numbers stay what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.unit.serving.loopback import served_as, serving
from tests.unit.serving.stored import numeric, store, with_digest

from trimtab.contract.artifact import Baseline, Signature, Tensor
from trimtab.serving.errors import RequestInvalid
from trimtab.serving.inference.elements import read_elements
from trimtab.serving.inference.validation import Inputs
from trimtab.serving.settings import ServingSettings

WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")


def signature(*tensors: Tensor) -> Signature:
    return Signature(task="regression", inputs=list(tensors), outputs=[tensors[0]])


def limits(datatype: str) -> Any:
    return np.iinfo(datatype.lower())


def read(wanted: str, sent: str, *values: Any, missing: bool = False) -> Any:
    tensor = Tensor(name="x", datatype=wanted, missing_allowed=missing)
    return read_elements("data", tensor, sent, len(values), list(values))


@given(some.sampled_from(WHOLE), some.sampled_from(("INT32", "INT64")), some.data())
def test_whole_numbers_are_exact_or_refused(sent: str, wanted: str, data: Any) -> None:
    value = data.draw(some.integers(-(2**64), 2**64) | some.sampled_from(_edges()))
    fits = all(limits(kind).min <= value <= limits(kind).max for kind in (sent, wanted))
    if fits:
        found = read(wanted, sent, value, 1)
        assert found.dtype == np.int64
        assert found.tolist() == [value, 1]
    else:
        with pytest.raises(RequestInvalid, match=r"data\[1\]: .* does not fit into U?INT"):
            read(wanted, sent, 1, value)


def _edges() -> list[int]:
    return [
        edge + d
        for kind in WHOLE
        for edge in (limits(kind).min, limits(kind).max)
        for d in (-1, 0, 1)
    ]


@given(some.sampled_from(WHOLE), some.data())
def test_whole_numbers_for_doubles_are_the_nearest_as_in_numpy(sent: str, data: Any) -> None:
    value = data.draw(some.integers(int(limits(sent).min), int(limits(sent).max)))
    assert read("FP64", sent, value).tolist() == [float(value)]
    assert read("FP32", sent, value).tolist() == [float(np.float32(value))]


@pytest.mark.parametrize(
    ("wanted", "sent", "value", "said"),
    [
        ("FP64", "INT8", 300, r"300 does not fit into INT8"),
        ("FP64", "UINT8", -5, r"-5 does not fit into UINT8"),
        ("FP64", "INT32", 1.5, r"a whole number \(INT32\) is wanted"),
        ("FP64", "INT64", 2.0**64, r"no whole number of INT64"),
        ("FP64", "FP32", 1e300, r"does not fit into FP32"),
        ("FP64", "FP16", 70000, r"does not fit into FP16"),
        ("FP32", "FP64", 1e39, r"does not fit into FP32"),
        ("INT32", "INT64", 2**31, r"does not fit into INT32"),
        ("INT64", "UINT64", 2**63, r"does not fit into INT64"),
        ("BOOL", "BOOL", 1, r"true or false is wanted"),
        ("BYTES", "BYTES", 1, r"a string is wanted"),
    ],
)
def test_a_value_that_is_not_what_it_is_said_to_be(
    wanted: str, sent: str, value: Any, said: str
) -> None:
    with pytest.raises(RequestInvalid, match=r"data\[1\]: .*" + said):
        read(wanted, sent, {"BOOL": True, "BYTES": "a"}.get(wanted, 0), value)


def test_missing_whole_numbers_are_nan_among_exact_ones() -> None:
    found = read("INT64", "INT64", 2**62, None, float("nan"), missing=True)
    np.testing.assert_array_equal(found, [float(2**62), np.nan, np.nan])
    with pytest.raises(RequestInvalid, match=r"data\[1\]: 9223372036854775808 does not fit"):
        read("INT64", "INT64", None, 2**63, missing=True)
    with pytest.raises(RequestInvalid, match=r"data\[0\]: null"):
        read("INT64", "INT64", None)


@pytest.mark.parametrize(
    ("datatypes", "kind"),
    [
        (("INT64",), np.int64),
        (("INT64", "INT32"), np.int64),
        (("INT64", "FP32"), np.float64),
        (("INT64", "BOOL"), np.float64),
        (("INT64", "BYTES"), np.object_),
    ],
)
def test_a_table_is_of_whole_numbers_where_all_columns_are(
    datatypes: tuple[Any, ...], kind: type
) -> None:
    tensors = [Tensor(name=f"x{i}", datatype=name) for i, name in enumerate(datatypes)]
    values = {"INT64": 2**53 + 1, "INT32": 7, "FP32": 0.5, "BOOL": True, "BYTES": "a"}
    rows = Inputs(signature(*tensors), 10).read(
        [
            {
                "name": one.name,
                "datatype": one.datatype,
                "shape": [1],
                "data": [values[one.datatype]],
            }
            for one in tensors
        ]
    )
    assert rows.dtype == kind
    first = rows[0, 0]
    assert first == (2**53 if kind is np.float64 else 2**53 + 1)
    assert isinstance(first, int if kind is np.object_ else kind)


async def test_ids_of_64_bits_reach_the_model_exactly(
    settings: ServingSettings, tmp_path: Path
) -> None:
    ids = np.array([[2**53], [2**53 + 1]] * 50)
    truths = np.array([0, 1] * 50)
    estimator = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(ids, truths)
    score = numeric("score", estimator.predict_proba(ids)[:, 1], 2)
    baseline = Baseline(
        digest="",
        n=100,
        features=[numeric("id", ids[:, 0].astype(float))],
        score_edges=score.edges,
        score_counts=score.counts,
    )
    stored = store(
        tmp_path,
        estimator,
        Signature(
            task="classification",
            inputs=[Tensor(name="id", datatype="INT64")],
            outputs=[Tensor(name="class", datatype="INT64")],
            classes=["0", "1"],
        ),
        with_digest(baseline),
        ids,
    )
    async with serving(served_as(settings, stored)) as client:
        answer = await client.infer(
            [{"name": "id", "datatype": "INT64", "shape": [2], "data": [2**53, 2**53 + 1]}]
        )
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == [0, 1]
