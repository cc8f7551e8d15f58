"""Real scrapes over loopback: pods that refuse, hang, lie, flood and restart."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from prometheus_client import REGISTRY
from tests.patience import slowest, stretched
from tests.unit.totals import total

from trimtab.contract import metrics
from trimtab.telemetry.exposition import Exposition
from trimtab.telemetry.port import NoData, NoDataReason, Target
from trimtab.telemetry.prometheus_answer import Sampled
from trimtab.telemetry.scrape import Schedule, Scraper, next_due
from trimtab.telemetry.scraped import ScrapedTelemetry

KEY = "shop/digits"
INFO = 'trimtab_model_info{model="m",version="v",digest="d",baseline="b"} 1\n'
ANSWERED = 'trimtab_requests_total{model="m",version="v",code="200"}'
GOOD = f"{INFO}{ANSWERED} 5\nprocess_start_time_seconds 2000\n"
OWN = {"model": "m", "version": "v", "digest": "d", "baseline": "b"}
REQUESTS = ("trimtab_requests_total", frozenset({**OWN, "code": "200"}.items()))
NOW = 2001.5

Writer = asyncio.StreamWriter
Behaviour = Callable[[Writer], Awaitable[None]]


async def answer(writer: Writer, body: bytes, status: str = "200 OK") -> None:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


class Pod:
    """An HTTP server on loopback whose `behaviour` answers one request; counts connections."""

    def __init__(self) -> None:
        self.body = GOOD.encode()
        self.behaviour: Behaviour = self.good
        self.requests = 0
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def good(self, writer: Writer) -> None:
        await answer(writer, self.body)

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await reader.readuntil(b"\r\n\r\n") and not writer.is_closing():
                    self.requests += 1
                    await self.behaviour(writer)
        finally:
            writer.transport.abort()


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    own = Pod()
    server = await asyncio.start_server(own.serve, "127.0.0.1", 0)
    own.port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    yield own
    server.close()
    for task in own.tasks:
        task.cancel()
    await asyncio.gather(*own.tasks, return_exceptions=True)
    await asyncio.sleep(0)  # transports close in the loop's next turn


@pytest.fixture
async def scraper() -> AsyncIterator[Scraper]:
    own = Scraper(size_limit=50_000, now=lambda: NOW)
    yield own
    await own.close()


def target_of(pod: Pod, process: str = "a", interval: float = 1.0, timeout: float = 0.3) -> Target:
    url = f"http://127.0.0.1:{pod.port}/metrics"  # type: ignore[attr-defined]
    return Target(process, "pod-a", "r1", url, interval, timeout)


def left_out() -> float:
    return REGISTRY.get_sample_value("trimtab_operator_scrapes_left_out_total") or 0.0


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(stretched(seconds)):
        while not condition():  # noqa: ASYNC110 - what is polled knows no events
            await asyncio.sleep(0.005)


async def test_a_good_pod_keeps_one_connection(pod: Pod, scraper: Scraper) -> None:
    for _ in range(3):
        found = await scraper.scrape(target_of(pod))
        info = ("trimtab_model_info", frozenset(OWN.items()))
        assert found == Sampled(NOW, Exposition({info: 1.0, REQUESTS: 5.0}, 2000.0))
    assert (pod.requests, pod.connections) == (3, 1)


async def hang(writer: Writer) -> None:
    await asyncio.sleep(60)


async def drip(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n")
    for _ in range(1000):
        writer.write(b"# ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(1000):
        writer.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")  # 10 MB in all
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def hang_up(writer: Writer) -> None:
    writer.close()


def says(body: str, status: str = "200 OK") -> Behaviour:
    async def behaviour(writer: Writer) -> None:
        await answer(writer, body.encode(), status)

    return behaviour


@pytest.mark.parametrize(
    ("behaviour", "reason", "detail"),
    [
        pytest.param(hang, NoDataReason.BACKEND_DOWN, "no answer within 0.3 s", id="hangs"),
        pytest.param(drip, NoDataReason.BACKEND_DOWN, "no answer within 0.3 s", id="slow_body"),
        pytest.param(flood, NoDataReason.BACKEND_DOWN, "more than 50000 bytes", id="ten_megabytes"),
        pytest.param(hang_up, NoDataReason.BACKEND_DOWN, "disconnected", id="hangs_up"),
        pytest.param(
            says("<html>"), NoDataReason.BACKEND_DOWN, "not Prometheus text", id="garbage"
        ),
        pytest.param(
            says("moved", "301 Moved"), NoDataReason.BACKEND_DOWN, "HTTP 301", id="redirect"
        ),
        pytest.param(says("", "503 No"), NoDataReason.BACKEND_DOWN, "HTTP 503", id="unavailable"),
        pytest.param(
            says("trimtab_a NaN"), NoDataReason.NOT_A_NUMBER, "trimtab_a", id="not_a_number"
        ),
    ],
)
async def test_a_bad_pod_gives_a_reason(
    pod: Pod, scraper: Scraper, behaviour: Behaviour, reason: NoDataReason, detail: str
) -> None:
    pod.behaviour = behaviour
    began = time.monotonic()
    found = await scraper.scrape(target_of(pod))
    took = time.monotonic() - began
    assert isinstance(found, NoData)
    assert found.reason is reason
    assert detail in found.detail
    assert took < 2 * slowest(took)


async def test_a_port_that_refuses(scraper: Scraper) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    target = Target("a", "pod-a", "r1", f"http://127.0.0.1:{port}/metrics", 1.0)
    found = await scraper.scrape(target)
    assert isinstance(found, NoData)
    assert found.reason is NoDataReason.BACKEND_DOWN
    assert found.is_silent


@pytest.mark.parametrize(
    ("behaviour", "is_silent"),
    [
        pytest.param(hang, True, id="hangs"),
        pytest.param(hang_up, True, id="hangs_up"),
        pytest.param(drip, False, id="slow_body"),
        pytest.param(flood, False, id="ten_megabytes"),
        pytest.param(says("", "503 No"), False, id="unavailable"),
        pytest.param(says("<html>"), False, id="garbage"),
    ],
)
async def test_a_port_that_answers_badly_is_not_silent(
    pod: Pod, scraper: Scraper, behaviour: Behaviour, is_silent: bool
) -> None:
    pod.behaviour = behaviour
    found = await scraper.scrape(target_of(pod))
    assert isinstance(found, NoData)
    assert found.is_silent is is_silent


async def test_a_scrape_that_takes_longer_than_its_interval_counts(pod: Pod) -> None:
    """What comes late is evidence; only so many are left out as the one under way takes."""
    release = asyncio.Event()

    async def late(writer: Writer) -> None:
        await release.wait()
        await answer(writer, pod.body)

    pod.behaviour = late
    before = left_out()
    clock = [2003.0]
    async with running(lambda: clock[0]) as telemetry:
        telemetry.set_targets(KEY, [target_of(pod, interval=0.02, timeout=60)])
        await until(lambda: telemetry.losses(KEY).missed >= 2)
        assert pod.requests == 1
        assert telemetry.processes(KEY)[0].problem is None
        clock[0] = 2004.0
        release.set()
        await until(lambda: total(telemetry.processes(KEY), REQUESTS[0]) == 5)
        (process,) = telemetry.processes(KEY)
        assert (process.sampled_at, process.problem) == (2004.0, None)
        assert left_out() - before >= 2


@pytest.mark.parametrize(
    ("took", "is_seen"),
    [pytest.param(0.35, False, id="in_time"), pytest.param(9.0, True, id="held_up")],
)
async def test_a_time_out_that_fires_late_proves_nothing(
    pod: Pod, scraper: Scraper, monkeypatch: pytest.MonkeyPatch, took: float, is_seen: bool
) -> None:
    async def hang_first(writer: Writer) -> None:
        await (hang if pod.requests == 1 else pod.good)(writer)

    pod.behaviour = hang_first
    clock = iter([100.0, 100.0 + took, 200.0, 200.0])
    monkeypatch.setattr("trimtab.telemetry.scrape._monotonic", lambda: next(clock))
    found = await scraper.scrape(target_of(pod, timeout=0.3))
    assert isinstance(found, Sampled) is is_seen


async def test_an_operator_that_is_held_up_again_and_again_says_so_of_itself(
    pod: Pod, scraper: Scraper, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.behaviour = hang
    clock = itertools.cycle([100.0, 109.0])
    monkeypatch.setattr("trimtab.telemetry.scrape._monotonic", lambda: next(clock))
    found = await scraper.scrape(target_of(pod, timeout=0.1))
    assert isinstance(found, NoData)
    assert found.reason is NoDataReason.STALE
    assert "the operator was held up" in found.detail


async def test_a_sample_has_the_time_of_the_answer_not_of_its_reading(pod: Pod) -> None:
    clock = [2003.0]
    slow_reader = Scraper(now=lambda: clock[0])
    parse = slow_reader._parse

    async def read_slowly(body: bytes) -> Exposition | NoData:
        clock[0] += 4
        return await parse(body)

    slow_reader._parse = read_slowly  # type: ignore[method-assign]
    found = await slow_reader.scrape(target_of(pod))
    await slow_reader.close()
    assert isinstance(found, Sampled)
    assert found.at == 2003.0


async def test_a_large_answer_is_parsed_off_the_loop(pod: Pod) -> None:
    own = 'model="m",version="v",bin="0"'
    lines = [f'trimtab_feature_bin_total{{{own},feature="f{k}"}} {k}' for k in range(7999)]
    pod.body = "\n".join([*lines, INFO]).encode()
    large = Scraper()
    found = await large.scrape(target_of(pod, timeout=10))
    await large.close()
    assert isinstance(found, Sampled)
    assert len(found.sample.values) == 8000


async def test_a_connection_closed_meanwhile_is_opened_again(pod: Pod, scraper: Scraper) -> None:
    async def answer_and_close(writer: Writer) -> None:
        await answer(writer, GOOD.encode())
        writer.close()

    pod.behaviour = answer_and_close
    for _ in range(3):
        assert isinstance(await scraper.scrape(target_of(pod)), Sampled)


@contextlib.asynccontextmanager
async def running(now: Callable[[], float]) -> AsyncIterator[ScrapedTelemetry]:
    """Telemetry that scrapes; `notified` on it lists the notifications."""
    notified: list[str] = []
    telemetry = ScrapedTelemetry(notified.append, now=now)
    telemetry.notified = notified  # type: ignore[attr-defined]
    task = asyncio.create_task(telemetry.run())
    yield telemetry
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_scrapes_count_notify_and_outlive_the_pod(pod: Pod) -> None:
    async with running(lambda: 2005.0) as telemetry:
        notified: list[str] = telemetry.notified  # type: ignore[attr-defined]
        telemetry.set_targets(KEY, [])
        telemetry.watch_windows(KEY, 60)
        telemetry.set_targets(KEY, [target_of(pod, interval=0.05)])
        await until(lambda: len(notified) >= 2)
        assert set(notified) == {KEY}
        pod.body = GOOD.replace(" 5", " 8").encode()
        await until(lambda: total(telemetry.processes(KEY), REQUESTS[0]) == 8)
        pod.body = GOOD.replace(" 5", " 2").replace("2000", "2004").encode()  # restarted
        await until(lambda: total(telemetry.processes(KEY), REQUESTS[0]) == 10)
        pod.behaviour = says("trimtab_a NaN")
        await until(lambda: telemetry.processes(KEY)[0].problem is not None)
        telemetry.set_targets(KEY, [])
        (process,) = telemetry.processes(KEY)
        assert process.is_gone
        assert process.series[REQUESTS] == 10
        assert total(telemetry.processes(KEY), REQUESTS[0]) == 10
        assert telemetry.losses(KEY).terminations == 1
        telemetry.forget(KEY)
        assert telemetry.processes(KEY) == ()


async def test_times_that_a_pod_writes_into_its_page_are_not_believed(pod: Pod) -> None:
    async with running(lambda: 2005.0) as telemetry:
        telemetry.set_targets(KEY, [])
        telemetry.set_targets(KEY, [target_of(pod, interval=0.05)])
        for count, time in ((5, "9999999999999"), (8, "-5"), (9, "")):
            line = f"{ANSWERED} {count} {time}".rstrip()
            pod.body = f"{line}\n{INFO}process_start_time_seconds 2000 {time}\n".encode()

            def is_counted(wanted: int = count) -> bool:
                return total(telemetry.processes(KEY), REQUESTS[0]) == wanted

            await until(is_counted)
            (process,) = telemetry.processes(KEY)
            assert process.sampled_at == 2005.0
            assert process.no_data(2005.0) is None


async def test_windows_gather_what_is_scraped_and_are_restored(pod: Pod) -> None:
    async with running(lambda: 1990.0) as telemetry:
        telemetry.watch_windows(KEY, 60)
        telemetry.set_targets(KEY, [target_of(pod, interval=0.05)])
        await until(lambda: bool(telemetry.windows(KEY)))
        (window,) = telemetry.windows(KEY)
        assert (window.start, dict(window.counts)) == (
            1980,
            {(REQUESTS[0], frozenset({("code", "200")})): 5},
        )
        checkpoint = telemetry.checkpoint(KEY)
        assert checkpoint is not None
        telemetry.forget(KEY)
        assert telemetry.windows(KEY) == ()
        assert telemetry.checkpoint(KEY) is None
        telemetry.restore(checkpoint)
        assert telemetry.windows(KEY) == (window,)


async def test_a_ledger_that_begins_after_a_restart_knows_what_was_counted_before(
    pod: Pod,
) -> None:
    labels = {"digest": "d", "predicted": "1", "actual": "1", "hour": "0"}
    outcomes = ",".join(f'{name}="{value}"' for name, value in labels.items())
    line = f"{metrics.OUTCOMES_BY_HOUR}{{{outcomes}}}"
    pod.body = f"{GOOD}{line} 7\n".encode()
    target = target_of(pod, interval=0.05)
    async with running(lambda: 1990.0) as telemetry:
        telemetry.watch_windows(KEY, 60)
        telemetry.set_targets(KEY, [target])
        await until(lambda: bool(telemetry.windows(KEY)))
        checkpoint = telemetry.checkpoint(KEY)
        assert checkpoint is not None
        assert checkpoint.hours is None
    pod.body = f"{GOOD}{line} 9\n".encode()
    async with running(lambda: 1990.0) as telemetry:
        telemetry.restore(checkpoint)
        telemetry.watch_labels(KEY, 10)
        assert sum(telemetry.labels_by_hour(KEY, "d")[0].values()) == 7
        telemetry.set_targets(KEY, [target])
        await until(lambda: sum(telemetry.labels_by_hour(KEY, "d")[0].values()) == 9)


async def test_a_hanging_pod_misses_scrapes_and_holds_up_nobody(pod: Pod) -> None:
    slow, quick = target_of(pod, "slow", 0.05), target_of(pod, "quick", 0.05)
    seen: dict[str, int] = {"slow": 0, "quick": 0}
    missed: list[str] = []
    release = asyncio.Event()

    async def scrape(key: str, target: Target) -> None:
        seen[target.process] += 1
        if target is slow:
            await release.wait()

    schedule = Schedule(scrape, lambda key, target: missed.append(target.process))
    schedule.set_targets(KEY, [slow, quick])
    task = asyncio.create_task(schedule.run())
    await until(lambda: seen["quick"] >= 4 and len(missed) >= 2)
    assert (seen["slow"], set(missed)) == (1, {"slow"})
    schedule.set_targets(KEY, [])
    release.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_target_that_changes_during_its_scrape_is_not_scraped_twice_at_once() -> None:
    under_way: list[str] = []
    missed: list[str] = []
    most = 0
    release = asyncio.Event()

    async def scrape(key: str, target: Target) -> None:
        nonlocal most
        under_way.append(target.revision)
        most = max(most, len(under_way))
        await release.wait()
        under_way.remove(target.revision)

    def of(revision: str) -> Target:
        return Target("p", "pod", revision, "http://127.0.0.1:1/", 0.02)

    schedule = Schedule(scrape, lambda key, target: missed.append(target.revision))
    schedule.set_targets(KEY, [of("r1")])
    task = asyncio.create_task(schedule.run())
    await until(lambda: under_way == ["r1"])
    schedule.set_targets(KEY, [of("r2")])
    await until(lambda: "r2" in missed)
    release.set()
    await until(lambda: not under_way)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert most == 1


async def test_concurrency_is_bounded() -> None:
    under_way = most = done = 0

    async def scrape(key: str, target: Target) -> None:
        nonlocal under_way, most, done
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.002)
        under_way -= 1
        done += 1

    schedule = Schedule(scrape, lambda key, target: None, concurrency=3)
    targets = [Target(f"p{k}", "pod", "r1", "http://127.0.0.1:1/", 0.1) for k in range(40)]
    schedule.set_targets(KEY, targets)
    task = asyncio.create_task(schedule.run())
    await until(lambda: done >= 80)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert most <= 3


async def test_unchanged_targets_keep_their_place() -> None:
    at: list[float] = []
    loop = asyncio.get_running_loop()

    async def scrape(key: str, target: Target) -> None:
        at.append(loop.time())

    schedule = Schedule(scrape, lambda key, target: None)
    target = Target("p", "pod", "r1", "http://127.0.0.1:1/", 0.1)
    schedule.set_targets(KEY, [target])
    task = asyncio.create_task(schedule.run())
    while len(at) < 4:
        schedule.set_targets(KEY, [target])
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    # Each in an interval of its own, however late it is.
    assert len({round(next_due(moment, KEY, target), 6) for moment in at[:4]}) == 4
    assert schedule.is_current(KEY, target)


def test_the_grid_is_even_and_deployments_are_spread_over_it() -> None:
    target = Target("uid", "p", "r", "http://x/", 10.0)
    keys = [f"shop/d{number}" for number in range(400)]
    first = [next_due(1000.0, key, target) for key in keys]
    assert all(1000 < at <= 1010 for at in first)
    thirds = [sum(1 for at in first if third <= (at - 1000) * 0.3 < third + 1) for third in (0, 1)]
    assert all(90 < count < 180 for count in thirds)
    for key, at in zip(keys, first, strict=True):
        assert next_due(at + 5, key, target) == pytest.approx(at + 10)


async def test_the_pods_of_a_deployment_are_read_in_rounds() -> None:
    rounds: list[tuple[str, list[str]]] = []

    async def scrape(key: str, target: Target) -> None: ...

    schedule = Schedule(
        scrape,
        lambda key, target: None,
        begin=lambda key, targets: rounds.append((key, sorted(t.process for t in targets))),
    )
    for key in ("a/x", "a/y"):
        pods = [Target(f"p{k}", "pod", "r1", "http://127.0.0.1:1/", 0.05) for k in range(3)]
        schedule.set_targets(key, pods)
    task = asyncio.create_task(schedule.run())
    await until(lambda: len(rounds) >= 6)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert {key for key, _ in rounds} == {"a/x", "a/y"}
    assert all(of_round == ["p0", "p1", "p2"] for _, of_round in rounds)
