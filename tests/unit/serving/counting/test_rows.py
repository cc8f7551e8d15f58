"""Counters are exact: a recount row by row gives the same figures."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from tests.unit.serving.loopback import served_as, serving, vector
from tests.unit.serving.stored import Stored

from trimtab.contract.artifact import CategoricalFeature, NumericFeature
from trimtab.serving.settings import ServingSettings


async def test_counters_equal_a_recount_across_joined_calls(
    settings: ServingSettings, binary: Stored
) -> None:
    generator = np.random.default_rng(7)
    batches = [generator.normal(scale=2, size=(n, 4)) for n in generator.integers(1, 9, 150)]
    first = binary.baseline.features[0]
    assert isinstance(first, NumericFeature)
    batches[3][0, 0] = first.edges[2]  # a value on an edge
    async with serving(settings) as client:
        answers = await asyncio.gather(*(client.infer(vector(rows)) for rows in batches))
        counted = await client.metrics()
    assert all(answer.status_code == 200 for answer in answers)
    rows = np.concatenate(batches)
    wanted: Counter[str] = Counter()
    for column, feature in enumerate(binary.baseline.features):
        assert isinstance(feature, NumericFeature)
        for value in rows[:, column]:
            place = bisect_left(feature.edges, value)
            wanted[f"trimtab_feature_bin_total{{feature={feature.name},bin={place}}}"] += 1
            if not feature.minimum <= value <= feature.maximum:
                wanted[f"trimtab_feature_out_of_range_total{{feature={feature.name}}}"] += 1
    for score in binary.estimator.predict_proba(rows)[:, 1]:
        place = bisect_left(binary.baseline.score_edges, score)
        wanted[f"trimtab_score_bin_total{{bin={place}}}"] += 1
    for name in binary.estimator.predict(rows):
        wanted[f"trimtab_predicted_total{{class={name}}}"] += 1
    exact = ("feature_bin", "feature_out", "feature_missing", "score_bin_total", "predicted_total")
    for key, value in counted.items():
        if key.removeprefix("trimtab_").startswith(exact):
            assert value == wanted[key], key
    assert set(wanted) <= set(counted)
    by_hour = [v for k, v in counted.items() if k.startswith("trimtab_predicted_by_hour_total")]
    assert sum(by_hour) == len(rows)
    assert counted["trimtab_requests_total{code=200}"] == len(batches)
    assert counted["trimtab_batch_rows_sum"] == len(rows)
    assert counted["trimtab_batch_rows_count"] <= len(batches)
    assert counted["trimtab_predict_seconds_count"] == counted["trimtab_batch_rows_count"]
    assert counted["trimtab_request_seconds_count"] == len(batches)
    assert counted["trimtab_queue_depth"] == 0
    check_probabilities(binary, rows, counted)


def check_probabilities(binary: Stored, rows: Any, counted: dict[str, float]) -> None:
    scores = binary.estimator.predict_proba(rows)[:, 1]
    calibration = binary.baseline.calibration[0]
    sure = [float(np.interp(score, calibration.x, calibration.y)) for score in scores]
    sums: defaultdict[str, float] = defaultdict(float)
    by_bin: defaultdict[int, float] = defaultdict(float)
    for score, predicted, second in zip(scores, binary.estimator.predict(rows), sure, strict=True):
        sums[f"trimtab_probability_sum_total{{predicted={predicted},class=1}}"] += second
        sums[f"trimtab_probability_sum_total{{predicted={predicted},class=0}}"] += 1 - second
        by_bin[bisect_left(binary.baseline.score_edges, score)] += second
    for key, value in sums.items():
        assert counted[key] == pytest.approx(value, rel=1e-9)
    for place, value in by_bin.items():
        key = f"trimtab_score_bin_sum_total{{bin={place}}}"
        assert counted[key] == pytest.approx(value, rel=1e-9)


async def test_categories_are_counted_and_unknown_ones_never_named(
    settings: ServingSettings, table: Stored
) -> None:
    colours = ["red", "red", "mauve", "blue", "secret", "green"]
    inputs = [
        {"name": "age", "datatype": "INT64", "shape": [6], "data": [20, 30, 40, 50, 200, 1]},
        {"name": "colour", "datatype": "BYTES", "shape": [6], "data": colours},
        {"name": "member", "datatype": "BOOL", "shape": [6], "data": [True] * 4 + [False] * 2},
        {"name": "z", "datatype": "FP32", "shape": [6], "data": [0.0] * 6},
    ]
    async with serving(served_as(settings, table)) as client:
        assert (await client.infer(inputs)).status_code == 200
        counted = await client.metrics()
        page = (await client.back.get("/metrics")).text
    feature = table.baseline.features[1]
    assert isinstance(feature, CategoricalFeature)
    bins = [counted[f"trimtab_feature_bin_total{{feature=colour,bin={i}}}"] for i in range(3)]
    assert bins == [1, 1, 2]
    assert counted["trimtab_feature_unseen_total{feature=colour}"] == 2
    assert counted["trimtab_feature_bin_total{feature=member,bin=0}"] == 2
    assert counted["trimtab_feature_bin_total{feature=member,bin=1}"] == 4
    assert counted["trimtab_feature_out_of_range_total{feature=age}"] == 2
    assert "mauve" not in page
    assert "secret" not in page


async def test_a_regression_counts_values(settings: ServingSettings, regression: Stored) -> None:
    rows = regression.rows[:50]
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [50], "data": rows[:, i].tolist()}
        for i, name in enumerate("ab")
    ]
    async with serving(served_as(settings, regression)) as client:
        await client.infer(inputs)
        counted = await client.metrics()
    bins = [value for key, value in counted.items() if key.startswith("trimtab_score_bin_total")]
    assert sum(bins) == 50
    assert counted["trimtab_predicted_total{class=}"] == 50
    assert counted["trimtab_outcome_errors_count"] == 0


async def test_warm_up_and_probes_are_not_counted(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        for _ in range(3):
            assert (await client.back.get("/readyz")).status_code == 200
        counted = await client.metrics()
    assert counted["trimtab_requests_started_total"] == 0
    assert counted["trimtab_batch_rows_count"] == 0
    assert sum(v for k, v in counted.items() if k.startswith("trimtab_feature_bin")) == 0
