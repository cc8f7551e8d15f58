"""The work queue against a clock that moves only when told."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.cluster.port import DEPLOYMENTS, Key
from trimtab.reconcile.machine.queue import SHORTEST_WAIT_SECONDS, BackOff, TokenBucket, WorkQueue

A = Key(DEPLOYMENTS, "shop", "a")
B = Key(DEPLOYMENTS, "shop", "b")


@dataclass
class Clock:
    time: float = 100.0

    def __call__(self) -> float:
        return self.time


@dataclass
class Bench:
    clock: Clock = field(default_factory=Clock)
    bucket: TokenBucket | None = None

    def __post_init__(self) -> None:
        self.queue = WorkQueue(
            self.clock,
            bucket=self.bucket,
            chance=lambda: 0.0,
            back_off=BackOff(first=1.0, most=10.0),
        )

    def after(self, seconds: float) -> Key | None:
        self.clock.time += seconds
        return self.queue.take()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_key_added_twice_is_taken_once(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.add(A)
    assert [bench.queue.take(), bench.queue.take()] == [A, None]


def test_keys_come_in_the_order_in_which_they_were_asked_for(bench: Bench) -> None:
    bench.queue.add(B)
    bench.clock.time += 1
    bench.queue.add(A)
    assert [bench.queue.take(), bench.queue.take()] == [B, A]


def test_a_key_in_flight_is_not_taken_again_until_it_is_done(bench: Bench) -> None:
    bench.queue.add(A)
    assert bench.queue.take() == A
    bench.queue.add(A)
    assert bench.queue.take() is None
    bench.queue.done(A)
    assert bench.queue.take() == A


def test_a_key_that_is_done_is_forgotten(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.take()
    bench.queue.done(A)
    assert bench.queue.take() is None
    assert bench.queue.wait_seconds() is None


def test_a_look_again_waits_for_its_time(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.take()
    bench.queue.done(A, look_again=bench.clock() + 30)
    assert bench.queue.wait_seconds() == 30
    assert bench.after(29.9) is None
    assert bench.after(0.1) == A


def test_an_event_comes_before_a_look_again_and_a_later_look_does_not_delay_it(
    bench: Bench,
) -> None:
    bench.queue.add_at(A, bench.clock() + 30)
    bench.queue.add(A)
    bench.queue.add_at(A, bench.clock() + 60)
    assert bench.queue.take() == A


def test_a_look_asked_for_in_flight_is_kept(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.take()
    bench.queue.add_at(A, bench.clock() + 5)
    bench.queue.done(A, look_again=bench.clock() + 30)
    assert bench.queue.wait_seconds() == 5


def test_failures_wait_twice_as_long_each_time_up_to_the_most(bench: Bench) -> None:
    waits = []
    bench.queue.add(A)
    for _ in range(6):
        bench.queue.take()
        bench.queue.failed(A)
        wait = bench.queue.wait_seconds()
        assert wait is not None
        waits.append(wait)
        bench.clock.time += wait
    assert waits == [1, 2, 4, 8, 10, 10]


def test_success_ends_the_row_of_failures(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.take()
    bench.queue.failed(A)
    assert bench.after(1) == A
    assert bench.queue.failures(A) == 1
    bench.queue.done(A, look_again=bench.clock())
    assert bench.queue.failures(A) == 0


def test_an_event_shortens_a_back_off_but_not_to_nothing(bench: Bench) -> None:
    bench.queue.add(A)
    for _ in range(4):
        bench.queue.take()
        bench.queue.failed(A)
        bench.clock.time += 20
    bench.queue.take()
    bench.queue.failed(A)
    bench.queue.add(A)
    assert bench.queue.wait_seconds() == SHORTEST_WAIT_SECONDS


def test_an_event_in_flight_of_a_pass_that_fails_does_not_loop(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.take()
    bench.queue.add(A)
    bench.queue.failed(A)
    assert bench.queue.wait_seconds() == SHORTEST_WAIT_SECONDS


def test_what_the_server_asked_to_wait_is_waited_whatever_happens(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.take()
    bench.queue.failed(A, after=45)
    bench.queue.add(A)
    assert bench.after(44) is None
    assert bench.after(1) == A


def test_a_back_off_of_its_own_is_kept_but_an_event_ends_that(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.take()
    bench.queue.failed(A, back_off=BackOff(first=300, most=300, jitter=0))
    assert bench.queue.wait_seconds() == 300
    bench.queue.add(A)
    assert bench.after(SHORTEST_WAIT_SECONDS) == A


def test_latency_counts_from_the_first_event_to_the_success(bench: Bench) -> None:
    bench.queue.add(A)
    bench.clock.time += 1
    bench.queue.take()
    bench.queue.failed(A)
    bench.clock.time += 2
    bench.queue.take()
    assert bench.queue.done(A).latency == 3


def test_an_event_in_flight_has_a_latency_of_its_own(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.take()
    bench.clock.time += 1
    bench.queue.add(A)
    bench.clock.time += 1
    assert bench.queue.done(A).latency == 2
    bench.queue.take()
    assert bench.queue.done(A).latency == 1


def test_a_plain_look_has_no_latency(bench: Bench) -> None:
    bench.queue.add_at(A, bench.clock())
    bench.queue.take()
    assert bench.queue.done(A).latency is None


def test_the_bucket_bounds_all_keys_together() -> None:
    bench = Bench(bucket=TokenBucket(rate=10, burst=2))
    keys = [Key(DEPLOYMENTS, "shop", str(n)) for n in range(5)]
    for key in keys:
        bench.queue.add(key)
    taken = [bench.queue.take() for _ in range(3)]
    assert taken == [keys[0], keys[1], None]
    assert bench.queue.wait_seconds() == pytest.approx(0.1)
    assert bench.after(0.11) == keys[2]


def test_depth_and_age_tell_of_keys_that_are_due_only(bench: Bench) -> None:
    bench.queue.add(A)
    bench.queue.add_at(B, bench.clock() + 100)
    bench.clock.time += 7
    assert (bench.queue.depth, bench.queue.oldest_seconds) == (1, 7)


def test_left_overs_of_moved_keys_do_not_pile_up(bench: Bench) -> None:
    for n in range(10_000):
        bench.queue.add_at(A, bench.clock() + 20_000 - n)
    assert len(bench.queue._heap) < 200


@given(st.lists(st.sampled_from(["add a", "add b", "take", "done", "fail", "wait"]), max_size=60))
def test_no_event_is_lost_and_no_key_runs_twice_at_once(steps: list[str]) -> None:
    bench = Bench()
    running: list[Key] = []
    owed: set[Key] = set()
    for step in steps:
        match step:
            case "add a" | "add b":
                key = A if step == "add a" else B
                bench.queue.add(key)
                owed.add(key)
            case "take":
                taken = bench.queue.take()
                if taken is not None:
                    assert taken not in running
                    running.append(taken)
                    owed.discard(taken)
            case "done" if running:
                bench.queue.done(running.pop())
            case "fail" if running:
                key = running.pop()
                owed.add(key)
                bench.queue.failed(key)
            case "wait":
                bench.clock.time += 3
    while running:
        bench.queue.done(running.pop())
    bench.clock.time += 1000
    while (taken := bench.queue.take()) is not None:
        owed.discard(taken)
        bench.queue.done(taken)
    assert not owed


@given(st.integers(1, 1000), st.floats(0, 1))
def test_a_back_off_stays_within_its_bounds(failures: int, chance: float) -> None:
    back_off = BackOff()
    wait = back_off.seconds(failures, chance)
    assert back_off.first * (1 - back_off.jitter) <= wait <= back_off.most
