"""Rollout of one Deployment: what the new version gets, what the gates see, what was decided."""

from __future__ import annotations

from typing import Final

from trimtab.api.conditions import ConditionType
from trimtab.contract import metrics
from trimtab.generate.dashboards.parts import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    About,
    Column,
    Query,
    Word,
    bars,
    dashboard_text,
    graph,
    rows,
    stats,
)
from trimtab.generate.dashboards.queries import (
    BLIND,
    CANDIDATE,
    NO_PODS,
    NO_STATE,
    OF_DEPLOYMENT,
    STATE,
    STATES,
    condition,
    decisions,
    median_and_p99,
    per_second,
    series,
    variables,
)
from trimtab.state_metrics.families import (
    DEPLOYMENT_INFO,
    GATE_BAD,
    GATE_EVIDENCE_RATIO,
    GATE_TOTAL,
    LAST_DECISION,
    ROLLOUT_STEP,
    ROLLOUT_STEPS,
    ROLLOUT_WEIGHT,
    ROLLOUTS,
)

UID: Final = "trimtab-rollout"
_NO_ROLLOUT: Final = "no rollout"
_NO_GATES: Final = "no data yet: no gate has looked"
_WHY: Final = "`trimtab why mdep/$deployment -n $namespace`"
_SIDES: Final = "version, revision"
_SHARE: Final = f"{series(GATE_BAD, OF_DEPLOYMENT)} / {series(GATE_TOTAL, OF_DEPLOYMENT)}"
_SERVING: Final = series(DEPLOYMENT_INFO, OF_DEPLOYMENT, 'serving!=""')
_LAST: Final = series(LAST_DECISION, OF_DEPLOYMENT, 'kind="Deployment"')
_SEEN: Final = f"0 * {BLIND}\nor {condition(ConditionType.DATA_AVAILABLE)}"

_TOP: Final = [
    stats(
        About(
            "State",
            "The worst that is so now. Orange: serves, but not as it should. Red: users get no "
            f"answers. First run {_WHY}.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(STATE)],
        words=STATES,
    ),
    stats(
        About(
            "Serves", "The version that users get now.", "none", "nothing serves, or no data yet", 4
        ),
        [Query(f"max by (serving) ({_SERVING})")],
        label="serving",
    ),
    stats(
        About("Is tried", "The version that is tried beside it.", "none", "none is tried", 4),
        [Query(f"max by (candidate) ({CANDIDATE})")],
        label="candidate",
    ),
    stats(
        About(
            "Step",
            "Which step of how many. One that stays for long waits for requests, labels or pods: "
            f"{_WHY} says for which.",
            "none",
            _NO_ROLLOUT,
            4,
        ),
        [
            Query(f"max({series(ROLLOUT_STEP, OF_DEPLOYMENT)})", "step"),
            Query(f"max({series(ROLLOUT_STEPS, OF_DEPLOYMENT)})", "of"),
        ],
    ),
    stats(
        About(
            "Evidence against it",
            "Of the gate that is nearest to failing, as part of what fails it. Red: it failed, and "
            "the version is being taken out. Read the gate in the table below, and tell who "
            "published the version.",
            "percentunit",
            "none is tried, or no gate has looked",
            4,
            decimals=0,
        ),
        [
            Query(
                f"max({series(GATE_EVIDENCE_RATIO, OF_DEPLOYMENT)} "
                f"and on (namespace, name) {CANDIDATE})"
            )
        ],
        steps=((None, GREEN), (0.5, YELLOW), (1, RED)),
        graph=True,
    ),
    stats(
        About(
            "Metrics of the pods",
            "Whether the gates can judge. Red: the rollout holds, or a promoted version is without "
            "its guard. Check that the operator reaches port 9090 of the pods, or the Prometheus "
            "that `spec.metrics` names.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(_SEEN)],
        words={"1": Word("Seen", GREEN), "0": Word("Blind", RED)},
    ),
]

_SHARES: Final = graph(
    About(
        "Share of requests of the new version",
        "Wanted and measured since the step began. Where measured stays below wanted, clients keep "
        "their connections, or pods are missing; the step waits.",
        "percentunit",
        _NO_ROLLOUT,
        12,
    ),
    [Query(f"max by (of) ({series(ROLLOUT_WEIGHT, OF_DEPLOYMENT)})", "{{of}}")],
    top=1,
    stairs=True,
    colors={"wanted": BLUE, "measured": ORANGE},
)
_EVIDENCE: Final = graph(
    About(
        "Evidence against threshold, by gate",
        "Both as logarithms: 100% fails the gate, and the version goes. A line that climbs: look "
        "at the share of bad ones of that gate, and stop with `trimtab abort` if you know enough.",
        "percentunit",
        _NO_GATES,
        12,
    ),
    [Query(f"max by (gate) ({series(GATE_EVIDENCE_RATIO, OF_DEPLOYMENT)})", "{{gate}}")],
    steps=((None, GREEN), (1, RED)),
    top=1.1,
    stairs=True,
)
_BAD: Final = graph(
    About(
        "Share of bad ones, both sides",
        "Of what each gate has counted since the step began. The gate compares both sides over the "
        "same time: a fault of both is no fault of the new version.",
        "percentunit",
        _NO_GATES,
        12,
    ),
    [Query(f"max by (gate, side) ({_SHARE})", "{{gate}} {{side}}")],
    stairs=True,
    many=True,
)
_COUNTS: Final = rows(
    About(
        "Bad of total, both sides",
        "What the gates have counted since the step began. Too small a total: the step waits for "
        "requests, or for labels.",
        "none",
        _NO_GATES,
        12,
    ),
    [
        Query(f"max by (gate, side) ({series(GATE_BAD, OF_DEPLOYMENT)})"),
        Query(f"max by (gate, side) ({series(GATE_TOTAL, OF_DEPLOYMENT)})"),
        Query(f"max by (gate, side) ({_SHARE})"),
    ],
    [
        Column("gate", "Gate"),
        Column("side", "Side", width=110),
        Column("Value #A", "Bad", width=90, decimals=0),
        Column("Value #B", "Total", width=90, decimals=0),
        Column("Value #C", "Share", "percentunit", width=90, decimals=2),
    ],
    sort="Gate",
    desc=False,
)
_LATENCY: Final = graph(
    About(
        "Latency of both",
        "Median and 99th percentile by version and revision. Slower than before for the new one "
        "alone: it is the model; for both: look at the nodes.",
        "s",
        NO_PODS,
        12,
    ),
    median_and_p99(_SIDES, metrics.REQUEST_SECONDS, "{{version}} {{revision}}"),
    many=True,
)
_REQUESTS: Final = graph(
    About(
        "Requests of both",
        "Answered requests by version and revision. None at all: look at the Service and at what "
        "is in front of it.",
        "reqps",
        NO_PODS,
        12,
    ),
    [Query(per_second(_SIDES, metrics.REQUESTS), "{{version}} {{revision}}")],
    stacked=True,
)
_DECIDED: Final = rows(
    About(
        "Last decisions",
        f"When each reason was decided last. {_WHY} has the figures that each rests on.",
        "none",
        "no decision yet",
        12,
    ),
    [Query(f"1000 * max by (reason) ({_LAST})")],
    [Column("Value", "When", "dateTimeAsIso", width=190), Column("reason", "Decision")],
    sort="When",
    desc=True,
)
_ENDS: Final = bars(
    About(
        "How rollouts ended in 30 days",
        "By outcome, and the reason of a quarantine. Many rolled back: what is published is not "
        "tested enough before. Counted since the operator leads.",
        "none",
        "no rollout has ended since the operator leads",
        12,
        decimals=0,
    ),
    [
        Query(
            f"sum by (outcome, reason) (increase({series(ROLLOUTS, OF_DEPLOYMENT)}[30d]))",
            "{{outcome}} {{reason}}",
        )
    ],
    steps=((None, BLUE),),
)


def text() -> str:
    """Return the dashboard as JSON."""
    return dashboard_text(
        uid=UID,
        title="Trimtab / Rollout",
        text="One Deployment: what the new version gets, what its gates see, what was decided.",
        variables=variables(many=False),
        annotations=decisions(),
        rows=(
            (4, _TOP),
            (8, [_SHARES, _EVIDENCE]),
            (10, [_BAD, _COUNTS]),
            (8, [_LATENCY, _REQUESTS]),
            (8, [_DECIDED, _ENDS]),
        ),
        span="now-3h",
    )
