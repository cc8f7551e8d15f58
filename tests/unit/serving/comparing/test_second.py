"""The second model harms nobody: not while it is loaded, nor asked, nor let go."""

from __future__ import annotations

import gc
import io
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tests.unit.serving.stored import Stored, store

from trimtab.serving.comparing import second as module
from trimtab.serving.comparing.container import Container
from trimtab.serving.comparing.marker import NAME, Marker
from trimtab.serving.comparing.second import FAILURES_IN_A_ROW, SecondModel, check_pairable
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model.artifact import Artifact, bring_artifact
from trimtab.serving.model.base import Matrix, Model, Prediction
from trimtab.serving.settings import ServingSettings


class Cell(Container):
    """A container as large, and as throttled, as a test wants it."""

    def __init__(self, left: int | None = 1 << 40) -> None:
        super().__init__(Path("/nowhere"), Path("/nowhere"))
        self.left = left
        self.periods = 0
        self.taken: float | None = 0.0

    def thread_seconds(self, thread: int) -> float | None:
        assert thread
        return self.taken

    def memory_left(self) -> int | None:
        return self.left

    def throttled(self) -> int:
        return self.periods


class Scene:
    """A second model beside the one that is served, and all that it tells."""

    def __init__(self, settings: ServingSettings, left: int | None = 1 << 40, **more: str) -> None:
        self.cell = Cell(left)
        self.settings = settings
        self.classes: list[str] = []
        self.settled = threading.Event()
        self.disturbed = threading.Event()
        self.second = SecondModel(
            settings,
            bring_artifact(settings),
            10 << 20,
            lambda count: np.zeros((count, 4)),
            ready=self.ready,
            container=self.cell,
            **more,
        )

    def ready(self, classes: list[str]) -> list[int]:
        self.classes = classes
        return [0, 1, 2, 3]

    def begun(self) -> SecondModel:
        assert self.second.begin(self.settled.set, self.disturbed.set)
        assert self.settled.wait(20)
        return self.second

    @property
    def is_marked(self) -> bool:
        return (self.settings.scratch / NAME).exists()

    def compare(self, rows: Matrix) -> object:
        self.second.earn(len(rows), 10.0)
        assert self.second.affords(len(rows), 0.001)
        return self.second.answer(rows)


@pytest.fixture
def other(binary: Stored, tmp_path: Path) -> Stored:
    truth = (binary.rows[:, 0] - 0.5 * binary.rows[:, 2] > 0.2).astype(int)
    estimator = LogisticRegression().fit(binary.rows, truth)
    return store(tmp_path / "other", estimator, binary.signature, binary.baseline, binary.rows)


@pytest.fixture
def told(settings: ServingSettings, other: Stored) -> ServingSettings:
    return replace(
        settings,
        compare_uri=other.uri,
        compare_digest=other.digest,
        compare_for="outcomes",
        compare_budget=1.0,
        hung_seconds=20.0,
    )


@pytest.fixture
def scene(told: ServingSettings) -> Iterator[Scene]:
    made = Scene(told)
    yield made
    made.second.stop()


def test_it_answers_what_its_model_does(scene: Scene, other: Stored, binary: Stored) -> None:
    assert scene.second.state == "waiting"
    second = scene.begun()
    assert (second.state, scene.classes) == ("comparing", ["0", "1"])
    assert scene.is_marked
    rows = binary.rows[:50]
    assert np.array_equal(scene.compare(rows), other.estimator.predict(rows))  # type: ignore[arg-type]
    assert [second.paired_rows(rows) for rows in (1, 3, 500)] == [1, 3, 3]
    state, seconds = second.families([])
    assert next(iter(seconds.samples))[1] > 0
    assert dict(state.samples) == {
        f'trimtab_compare_state{{against="{other.digest}",state="comparing"}}': 1
    }
    second.stop()
    assert not scene.is_marked


def test_where_memory_is_short_or_unknown_nothing_is_loaded(told: ServingSettings) -> None:
    for left in (50 << 20, 0, None):
        scene = Scene(told, left if left is None else left - (20 << 20))
        assert scene.begun().state == "noMemory"
        assert not scene.is_marked
        assert scene.classes == []


def test_what_cannot_fit_is_not_even_fetched(
    told: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    files = {"more.bin": bytes(20 << 20)}
    huge = store(
        tmp_path / "huge",
        binary.estimator,
        binary.signature,
        binary.baseline,
        binary.rows,
        files=files,
    )
    named = replace(told, compare_uri=huge.uri, compare_digest=huge.digest)
    scene = Scene(named, 60 << 20)
    assert scene.begun().state == "noMemory"
    fetched = told.scratch / ("trimtab-" + huge.digest.removeprefix("sha256:"))
    assert not (fetched / "more.bin").exists()
    assert not scene.is_marked


def test_a_compressed_file_counts_as_what_it_unpacks_to(
    told: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    packed = io.BytesIO()
    binary.estimator.table = np.zeros(4 << 20)  # 32 MiB in a file of 100 KiB
    try:
        joblib.dump(binary.estimator, packed, compress=3)
    finally:
        del binary.estimator.table
    dense = store(
        tmp_path / "dense",
        packed.getvalue(),
        binary.signature,
        binary.baseline,
        binary.rows,
        model_file="model.joblib",
    )
    named = replace(told, compare_uri=dense.uri, compare_digest=dense.digest, trust_pickle=True)
    assert Scene(named, 150 << 20).begun().state == "noMemory"
    assert Scene(named, 200 << 20).begun().state == "comparing"


def test_who_follows_a_killed_process_does_not_load_it_again(
    scene: Scene, told: ServingSettings, caplog: pytest.LogCaptureFixture
) -> None:
    scene.begun()
    for _ in range(2):
        after = Scene(told)  # the process before was not stopped
        assert after.begun().state == "killed"
        after.second.stop()
    assert scene.is_marked
    assert caplog.text.count("the process before this one was killed") == 2


def test_an_artifact_that_is_not_to_be_had_is_said_once(
    told: ServingSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(replace(told, compare_uri=(tmp_path / "nowhere").as_uri()))
    assert scene.begun().state == "failed"
    assert caplog.text.count("not comparing with") == 1
    assert not scene.is_marked


def test_a_regression_is_not_comparable(told: ServingSettings, regression: Stored) -> None:
    scene = Scene(replace(told, compare_uri=regression.uri, compare_digest=regression.digest))
    assert scene.begun().state == "notComparable"


@pytest.mark.parametrize(
    "fault",
    [MemoryError(), RuntimeError("broken"), SystemExit(4), KeyboardInterrupt()],
    ids=["memory", "other", "exit", "interrupt"],
)
def test_whatever_loading_raises(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    def load(_artifact: Artifact, *, trust_pickle: bool) -> Model:
        raise fault

    monkeypatch.setattr(module, "load_model", load)
    wanted = "noMemory" if isinstance(fault, MemoryError) else "failed"
    assert scene.begun().state == wanted


class Odd(Model):
    """A model that does as a test says, once it has been measured."""

    def __init__(self, act: Callable[[Matrix], Prediction]) -> None:
        self.act: Callable[[Matrix], Prediction] | None = None
        self.later = act

    def prepare_thread(self) -> None:
        """Nothing."""

    def predict(self, rows: Matrix) -> Prediction:
        if self.act is not None:
            return self.act(rows)
        return Prediction(predicted=np.zeros(len(rows), dtype=np.intp))


def odd(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, act: Callable[[Matrix], Prediction]
) -> SecondModel:
    model = Odd(act)
    monkeypatch.setattr(module, "load_model", lambda _artifact, **_told: model)
    second = scene.begun()
    model.act = act
    return second


def raising(_rows: Matrix) -> Prediction:
    raise KeyError("weights")


def test_one_that_raises_is_given_up_after_a_while(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    second = odd(scene, monkeypatch, raising)
    for _ in range(FAILURES_IN_A_ROW):
        assert second.state == "comparing"
        assert scene.compare(np.zeros((1, 4))) is None
    assert second.state == "failed"
    assert not second.affords(1, 1.0)
    assert not scene.is_marked
    assert caplog.text.count("the version to compare with failed") == 1


@pytest.mark.parametrize("fault", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_one_that_would_end_the_process_is_given_up_at_once(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: BaseException,
) -> None:
    def ending(_rows: Matrix) -> Prediction:
        raise fault

    second = odd(scene, monkeypatch, ending)
    assert scene.compare(np.zeros((1, 4))) is None
    assert second.state == "failed"
    assert type(fault).__name__ in caplog.text
    assert not scene.disturbed.is_set()


@pytest.mark.parametrize("answer", [[0, 1], [2], [-1], None], ids=["more", "beyond", "none", "no"])
def test_what_is_no_answer_is_not_taken(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, answer: list[int] | None
) -> None:
    predicted = None if answer is None else np.array(answer, dtype=np.intp)
    odd(scene, monkeypatch, lambda _rows: Prediction(predicted=predicted))
    assert scene.compare(np.zeros((1, 4))) is None


def test_one_that_does_not_come_back_is_asked_no_more(scene: Scene, binary: Stored) -> None:
    second = scene.begun()
    assert second.patience == 10.0
    second.give_up()
    assert second.state == "failed"
    assert second.answer(binary.rows[:1]) is None
    second.stop()
    assert scene.is_marked  # a new process would hang again


def test_a_throttled_container_is_spared(
    scene: Scene, binary: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    second = scene.begun()
    scene.compare(binary.rows[:1])
    scene.cell.periods += 1
    second.earn(1, 10.0)
    assert second.affords(1, 1.0)  # looked at a moment ago
    now[0] += module.LOOK_SECONDS
    assert not second.affords(1, 1.0)
    assert second.state == "paused"
    now[0] += module.PAUSE_SECONDS
    assert second.affords(1, 1.0)
    assert second.state == "comparing"


@pytest.mark.parametrize("back", [0.0, 1e6], ids=["clock_goes_on", "clock_is_put_back"])
def test_it_is_let_go_when_the_time_is_over(
    told: ServingSettings, binary: Stored, monkeypatch: pytest.MonkeyPatch, back: float
) -> None:
    scene = Scene(replace(told, compare_until=time.time() + 1000))
    second = scene.begun()
    second.sweep()
    assert second.state == "comparing"
    late, unix = time.monotonic() + 1001, time.time() + 1001 - back
    monkeypatch.setattr(module, "monotonic", lambda: late)
    monkeypatch.setattr(time, "time", lambda: unix)
    second.earn(1, 10.0)
    assert not second.affords(1, 1.0)
    second.sweep()
    assert second.state == "ended"
    assert not scene.is_marked
    assert second.answer(binary.rows[:1]) is None  # who asked in the same moment


def test_its_memory_is_given_back(told: ServingSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(replace(told, compare_until=time.time() + 1000))
    held = weakref.ref(odd(scene, monkeypatch, raising))
    model = weakref.ref(scene.second._model)
    monkeypatch.undo()
    assert held() is not None
    assert model() is not None
    scene.second._ends._until = 1.0
    scene.second.sweep()
    gc.collect()
    assert model() is None


def test_a_time_that_has_passed_loads_nothing(told: ServingSettings) -> None:
    scene = Scene(replace(told, compare_until=1.0))
    assert not scene.second.begin(scene.settled.set, scene.disturbed.set)
    assert scene.second.state == "ended"
    assert not scene.is_marked


def test_what_is_refused_is_said_and_not_loaded(
    told: ServingSettings, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(told, refused="there is no key")
    assert not scene.second.begin(scene.settled.set, scene.disturbed.set)
    assert scene.second.state == "failed"
    assert "there is no key" in caplog.text


def held_in_loading(
    told: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> tuple[Scene, threading.Event]:
    """Return a scene in which the second model is being loaded until the event is set."""
    scene, gate = Scene(told), threading.Event()

    def load(_artifact: Artifact, *, trust_pickle: bool) -> Model:
        assert gate.wait(20)
        return Odd(raising)

    monkeypatch.setattr(module, "load_model", load)
    assert scene.second.begin(scene.settled.set, scene.disturbed.set)
    return scene, gate


def test_one_that_is_not_loaded_in_time_is_given_up(
    told: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, gate = held_in_loading(told, monkeypatch)
    later = time.monotonic() + 1000
    monkeypatch.setattr(module, "monotonic", lambda: later)
    scene.second.sweep()
    assert scene.second.state == "failed"
    assert not scene.settled.is_set(), "its thread goes on taking time from requests"
    gate.set()
    assert scene.settled.wait(20)


def test_the_mark_stays_while_it_is_loaded(
    told: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load may be why the process is told to end."""
    scene, gate = held_in_loading(told, monkeypatch)
    until_marked = time.monotonic() + 20
    while not scene.is_marked and time.monotonic() < until_marked:
        scene.settled.wait(0.01)
    scene.second.stop()
    assert scene.is_marked
    gate.set()
    assert scene.settled.wait(20)


def test_it_is_let_go_when_memory_runs_out(scene: Scene) -> None:
    second = scene.begun()
    scene.cell.left = 1 << 20
    second._looked_at = 0.0
    second.earn(1, 10.0)
    assert not second.affords(1, 0.001)
    assert (second.state, scene.is_marked) == ("noMemory", False)


def test_one_that_holds_up_requests_again_and_again_is_given_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = scene.begun()
    monkeypatch.setattr(module, "LONGEST_SECONDS", -1.0)
    second._judge_time(0.1)
    assert second.state == "comparing"
    second._judge_time(0.1)
    assert second.state == "failed"


def test_one_that_hangs_disturbs_while_it_takes_cpu(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, binary: Stored
) -> None:
    second = scene.begun()
    scene.compare(binary.rows[:1])
    now = [time.monotonic()]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    second.give_up()
    assert (second.state, scene.disturbed.is_set()) == ("failed", True)

    def after(seconds: float, taken: float | None) -> tuple[bool, bool]:
        scene.settled.clear()
        scene.disturbed.clear()
        now[0] += seconds
        scene.cell.taken = taken
        second.sweep()
        return scene.disturbed.is_set(), scene.settled.is_set()

    assert after(1.0, 0.9) == (False, False), "not known yet"
    assert after(1.5, 2.3) == (True, False)
    assert after(2.5, 2.31) == (False, True)
    assert after(2.5, 4.0) == (True, False)
    assert after(2.5, None) == (False, True), "it has ended"
    assert after(2.5, 5.0) == (False, False)


def test_a_drain_compares_nothing_more(scene: Scene) -> None:
    second = scene.begun()
    second.earn(1, 10.0)
    second.rest()
    assert not second.affords(1, 1.0)


def test_a_scratch_that_cannot_be_written_is_said(
    told: ServingSettings, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(told)
    scene.second._marker = Marker(Path("/proc/nowhere"))
    with caplog.at_level(logging.WARNING):
        assert scene.begun().state == "failed"
    assert "/proc/nowhere" in caplog.text


def test_other_inputs_are_not_comparable(binary: Stored) -> None:
    check_pairable(binary.signature, binary.signature)
    first = binary.signature.inputs[0]
    for change in ({"datatype": "BYTES"}, {"shape": [5]}):
        changed = binary.signature.model_copy(update={"inputs": [first.model_copy(update=change)]})
        with pytest.raises(ArtifactRefused):
            check_pairable(binary.signature, changed)
    lenient = first.model_copy(update={"missing_allowed": True})
    with pytest.raises(ArtifactRefused, match="may be missing"):
        check_pairable(binary.signature.model_copy(update={"inputs": [lenient]}), binary.signature)
