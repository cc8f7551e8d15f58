"""Counts read from Prometheus are those that scrapes of the pods would have given."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.totals import total
from tests.unit.wire import Wire

from trimtab.contract import metrics
from trimtab.contract.json_bounds import JsonBounds
from trimtab.telemetry.checkpoint import decode, encode
from trimtab.telemetry.credentials import Readers
from trimtab.telemetry.port import Backend, NoDataReason, Target
from trimtab.telemetry.scraped import ScrapedTelemetry

KEY = "shop/digits"
URL = "http://prometheus:9090"
T0 = 1_800_000_000.0
LABELS = {"model": "m", "version": "v", "digest": "d", "baseline": "b", "class": "a"}


class Clock:
    def __init__(self) -> None:
        self.now = T0
        self.steady = 0.0
        """What no setting of the clock moves."""

    def __call__(self) -> float:
        return self.now


class Server:
    """Prometheus over samples that a test puts in: (pod, time) -> (process start, rows)."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ahead = 0.0
        """Of the operator's clock."""
        self.samples: dict[str, list[tuple[float, float, float]]] = {}
        self.status = 200
        self.warnings: list[str] = []
        self.requests: list[httpx.Request] = []

    def put(self, pod: str, at: float, start: float, rows: float) -> None:
        self.samples.setdefault(pod, []).append((at, start, rows))

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        query = parse_qs(request.content.decode())["query"][0]
        reach = float(query.rpartition("[")[2].removesuffix("ms]")) / 1000
        result: list[dict[str, Any]] = []
        for pod, samples in self.samples.items():
            if pod not in query.replace("\\", ""):
                continue
            now = self.clock.now + self.ahead
            seen = [s for s in samples if now - reach < s[0] <= now]
            if not seen:
                continue
            source = {"namespace": "shop", "pod": pod, "instance": "10.0.0.1:9090"}
            result.append(
                {
                    "metric": {"__name__": metrics.PREDICTED, **LABELS, **source},
                    "values": [[at, str(rows)] for at, _, rows in seen],
                }
            )
            result.append(
                {
                    "metric": {"__name__": metrics.PROCESS_START, **source},
                    "values": [[at, str(start)] for at, start, _ in seen],
                }
            )
        body = {
            "status": "success",
            "warnings": self.warnings,
            "data": {"resultType": "matrix", "result": result},
        }
        return httpx.Response(self.status, json=body)


class Setting:
    """Telemetry with a backend, and looks when a test says so."""

    def __init__(self, folder: Path = Path("/nonexistent"), **backend: Any) -> None:
        self.clock = Clock()
        self.server = Server(self.clock)
        self.folder = folder
        self.backend = Backend(URL, interval_seconds=15.0, **backend)
        self.telemetry = self.make()

    def make(self) -> ScrapedTelemetry:
        readers = Readers(self.folder, Wire(self.server.answer))
        made = ScrapedTelemetry(
            lambda _key: None, now=self.clock, readers=readers, clock=lambda: self.clock.steady
        )
        made.watch_windows(KEY, 600.0)
        return made

    def targets(self, *pods: str, life: int = 1) -> None:
        found = [Target(f"{pod}/{life}", pod, "r1", "http://10.0.0.1:1", 15.0) for pod in pods]
        self.telemetry.set_targets(KEY, found, self.backend)

    async def look(self, after: float = 15.0) -> None:
        self.clock.now += after
        self.clock.steady += after
        looks = self.telemetry._looks
        await looks._look(KEY, Target(KEY, "", "", "", 15.0))

    def rows(self) -> float:
        return total(self.telemetry.processes(KEY), metrics.PREDICTED)

    def windowed(self) -> dict[float, float]:
        return {w.start: sum(w.counts.values()) for w in self.telemetry.windows(KEY)}

    def problem(self, pod: str) -> NoDataReason | None:
        for process in self.telemetry.processes(KEY):
            if process.pod == pod:
                found = process.no_data(self.clock.now)
                return found.reason if found is not None else None
        raise AssertionError(pod)


async def test_samples_count_once_however_often_they_are_seen() -> None:
    setting = Setting()
    setting.targets("a")
    for step in range(1, 5):
        setting.server.put("a", T0 + 10 * step, T0 + 1, 10 * step)
        await setting.look(10)
        await setting.look(0)
    assert setting.rows() == 40
    assert setting.windowed() == {T0: 40}
    assert setting.problem("a") is None


async def test_what_prometheus_saw_of_a_pod_before_its_end_is_counted_after_it() -> None:
    setting = Setting()
    setting.targets("a", "b")
    setting.server.put("a", T0 + 10, T0 + 1, 5)
    setting.server.put("b", T0 + 10, T0 + 1, 5)
    await setting.look()
    setting.server.put("a", T0 + 20, T0 + 1, 9)
    setting.targets("b")
    await setting.look()
    assert setting.rows() == 14
    await setting.look(60)
    setting.server.put("a", T0 + 89, T0 + 1, 100)
    await setting.look()
    assert setting.rows() == 14  # asked for no more


async def test_a_container_that_began_anew_counts_both_lives() -> None:
    setting = Setting()
    setting.targets("a")
    setting.server.put("a", T0 + 10, T0 + 1, 5)
    await setting.look()
    setting.server.put("a", T0 + 20, T0 + 1, 8)
    setting.server.put("a", T0 + 30, T0 + 25, 2)
    setting.targets("a", life=2)
    await setting.look(20)
    assert setting.rows() == 10


async def test_an_outage_of_the_operator_loses_nothing_that_prometheus_has() -> None:
    setting = Setting()
    setting.targets("a", "gone")
    for pod in ("a", "gone"):
        setting.server.put(pod, T0 + 10, T0 + 1, 5)
    await setting.look()
    saved = setting.telemetry.checkpoint(KEY)
    assert saved is not None
    for minute in range(1, 26):
        setting.server.put("a", T0 + 60 * minute, T0 + 1, 5 + 4 * minute)
    setting.server.put("gone", T0 + 60, T0 + 1, 7)
    setting.clock.now = T0 + 1510
    setting.telemetry = setting.make()
    setting.telemetry.restore(decode(encode(saved), KEY))
    setting.targets("a")
    await setting.look(0)
    assert setting.rows() == 5 + 4 * 25 + 7
    whole = setting.windowed()
    # Ten minutes each: what lies over the end of a window is split where a sample was taken.
    assert whole[T0 + 600] == 40
    assert sum(whole.values()) == setting.rows()


async def test_gates_see_readings_around_the_moment_up_to_which_all_pods_were_read() -> None:
    """Each pod is scraped at a phase of its own; what it counted since is not compared."""
    setting = Setting()
    setting.targets("a", "b")
    for at in (1, 16, 31):
        setting.server.put("a", T0 + at, T0 + 1, at)
        setting.server.put("b", T0 + at + 9, T0 + 1, at + 9)
    await setting.look(after=42)
    told = {
        process.pod: (
            sum(process.series.values()),
            sum(process.settled.values()),
            sum((process.ahead or {}).values()),
            process.settled_at,
        )
        for process in setting.telemetry.processes(KEY)
    }
    assert told == {"a": (31, 31, 31, T0 + 31), "b": (40, 25, 40, T0 + 25)}
    await setting.look(0)  # nothing new
    assert [sum(p.settled.values()) for p in setting.telemetry.processes(KEY)] == [31, 25]


@pytest.mark.parametrize(
    ("break_it", "reason", "words"),
    [
        (lambda s: setattr(s, "status", 503), NoDataReason.BACKEND_DOWN, "HTTP 503"),
        (
            lambda s: s.warnings.append("store gateway is away"),
            NoDataReason.BACKEND_DOWN,
            "partial answer: store gateway is away",
        ),
        (lambda s: s.samples.clear(), NoDataReason.NO_SERIES, "no series of this pod"),
        (
            lambda s: s.put("a", T0 + 40, T0 + 1, float("nan")),
            NoDataReason.NOT_A_NUMBER,
            "is nan",
        ),
    ],
    ids=["down", "partial", "nothing", "nan"],
)
async def test_what_is_no_data_is_never_a_value(
    break_it: Callable[[Server], None], reason: NoDataReason, words: str
) -> None:
    setting = Setting()
    setting.targets("a")
    setting.server.put("a", T0 + 10, T0 + 1, 5)
    await setting.look()
    break_it(setting.server)
    for _ in range(5):
        await setting.look()
    (process,) = setting.telemetry.processes(KEY)
    assert setting.problem("a") is reason
    found = process.no_data(setting.clock.now)
    assert found is not None
    assert words in found.detail
    assert setting.rows() == 5


async def test_samples_that_do_not_come_any_more_are_stale() -> None:
    setting = Setting()
    setting.targets("a")
    setting.server.put("a", T0 + 10, T0 + 1, 5)
    await setting.look()
    for _ in range(3):
        await setting.look(15)
    assert setting.problem("a") is NoDataReason.STALE


async def test_samples_of_a_time_to_come_are_not_taken_and_poison_nothing() -> None:
    setting = Setting()
    setting.targets("a")
    setting.server.put("a", T0 + 10, T0 + 1, 5)
    await setting.look()
    setting.server.ahead = 900.0
    for at in (25, 40):  # its clock is wrong for two scrapes
        setting.server.put("a", T0 + 900 + at, T0 + 1, 100)
        await setting.look()
    assert setting.rows() == 5
    setting.server.ahead = 0.0
    await setting.look(30)
    assert setting.problem("a") is NoDataReason.STALE
    (process,) = setting.telemetry.processes(KEY)
    found = process.no_data(setting.clock.now)
    assert found is not None
    assert "ahead of the operator's clock" in found.detail
    setting.server.put("a", T0 + 85, T0 + 1, 9)
    await setting.look()
    assert setting.rows() == 9
    assert setting.problem("a") is None


@pytest.mark.parametrize("ahead", [20.0, 300.0, 86_400.0])
async def test_a_clock_that_is_always_ahead_is_borne_as_long_as_samples_move_on(
    ahead: float,
) -> None:
    setting = Setting()
    setting.server.ahead = ahead
    setting.targets("a")
    for step in range(1, 10):
        setting.server.put("a", T0 + ahead + 15 * step, T0 + 1, step)
        await setting.look()
    assert setting.rows() == 9
    assert setting.problem("a") is None
    setting.server.ahead = 0.0  # put right: a database takes no older samples
    for _ in range(4):
        await setting.look()
    assert setting.problem("a") is not None


async def test_one_sample_ahead_that_is_seen_again_and_again_is_never_taken() -> None:
    setting = Setting()
    setting.server.ahead = 900.0
    setting.targets("a")
    setting.server.put("a", T0 + 900, T0 + 1, 5)
    for _ in range(20):
        await setting.look(5)
        assert setting.rows() == 0


async def test_a_clock_of_the_operator_that_was_set_back_hides_no_silence() -> None:
    setting = Setting()
    setting.targets("a")
    setting.server.put("a", T0 + 10, T0 + 1, 5)
    await setting.look()
    setting.clock.now -= 3600
    setting.server.status = 503
    for _ in range(4):
        await setting.look()
    assert setting.problem("a") is NoDataReason.BACKEND_DOWN


async def test_many_pods_are_asked_for_in_several_queries() -> None:
    setting = Setting()
    pods = [f"pod-{number:03}" for number in range(45)]
    setting.targets(*pods)
    for pod in pods:
        setting.server.put(pod, T0 + 10, T0 + 1, 1)
    await setting.look()
    assert len(setting.server.requests) == 3
    assert setting.rows() == 45


async def test_too_much_for_one_answer_is_asked_for_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """20 pods hold 40 series and 80 samples of a long outage; an answer may hold 40 lists."""
    few = JsonBounds(containers=40, values=10_000, texts=10_000)
    monkeypatch.setattr("trimtab.telemetry.prometheus_answer.BOUNDS", few)
    setting = Setting()
    pods = [f"pod-{number:03}" for number in range(20)]
    setting.targets(*pods)
    for pod in pods:
        setting.server.put(pod, T0 + 10, T0 + 1, 1)
    await setting.look()
    assert setting.rows() == 20
    for pod in pods:
        for at in range(20, 900, 30):
            setting.server.put(pod, T0 + at, T0 + 1, at)
    await setting.look(after=900)
    assert setting.rows() == 20 * 890
    assert setting.problem("pod-000") is None


async def test_too_much_for_one_pod_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    few = JsonBounds(containers=3, values=10_000, texts=10_000)
    monkeypatch.setattr("trimtab.telemetry.prometheus_answer.BOUNDS", few)
    setting = Setting()
    setting.targets("a")
    setting.server.put("a", T0 + 10, T0 + 1, 1)
    await setting.look()
    assert setting.problem("a") is NoDataReason.BACKEND_DOWN
    assert len(setting.server.requests) <= 2


async def test_labels_choose_one_of_several_scrapes_and_a_bad_one_is_said() -> None:
    setting = Setting(labels=(("job", "models"),))
    setting.targets("a")
    await setting.look()
    query = parse_qs(setting.server.requests[0].content.decode())["query"][0]
    assert 'job="models"' in query
    broken = Setting(labels=(("a-b", "models"),))
    broken.targets("a")
    await broken.look()
    (process,) = broken.telemetry.processes(KEY)
    found = process.no_data(broken.clock.now)
    assert found is not None
    assert "metrics.prometheus.labels: 'a-b' is no label name" in found.detail
    assert broken.server.requests == []


async def test_a_change_of_the_source_goes_on_counting() -> None:
    setting = Setting()
    setting.targets("a")
    setting.server.put("a", T0 + 10, T0 + 1, 5)
    await setting.look()
    other = Backend("http://other:9090")
    found = [Target("a/1", "a", "r1", "http://10.0.0.1:1", 15.0)]
    setting.telemetry.set_targets(KEY, found, other)
    setting.server.put("a", T0 + 25, T0 + 1, 9)
    await setting.look()
    assert str(setting.server.requests[-1].url).startswith("http://other:9090/")
    assert setting.rows() == 9


# --- credentials --------------------------------------------------------------------------------


def secret(folder: Path, **files: str) -> None:
    place = folder / "mimir"
    place.mkdir(exist_ok=True)
    for name, text in files.items():
        (place / name.replace("_", ".")).write_text(text)


async def asked(setting: Setting) -> httpx.Headers:
    setting.targets("a")
    await setting.look()
    return setting.server.requests[-1].headers


async def test_a_token_and_a_tenant_are_sent(tmp_path: Path) -> None:
    secret(tmp_path, url=URL, token="s3cret", orgId="team-a")
    headers = await asked(Setting(tmp_path, secret="mimir"))
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["X-Scope-OrgID"] == "team-a"


async def test_a_changed_password_is_taken_up(tmp_path: Path) -> None:
    secret(tmp_path, url=URL + "/", username="me", password="old")
    setting = Setting(tmp_path, secret="mimir")
    assert _basic(await asked(setting)) == "me:old"
    secret(tmp_path, password="new")
    await setting.look()
    assert _basic(setting.server.requests[-1].headers) == "me:new"


def _basic(headers: httpx.Headers) -> str:
    return base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, "is not mounted into the operator: name it in prometheus.secrets"),
        ({"token": "x"}, "its key url must name this URL"),
        ({"url": "https://elsewhere", "token": "x"}, "its key url must name this URL"),
        ({"url": URL, "ca_crt": "nonsense"}, "ca.crt holds no certificate"),
    ],
)
async def test_credentials_that_do_not_fit_are_never_sent(
    tmp_path: Path, files: dict[str, str] | None, words: str
) -> None:
    if files is not None:
        secret(tmp_path, **files)
    setting = Setting(tmp_path, secret="mimir")
    setting.targets("a")
    await setting.look()
    (process,) = setting.telemetry.processes(KEY)
    found = process.no_data(setting.clock.now)
    assert found is not None
    assert words in found.detail
    assert setting.server.requests == []


@pytest.mark.parametrize("name", ["../mimir", ".hidden", "a/b"])
async def test_a_secret_s_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    secret(tmp_path, url=URL, token="x")
    found = await Readers(tmp_path / "mimir").reader(URL, name)
    assert "is not mounted" in str(found)


# --- property -----------------------------------------------------------------------------------


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["rows", "sample", "look", "container", "pod", "operator", "restored"]),
        st.integers(0, 1),
        st.integers(1, 9),
    ),
    max_size=40,
)


_TWICE = [("sample", 0, 1), ("rows", 0, 1), ("sample", 0, 1), ("operator", 0, 1)]


@given(STEPS)
@example([*_TWICE, ("container", 0, 1)])
@example([*_TWICE, ("restored", 0, 1), ("sample", 0, 1)])
@example([*_TWICE, ("rows", 0, 2), ("restored", 0, 1), ("look", 0, 1), ("sample", 0, 1)])
def test_the_sum_is_what_prometheus_saw(steps: list[tuple[str, int, int]]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens in between: the sum is that of the last samples of all lives."""
    setting = Setting()
    names, lives = ["p0", "q0"], [1, 1]
    starts, rows = [T0 + 1.0, T0 + 2.0], [0, 0]
    seen: dict[tuple[str, float], int] = {}

    def targets() -> None:
        found = [
            Target(f"{name}/{life}", name, "r1", "http://x", 15.0)
            for name, life in zip(names, lives, strict=True)
        ]
        setting.telemetry.set_targets(KEY, found, setting.backend)

    def sample(which: int) -> None:
        setting.clock.now += 1
        setting.server.put(names[which], setting.clock.now, starts[which], rows[which])
        seen[names[which], starts[which]] = rows[which]

    targets()
    setting.clock.now += 3
    for what, which, amount in steps:
        if what == "rows":
            rows[which] += amount
        elif what == "sample":
            sample(which)
        elif what == "look":
            await setting.look(1)
        elif what == "container":
            setting.clock.now += 2
            lives[which] += 1
            starts[which], rows[which] = setting.clock.now, 0
            targets()
        elif what == "pod":
            setting.clock.now += 2
            names[which] += "x"
            starts[which], rows[which] = setting.clock.now, 0
            targets()
        else:
            # `restored`: the container ends while no operator runs.
            await setting.look(0)
            saved = setting.telemetry.checkpoint(KEY)
            assert saved is not None
            before = setting.windowed()
            setting.telemetry = setting.make()
            setting.telemetry.restore(decode(encode(saved), KEY))
            if what == "restored":
                setting.clock.now += 2
                lives[which] += 1
                starts[which], rows[which] = setting.clock.now, 0
            targets()
            await setting.look(0)
            assert setting.windowed() == before
    await setting.look(1)
    assert sum(setting.windowed().values()) == sum(seen.values())
