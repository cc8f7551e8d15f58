"""A shadow knows what the serving version answers, and counts where it answers differently."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression
from tests.unit.serving.loopback import served_as, serving, vector
from tests.unit.serving.stored import Stored, model_of, store, with_digest

from trimtab.contract.artifact import Interval
from trimtab.serving.counting.comparison import Comparison, apart
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model.artifact import Artifact
from trimtab.serving.model.base import Model
from trimtab.serving.settings import ServingSettings


def other_binary(binary: Stored, folder: Path) -> Stored:
    """The same model line, taught with other truths."""
    truth = (binary.rows[:, 0] - 0.5 * binary.rows[:, 2] > 0.2).astype(int)
    estimator = LogisticRegression().fit(binary.rows, truth)
    return store(folder, estimator, binary.signature, binary.baseline, binary.rows)


def loaded(stored: Stored) -> tuple[Artifact, Model]:
    artifact = Artifact(
        None,  # type: ignore[arg-type]
        stored.signature,
        stored.baseline,
        stored.digest,
        stored.folder,
    )
    return artifact, model_of(stored)


async def test_the_count_is_that_of_both_models_row_by_row(
    settings: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    shadow = other_binary(binary, tmp_path)
    generator = np.random.default_rng(5)
    batches = [generator.normal(size=(n, 4)) for n in generator.integers(1, 9, 80)]
    told = served_as(settings, shadow, compare_uri=binary.uri, compare_digest=binary.digest)
    async with serving(told) as client:
        answers = await asyncio.gather(*(client.infer(vector(rows)) for rows in batches))
        counted = await client.metrics()
    assert {answer.status_code for answer in answers} == {200}
    rows = np.concatenate(batches)
    different = (shadow.estimator.predict(rows) != binary.estimator.predict(rows)).sum()
    assert 0 < different < len(rows)
    label = f"{{against={binary.digest}}}"
    assert counted[f"trimtab_compared_total{label}"] == len(rows)
    assert counted[f"trimtab_disagreements_total{label}"] == different


async def test_without_a_version_to_compare_with_nothing_is_told(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        assert not [name for name in await client.metrics() if "compared" in name]


@examples(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_how_rows_were_joined_makes_no_difference(
    binary: Stored, tmp_path_factory: pytest.TempPathFactory, seed: int, sizes: list[int]
) -> None:
    shadow = other_binary(binary, tmp_path_factory.mktemp("shadow"))
    rows = np.random.default_rng(seed).normal(size=(sum(sizes), 4))
    _, own = loaded(shadow)
    joined = Comparison(*loaded(binary), shadow.signature, [])
    apart_from_it = Comparison(*loaded(binary), shadow.signature, [])
    joined.add(rows, own.predict(rows))
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        apart_from_it.add(part, own.predict(part))
    told = [[list(f.samples) for f in one.families()] for one in (joined, apart_from_it)]
    assert told[0] == told[1]


def test_a_class_that_the_shadow_does_not_know_is_a_disagreement(
    binary: Stored, tmp_path: Path
) -> None:
    renamed = binary.signature.model_copy(update={"classes": ["0", "2"]})
    truth = np.where(binary.rows[:, 0] > 0, 2, 0)
    estimator = LogisticRegression().fit(binary.rows, truth)
    shadow = store(tmp_path, estimator, renamed, binary.baseline, binary.rows)
    _, own = loaded(shadow)
    comparison = Comparison(*loaded(binary), renamed, [])
    comparison.add(binary.rows, own.predict(binary.rows))
    agreed = (estimator.predict(binary.rows) == 0) & (binary.estimator.predict(binary.rows) == 0)
    compared, different = (next(iter(f.samples))[1] for f in comparison.families())
    assert (compared, different) == (400, 400 - agreed.sum())


def test_values_agree_within_the_error_of_the_serving_version(
    regression: Stored, tmp_path: Path
) -> None:
    rmse = Interval(metric="rmse", value=0.5, interval=(0.4, 0.6), n=200)
    measured = with_digest(regression.baseline.model_copy(update={"metrics": [rmse]}))
    folder = tmp_path / "served"
    served = store(folder, regression.estimator, regression.signature, measured, regression.rows)
    assert apart(served.baseline) == 0.5
    for by, far in ((0.4, 0), (0.6, 200)):
        moved = LinearRegression().fit(regression.rows, served.estimator.predict(regression.rows))
        moved.intercept_ += by
        own = model_of(regression, moved)
        comparison = Comparison(*loaded(served), regression.signature, [])
        comparison.add(regression.rows, own.predict(regression.rows))
        assert next(iter(comparison.families()[1].samples))[1] == far


def test_other_inputs_cannot_be_compared(binary: Stored, regression: Stored) -> None:
    with pytest.raises(ArtifactRefused, match="is a regression, the serving one a classification"):
        Comparison(*loaded(binary), regression.signature, [])
    longer = binary.signature.inputs[0].model_copy(update={"shape": [5]})
    other = binary.signature.model_copy(update={"inputs": [longer]})
    with pytest.raises(ArtifactRefused, match="takes"):
        Comparison(*loaded(binary), other, [])
