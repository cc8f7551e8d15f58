"""The report of a training pod is read strictly; garbage is never a version."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.loop_objects import DIGEST_2, report

from trimtab.decide.retrain.report import Accepted, Broke, TurnedDown, read_result

OUTPUT = "s3://models/digits/r1a2b3c4d/"
WRITTEN = f"{OUTPUT}{'2' * 16}/"


def test_what_the_trainer_writes_is_accepted() -> None:
    result = read_result(0, report(OUTPUT), output_uri=OUTPUT)
    assert isinstance(result, Accepted)
    assert (result.uri, result.digest) == (WRITTEN, DIGEST_2)
    assert result.report.parameters == {"estimator": "RandomForest", "seed": "7"}


def test_figures_that_could_not_be_computed_are_left_out() -> None:
    metrics = [{"metric": "auc", "value": None}, {"metric": "accuracy", "value": 0.9}]
    result = read_result(0, report(OUTPUT, metrics=metrics), output_uri=OUTPUT)
    assert isinstance(result, Accepted)
    assert [metric.metric for metric in result.report.metrics] == ["accuracy"]


@pytest.mark.parametrize("exit_code", [1, 2, 14, 137, 139, 143, 255])
def test_other_exit_codes_leave_it_to_the_next_try(exit_code: int) -> None:
    assert read_result(exit_code, report(OUTPUT), output_uri=OUTPUT) is None


REFUSED: dict[str, tuple[int, str, str]] = {
    "no_message": (0, "", "no termination message"),
    "not_json": (0, "Traceback (most recent call last):", "not JSON"),
    "cut_by_the_kubelet": (0, report(OUTPUT)[:200], "not JSON"),
    "a_list": (0, "[]", "malformed"),
    "no_number": (0, report(OUTPUT).replace("0.968", "NaN"), "NaN is not a JSON number"),
    "too_long": (0, report(OUTPUT, message="x" * 5000), "longer than 4096"),
    "no_digest": (0, report(OUTPUT, digest=None), "without uri and digest"),
    "bad_digest": (0, report(OUTPUT, digest="sha256:zz"), "digest"),
    "another_verdict": (0, report(OUTPUT, verdict="rejected"), "exit code 0 means accepted"),
    "unknown_verdict": (0, report(OUTPUT, verdict="splendid"), "verdict"),
    "elsewhere": (0, report(OUTPUT, uri="s3://other/v9/"), "the training wrote to"),
    "beside": (0, report(OUTPUT, uri=OUTPUT[:-1] + "x/"), "the training wrote to"),
    "climbing": (0, report(OUTPUT, uri=f"{OUTPUT}../v1/"), "uri"),
    "a_bad_dataset": (0, report(OUTPUT, datasets=[{"name": "x", "role": "guess"}]), "datasets"),
    "rejected_without_a_message": (11, "", "no termination message"),
    "rejected_that_says_accepted": (11, report(OUTPUT), "exit code 11 means rejected"),
}


@pytest.mark.parametrize(("exit_code", "message", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(exit_code: int, message: str, words: str) -> None:
    result = read_result(exit_code, message, output_uri=OUTPUT)
    assert isinstance(result, Broke)
    assert result.failure == "code"
    assert words in result.message


@pytest.mark.parametrize(
    ("exit_code", "failure"), [pytest.param(10, "data"), pytest.param(12, "code")]
)
def test_the_exit_code_alone_tells_broken_data_from_broken_code(
    exit_code: int, failure: str
) -> None:
    silent = read_result(exit_code, "", output_uri=OUTPUT)
    told = read_result(
        exit_code, json.dumps({"verdict": "failed", "message": "why"}), output_uri=OUTPUT
    )
    assert isinstance(silent, Broke)
    assert isinstance(told, Broke)
    assert silent.failure == told.failure == failure
    assert told.message == "why"


@pytest.mark.parametrize(
    ("exit_code", "verdict", "is_insufficient"),
    [
        pytest.param(11, "rejected", False, id="worse"),
        pytest.param(13, "insufficientData", True, id="too_few_rows"),
    ],
)
def test_turned_down(exit_code: int, verdict: str, is_insufficient: bool) -> None:
    result = read_result(exit_code, json.dumps({"verdict": verdict}), output_uri=OUTPUT)
    assert isinstance(result, TurnedDown)
    assert result.is_insufficient is is_insufficient


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    message=st.text(max_size=300) | JSON.map(json.dumps),
    exit_code=st.integers(0, 255),
)
def test_any_message_has_an_answer_and_none_is_a_version(message: str, exit_code: int) -> None:
    result = read_result(exit_code, message, output_uri=OUTPUT)
    assert not isinstance(result, Accepted)


@given(
    field=st.sampled_from(sorted(json.loads(report(OUTPUT)))),
    value=JSON,
)
def test_any_field_may_be_garbage(field: str, value: Any) -> None:
    read_result(0, json.dumps(json.loads(report(OUTPUT)) | {field: value}), output_uri=OUTPUT)
