"""Operator and trainer keep to one contract: each variable, each exit code, each report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.loop_objects import DIGEST_1, DIGEST_2, retrain_job

import trimtab
from trimtab.api.retrain_job import Champion, RetrainJob
from trimtab.build.training_pod import RunRequest, build_training_pod
from trimtab.contract.artifact import Interval
from trimtab.contract.training import (
    DECISIVE_EXIT_CODES,
    EXIT_CODE_OF_VERDICT,
    FAILURE_OF_EXIT_CODE,
    MOST_ROWS,
    ExitCode,
    OptionalVariable,
    ReportedChampion,
    ReportedCode,
    ReportedDataset,
    Variable,
    Verdict,
)
from trimtab.decide.retrain.report import Accepted, Broke, TurnedDown, read_result
from trimtab.stats.challenger import Comparison
from trimtab.stats.challenger import Verdict as Compared
from trimtab.training.errors import TrainingError
from trimtab.training.report import (
    Report,
    gate_first,
    reported_comparison,
    reported_metrics,
    termination_message,
)
from trimtab.training.settings import read_settings

OUTPUT = "s3://models/digits/r1a2b3c4d/"
CHAMPION = Champion(version_object="digits-v1", uri="s3://models/digits/v1/", digest=DIGEST_1)


# --- environment --------------------------------------------------------------------------------


def set_by_the_operator(**spec: Any) -> dict[str, str]:
    job = RetrainJob.model_validate(retrain_job(**spec))
    request = RunRequest(job, CHAMPION, "r1a2b3c4d", OUTPUT, "training:1", "IfNotPresent")
    (container,) = build_training_pod(request, job.spec.engine.job)["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


class Watched(dict[str, str]):
    """An environment that remembers which names were asked for."""

    def __init__(self, *content: dict[str, str]) -> None:
        super().__init__(*content)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def test_the_operator_sets_every_variable_and_nothing_of_an_image() -> None:
    assert set(set_by_the_operator()) == {*Variable, "HOME"}
    assert not {*Variable} & {*OptionalVariable}


def test_the_trainer_reads_every_variable_and_no_other() -> None:
    environment = Watched(set_by_the_operator())
    read_settings(environment, [])
    assert environment.asked == {*Variable, *OptionalVariable}


def test_the_trainer_reads_what_the_retrain_job_says() -> None:
    settings = read_settings(
        set_by_the_operator(
            data={"uri": "s3://data/scans/", "since": "2026-01-01T00:00:00Z"},
            gate={"metric": "auc", "notWorseBy": "1%", "confidence": "90%", "mustBeat": 0.944},
        ),
        [],
    )
    assert (settings.model, settings.version) == ("digits", "r1a2b3c4d")
    assert (settings.data_uri, settings.output_uri) == ("s3://data/scans/", OUTPUT)
    assert settings.since is not None
    assert settings.since.isoformat() == "2026-01-01T00:00:00+00:00"
    assert (settings.champion_uri, settings.champion_digest) == (CHAMPION.uri, CHAMPION.digest)
    assert settings.gate.model_dump() == {
        "metric": "auc",
        "against": "serving",
        "not_worse_by": 0.01,
        "confidence": 0.9,
        "must_beat": 0.944,
        "slices": [],
    }
    assert settings.cause["signal"] == "quality"
    assert settings.needs_to_be_better


def test_no_side_spells_a_variable_itself() -> None:
    root = Path(trimtab.__file__).parent
    sides = ("build/engines", "decide/retrain", "simulation", "training")
    files = [file for side in sides for file in sorted((root / side).rglob("*.py"))]
    files += sorted((root / "build").glob("training*.py"))
    spelled = [
        (file.name, variable)
        for file in files
        for variable in (*Variable, *OptionalVariable)
        if f'"{variable}"' in file.read_text()
    ]
    assert len(files) > 20
    assert spelled == []


# --- exit codes ---------------------------------------------------------------------------------


def test_exit_codes_are_what_published_images_use() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "ACCEPTED": 0,
        "UNAVAILABLE": 1,
        "DATA_BROKEN": 10,
        "REJECTED": 11,
        "CODE_BROKEN": 12,
        "TOO_FEW_ROWS": 13,
    }


def test_every_exit_code_has_one_meaning() -> None:
    judged = set(EXIT_CODE_OF_VERDICT.values())
    assert judged | set(FAILURE_OF_EXIT_CODE) == set(ExitCode)
    assert not judged & set(FAILURE_OF_EXIT_CODE)
    assert set(DECISIVE_EXIT_CODES) == set(ExitCode) - {ExitCode.ACCEPTED, ExitCode.UNAVAILABLE}


def test_the_trainer_uses_every_exit_code() -> None:
    raised = {error.exit_code for error in TrainingError.__subclasses__()}
    assert raised | set(EXIT_CODE_OF_VERDICT.values()) == set(ExitCode)


def told(verdict: Verdict) -> str:
    return json.dumps({"verdict": verdict, "uri": f"{OUTPUT}x/", "digest": DIGEST_2})


READ: dict[ExitCode, Callable[[Any], bool]] = {
    ExitCode.ACCEPTED: lambda result: isinstance(result, Accepted),
    ExitCode.UNAVAILABLE: lambda result: result is None,
    ExitCode.DATA_BROKEN: lambda result: isinstance(result, Broke) and result.failure == "data",
    ExitCode.REJECTED: lambda result: isinstance(result, TurnedDown) and not result.is_insufficient,
    ExitCode.CODE_BROKEN: lambda result: isinstance(result, Broke) and result.failure == "code",
    ExitCode.TOO_FEW_ROWS: lambda result: isinstance(result, TurnedDown) and result.is_insufficient,
}


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_the_operator_knows_every_exit_code(code: ExitCode) -> None:
    verdicts = {code: verdict for verdict, code in EXIT_CODE_OF_VERDICT.items()}
    assert READ[code](read_result(code, told(verdicts.get(code, "failed")), output_uri=OUTPUT))


# --- reports ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What a run of the trainer may find."""

    report: Report
    exit_code: ExitCode


numbers = st.floats() | st.sampled_from([0.0, 0.5, 1.0, math.inf, -math.inf, math.nan])
words = st.text(max_size=1500)
rows = st.integers(0, MOST_ROWS)


def intervals_of(metrics: st.SearchStrategy[str], slices: st.SearchStrategy[str]) -> Any:
    return st.builds(
        Interval,
        metric=metrics,
        value=numbers,
        interval=st.tuples(numbers, numbers),
        n=rows,
        slice=slices,
    )


intervals = intervals_of(
    st.sampled_from(["accuracy", "f1", "auc", "rmse", "precision"]), st.just("all") | words
)
of_all = intervals_of(st.just("accuracy"), st.just("all"))
"""What is always measured: the metric that the decision rests on, over all rows."""
comparisons = st.builds(
    Comparison,
    verdict=st.sampled_from(Compared),
    difference=numbers,
    lower=numbers,
    upper=numbers,
    margin=numbers,
    n=rows,
    needed=st.integers(0, 10**20),
)
datasets = st.builds(
    ReportedDataset,
    name=st.text(min_size=1, max_size=256),
    uri=st.none() | st.just("s3://data/scans/"),
    digest=st.none() | st.just(DIGEST_1),
    role=st.sampled_from(["train", "calibrate", "evaluate"]),
    rows=st.none() | rows,
)
codes = st.builds(ReportedCode, repository=st.none() | words.map(lambda text: text[:1024]))


@st.composite
def runs(draw: st.DrawFn) -> Said:
    report = Report(verdict=draw(st.sampled_from(["accepted", "rejected", "insufficientData"])))
    report.reason, report.message = "NotWorse", draw(words)
    report.uri, report.digest, report.baseline = f"{OUTPUT}{'2' * 16}/", DIGEST_2, DIGEST_1
    measured, served = (draw(st.lists(intervals, max_size=20)) for _ in range(2))
    measured = [draw(of_all), *measured]
    report.metrics = gate_first(reported_metrics(measured, "held-out"), "accuracy")
    if draw(st.booleans()):
        report.comparison = reported_comparison(draw(comparisons), "accuracy")
        report.champion = ReportedChampion(
            version=draw(words), digest=DIGEST_1, metrics=reported_metrics(served, "held-out")
        )
    report.needed = draw(st.none() | rows)
    report.datasets = draw(st.lists(datasets, max_size=3))
    report.parameters = draw(st.dictionaries(st.text(max_size=50), words, max_size=40))
    report.code = draw(st.none() | codes)
    report.seconds = draw(st.dictionaries(st.text(max_size=9), st.floats(0, 9e9), max_size=7))
    return Said(report, EXIT_CODE_OF_VERDICT[report.verdict])


@given(said=runs())
def test_the_operator_reads_whatever_the_trainer_writes(said: Said) -> None:
    message = termination_message(said.report)
    assert len(message) <= 4096
    result = read_result(said.exit_code, message.decode(), output_uri=OUTPUT)
    assert isinstance(result, Accepted if said.report.verdict == "accepted" else TurnedDown), result
    read = result.report
    assert (read.verdict, read.needed) == (said.report.verdict, said.report.needed)
    assert read.metrics[:1] == said.report.metrics[:1]
    assert read.comparison == said.report.comparison
