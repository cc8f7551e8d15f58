"""What was read is not read again, and never taken for something else."""

from __future__ import annotations

import pytest

from trimtab.api.model_version import ModelVersion
from trimtab.cluster.port import Json
from trimtab.contract import metrics as names
from trimtab.contract.metrics import Series
from trimtab.decide.rollout.measures import ERRORS, measures_of, wrong_measure
from trimtab.errors import SpecError
from trimtab.reconcile.kinds.measured import Measured
from trimtab.reconcile.kinds.typed import Models, readable, typed

DIGESTS = ["sha256:" + letter * 64 for letter in "ab"]


def series(errors: float) -> Series:
    outcome = frozenset({("digest", DIGESTS[1]), ("predicted", "x"), ("actual", "y")})
    return {
        (names.REQUESTS, frozenset({("code", "500")})): errors,
        (names.OUTCOMES, outcome): 3.0,
    }


def test_the_same_series_are_read_once() -> None:
    measured, shown, newer = Measured(), series(1), series(2)
    measured.begin(DIGESTS)
    first = measured.of(shown)
    assert first.counts == measures_of(shown, DIGESTS)
    measured.begin(DIGESTS)
    assert measured.of(shown) is first
    assert measured.of(newer).counts[ERRORS] == 2


def test_equal_series_of_another_time_are_read() -> None:
    """They may have the place in memory of some that went."""
    measured = Measured()
    for errors in range(50):
        measured.begin(DIGESTS)
        assert measured.of(series(errors)).counts[ERRORS] == errors


def test_other_versions_ask_for_other_outcomes() -> None:
    measured, shown = Measured(), series(1)
    measured.begin(DIGESTS[:1])
    assert wrong_measure(DIGESTS[1]) not in measured.of(shown).counts
    measured.begin(DIGESTS)
    assert measured.of(shown).counts[wrong_measure(DIGESTS[1])] == 3


def version(name: str = "churn-v1", uri: str = "s3://models/churn/v1/") -> Json:
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "model": "churn",
            "version": "v1",
            "artifact": {"uri": uri, "digest": DIGESTS[0]},
        },
    }


def test_the_same_object_has_the_same_model() -> None:
    known: Models = {}
    old, new = version(), version(uri="s3://models/churn/again/")
    first = typed(ModelVersion, old, known)
    assert typed(ModelVersion, old, known) is first
    assert readable(ModelVersion, [old], known)[0][0] is first
    assert typed(ModelVersion, new, known).spec.artifact.uri == "s3://models/churn/again/"
    assert len(known) == 1
    assert typed(ModelVersion, old, known) == first


def test_what_cannot_be_read_is_not_remembered() -> None:
    known: Models = {}
    bad = version()
    bad["spec"]["model"] = 3
    for _ in range(2):
        with pytest.raises(SpecError, match="model"):
            typed(ModelVersion, bad, known)
    assert readable(ModelVersion, [bad], known)[1].keys() == {"churn-v1"}
    assert not known
