"""The page of metrics: Prometheus text or OpenMetrics, each series with its identity."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from tests.unit.serving.loopback import served_as, serving, vector
from tests.unit.serving.stored import Stored

from trimtab.serving.settings import ServingSettings


async def test_pages_parse_in_both_formats(settings: ServingSettings, binary: Stored) -> None:
    async with serving(settings) as client:
        await client.infer(vector(binary.rows[:5]))
        text = await client.back.get("/metrics")
        modern = await client.back.get(
            "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
        )
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    version = {"model": "digits", "version": "v1"}
    digests = {"digest": binary.digest, "baseline": binary.baseline.digest}
    for families in (list(plain(text.text)), list(openmetrics(modern.text))):
        names = {sample.name for family in families for sample in family.samples}
        assert "trimtab_requests_total" in names
        assert "trimtab_model_info" in names
        assert "process_start_time_seconds" in names
        for family in families:
            for sample in family.samples:
                if sample.name == "trimtab_model_info":
                    assert (version | digests).items() <= sample.labels.items()
                elif sample.name != "process_start_time_seconds":
                    assert version.items() <= sample.labels.items(), sample.name
                    assert not digests.keys() & sample.labels.keys(), sample.name


async def test_negative_values_of_a_regression_are_no_counter(
    settings: ServingSettings, regression: Stored
) -> None:
    async with serving(served_as(settings, regression)) as client:
        answer = await client.infer(
            [
                {"name": name, "datatype": "FP64", "shape": [1], "data": [value]}
                for name, value in (("a", -5.0), ("b", 5.0))
            ]
        )
        token = answer.json()["parameters"]["trimtab_token"]
        await client.back.post("/outcomes", json=[{"token": token, "actual": 100}])
        text = await client.back.get("/metrics")
        modern = await client.back.get(
            "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
        )
    for families in (list(plain(text.text)), list(openmetrics(modern.text))):
        sums = [
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "trimtab_score_bin_sum_total"
        ]
        assert min(sums) < 0
