"""Reaction times, bad answers, lost requests and writes of rollouts on the real cluster.

`make bench-operator`; takes about five minutes and prints one table.

The figures of Argo Rollouts and Flagger were measured on the same cluster (two cores), with the
same load (50 requests/s) and the same sizes (4 stable pods and 1): seconds from pods Ready to the
decision, and bad answers, as min/median/max of 3 runs. `best` is Argo's best setting; Flagger's
interval cannot be shorter than 10 s. `-`: was not measured.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from tests.bench.table import Row, judge, render
from tests.e2e.kit.api import Api, until
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.record import Record
from tests.e2e.kit.release import install, kubectl
from tests.e2e.kit.shop import Shop, provide_code

NAMESPACE = "e2e-bench"
RUNS = 3
RATE = 50.0
INTERVALS = (1, 5)
FAULTS = ("fail100", "fail20")
SEEING = ("DataComplete", "Waiting")
BLIND_SECONDS = 60.0
BLIND_TRIALS = 10
REST_SECONDS = 30.0
GOAL_BAD_ANSWERS = 15
GOAL_LAST_ANSWER_SECONDS = 1.0
GOAL_AFTER_REQUESTS = 4

ARGO_BEST = {"decision": "7.4/8.1/8.4", "bad": "64/83/97"}
ARGO_1S = {"decision": "9.4/9.7/10.1", "bad": "78/90/132"}
FLAGGER = {"decision": "28", "bad": "-"}
PEERS_BLIND = (
    "Of six documented configurations of Argo Rollouts and Flagger five abort a healthy candidate\n"
    "when Prometheus is down for 60 s, and one promotes it unseen on empty or NaN."
)


@dataclass(frozen=True)
class Reaction:
    """One bad candidate: seconds between the events, and what users saw."""

    ready_to_decision: float
    first_to_decision: float
    enough_to_decision: float
    decision_to_last: float
    bad_answers: int
    lost: int
    writes: Counter[str]


@dataclass(frozen=True)
class Promotion:
    """One good candidate."""

    lost: int
    writes: Counter[str]
    steps: int


def main() -> None:
    """Measure everything; print the table."""
    begin = time.monotonic()
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=120)
    install([NAMESPACE])
    operator = OperatorProcess()
    operator.wait_until_working()
    api = Api(NAMESPACE)
    provide_code(api)
    rows: list[Row] = []
    shops: list[Shop] = []
    reactions: list[Reaction] = []
    for fault in FAULTS:
        for interval in INTERVALS:
            shop = shop_with(api, fault, interval)
            runs = measure_fault(shop, fault)
            shops.append(shop)
            reactions += runs
            rows += fault_rows(fault, interval, runs)
    promotions = measure_promotions(shops[::2])
    rows += rollout_rows(reactions, promotions)
    rows += rest_rows(operator, shops)
    for shop in shops:
        shop.delete()
    rows += blind_rows(api)
    print(render(rows), flush=True)
    print(f"\n{PEERS_BLIND}")
    print(f"\n50 requests/s, 4 stable pods and 1; took {time.monotonic() - begin:.0f} s")
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


# --- a bad candidate -----------------------------------------------------------------------------


def shop_with(api: Api, fault: str, interval: int) -> Shop:
    """Return a Deployment of 4 pods that serves."""
    shop = Shop(
        api,
        f"{fault}-{interval}s",
        replicas=4,
        interval=f"{interval}s",
        steps=({"weight": "20%", "for": "1m"},),
        rollout={"minSamples": 50},
    )
    shop.serve("good")
    return shop


def measure_fault(shop: Shop, fault: str) -> list[Reaction]:
    """Try a bad version three times; three are what Flapping allows."""
    runs = []
    for number in range(RUNS):
        version = f"{fault}-{number}"
        shop.publish(version)
        with shop.record() as record, shop.load(RATE) as load:
            shop.want(version)
            shop.wait_for_outcome(f"{version} RolledBack", 120)
            seen = len(load.answers)
            until("two seconds of answers", lambda: len(load.answers) > seen + 2 * RATE, 30)  # noqa: B023
        decided = record.decided_at(version, "RolledBack")
        answers = sorted(answer.at for answer in load.answers if answer.version == version)
        runs.append(
            Reaction(
                ready_to_decision=decided - record.ready_at(version),
                first_to_decision=decided - answers[0],
                enough_to_decision=decided - answers[GOAL_AFTER_REQUESTS - 1],
                decision_to_last=max(0.0, answers[-1] - decided),
                bad_answers=len(load.bad(version)),
                lost=len(load.lost()) + load.unsent,
                writes=counted(record),
            )
        )
    return runs


def fault_rows(fault: str, interval: int, runs: list[Reaction]) -> list[Row]:
    """Return the lines about one fault at one scrape interval."""
    share = fault.removeprefix("fail")
    is_total = fault == "fail100"
    ready = judge("  pods Ready -> decision, s", [r.ready_to_decision for r in runs], None)
    bad = judge(
        "  bad answers that users saw",
        [r.bad_answers for r in runs],
        GOAL_BAD_ANSWERS if is_total and interval == 1 else None,
        digits=0,
    )
    if is_total:
        ready = replace(ready, **_peers("decision"))
        bad = replace(bad, **_peers("bad"))
    return [
        Row(f"candidate fails {share}% of its requests, scrape interval {interval} s"),
        ready,
        judge(
            "  first candidate request -> decision, s", [r.first_to_decision for r in runs], None
        ),
        judge(
            f"  {GOAL_AFTER_REQUESTS} candidate requests -> decision, s",
            [r.enough_to_decision for r in runs],
            interval + 1.0 if is_total else None,
        ),
        judge(
            "  decision -> last candidate answer, s",
            [r.decision_to_last for r in runs],
            GOAL_LAST_ANSWER_SECONDS,
            digits=2,
        ),
        bad,
    ]


def _peers(figure: str) -> dict[str, str]:
    return {
        "argo_best": ARGO_BEST[figure],
        "argo_1s": ARGO_1S[figure],
        "flagger": FLAGGER[figure],
    }


# --- promotions, writes, rest --------------------------------------------------------------------


def measure_promotions(shops: list[Shop]) -> list[Promotion]:
    """Promote good versions in two steps: over new connections, and over kept ones."""
    with ThreadPoolExecutor(len(shops)) as pool:
        return list(pool.map(measure_promotion, shops, (False, True)))


def measure_promotion(shop: Shop, keep_alive: bool) -> Promotion:
    """Promote a good version under load; lost are requests that nobody answered."""
    steps = [{"weight": "25%", "for": "3s"}, {"weight": "50%", "for": "3s"}]
    shop.rollout["steps"] = steps
    shop.guard = {"control": 0}  # which comes and goes after the promotion
    shop.command("retry", next(iter(shop.rejected())))  # a person lifts Flapping
    shop.publish("better")
    with shop.record() as record, shop.load(RATE, keep_alive=keep_alive) as load:
        shop.want("better")
        shop.wait_for_outcome("better Promoted", 120)
        shop.wait_until_gone("good")
    return Promotion(len(load.lost()) + load.unsent, counted(record), len(steps))


def rollout_rows(reactions: list[Reaction], promotions: list[Promotion]) -> list[Row]:
    """Return the lines about lost requests and writes."""
    lost = sum(r.lost for r in reactions)
    lost_promoting = sum(p.lost for p in promotions)
    steps = promotions[0].steps
    return [
        Row("all rollouts"),
        judge(f"  requests lost over {len(reactions)} roll backs", [lost], 0, 0),
        judge(f"  requests lost over {len(promotions)} promotions", [lost_promoting], 0, 0),
        writes_row("  writes of a roll back in step 1", [r.writes for r in reactions], 3 + 4),
        writes_row(
            f"  writes of a promotion, {steps} steps",
            [p.writes for p in promotions],
            3 * steps + 4,
        ),
    ]


def counted(record: Record) -> Counter[str]:
    """Return the writes by what they changed, and how often a pod lapsed."""
    return record.writes() + Counter(lapses=record.lapses())


def writes_row(what: str, runs: Sequence[Counter[str]], most: int) -> Row:
    """Return the line about the writes that a rollout makes, however long it takes.

    What grows with time is told beside it and is not under the goal: numbers of the status are
    renewed at most every 30 s. A pod that lapses is news, and its return too: two writes.
    """
    needed = [run["status"] + run["route"] + run["workload"] - 2 * run["lapses"] for run in runs]
    row = judge(what, needed, most, 0)
    kinds = Counter[str]()
    for run in runs:
        kinds += run
    total = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    return replace(row, measured=f"{row.measured}; in all: {total}")


def rest_rows(operator: OperatorProcess, shops: list[Shop]) -> list[Row]:
    """Return what the operator uses while nothing changes."""
    pods = sum(len(shop.pods()) for shop in shops)
    before, asked = operator.usage(), writes_of(operator)
    end = time.monotonic() + REST_SECONDS
    until("the time is over", lambda: time.monotonic() > end, REST_SECONDS + 5, every=0.5)
    after, asked_after = operator.usage(), writes_of(operator)
    cpu = after.cpu_seconds - before.cpu_seconds
    return [
        Row(f"at rest for {REST_SECONDS:.0f} s, {len(shops)} Deployments, {pods} pods scraped"),
        Row("  resident memory, MiB", f"{after.resident_bytes / 2**20:.0f}"),
        Row("  CPU, s", f"{cpu:.2f}"),
        judge("  writes but the Lease", [asked_after - asked], 0, 0),
    ]


def writes_of(operator: OperatorProcess) -> float:
    """Return the operator's writes so far, without those to the Lease."""
    total = 0.0
    for line in operator.exposition().splitlines():
        if line.startswith("trimtab_operator_requests_total") and "leases" not in line:
            is_write = any(f'verb="{v}"' in line for v in ("apply", "apply_status", "create"))
            total += float(line.rsplit(" ", 1)[1]) if is_write else 0.0
    return total


# --- candidates without metrics ------------------------------------------------------------------

BLIND = {
    "gone": "metrics ports cut every connection",
    "empty": "metrics are empty",
    "nan": "a counter is NaN",
}


def blind_rows(api: Api) -> list[Row]:
    """Return how many healthy candidates were ended by 60 s without figures."""
    jobs = [(kind, number) for kind in BLIND for number in range(BLIND_TRIALS)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        ended = list(pool.map(lambda job: blind_trial(api, *job), jobs))
    rows = [Row(f"healthy candidate, {BLIND_SECONDS:.0f} s without figures, {BLIND_TRIALS} each")]
    for kind, text in BLIND.items():
        own = [end for (k, _), end in zip(jobs, ended, strict=True) if k == kind]
        wrong = sum(end.while_blind != "" for end in own)
        verdict = "meets" if wrong == 0 else "misses"
        rows.append(
            Row(f"  {text}: ended unseen", f"{wrong} of {len(own)}", goal="0", verdict=verdict)
        )
        promoted = sum(end.afterwards == "Promoted" for end in own)
        rows.append(Row("    promoted when figures are back", f"{promoted} of {len(own)}"))
    return rows


@dataclass(frozen=True)
class BlindEnd:
    """How a rollout ended while nobody could see, and after; empty: it did not."""

    while_blind: str
    afterwards: str


def blind_trial(api: Api, kind: str, number: int) -> BlindEnd:
    """Take the figures of a good candidate away for a minute, then give them back."""
    version = "better" if kind == "gone" else kind
    shop = Shop(
        api,
        f"blind-{kind}-{number}",
        replicas=1,
        steps=({"weight": "50%", "for": "10s"},),
        rollout={"allowCoarse": True, "scaleDownDelay": "1s"},
        poll_seconds=1.0,
    )
    shop.serve("good")
    with shop.load(rate=3.0, connections=4) as load:
        shop.try_version(version)
        shop.wait_for("a request", lambda: load.by_version()[version] > 0, 120)
        if kind == "gone":
            shop.tell("good", "refuse")
            shop.tell(version, "refuse")
        gone = time.monotonic()
        shop.wait_for("blind", lambda: shop.reason("DataAvailable") not in SEEING)
        with contextlib.suppress(AssertionError):
            until("ended", lambda: len(shop.outcomes()) > 1, BLIND_SECONDS, every=2.0)
        assert time.monotonic() - gone >= BLIND_SECONDS or len(shop.outcomes()) > 1
        while_blind = "".join(shop.outcomes()[1:])
        for told in ("good", version):
            shop.tell(told, "ok")
        shop.wait_for("an end", lambda: len(shop.outcomes()) > 1, 90)
        afterwards = shop.outcomes()[1].split()[-1]
    shop.delete()
    return BlindEnd(while_blind, afterwards)


if __name__ == "__main__":
    main()
