"""Fleet: what serves, what is tried, what is bad, and how delivery goes."""

from __future__ import annotations

from typing import Final

from trimtab.api.conditions import ConditionType, EventReason
from trimtab.generate.alert_rules import RECORDINGS
from trimtab.generate.dashboards.parts import (
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
    BY,
    BY_DEPLOYMENT,
    CANDIDATE,
    DEGRADED,
    NO_STATE,
    NOT_SERVING,
    OF_DEPLOYMENT,
    OF_NAMESPACE,
    STATE,
    STATES,
    VERDICTS,
    board_link,
    counted,
    decisions,
    policy_condition,
    series,
    variables,
    verdict,
)
from trimtab.reconcile.machine.observability import LEADING
from trimtab.state_metrics.families import (
    CONDITION,
    DECISIONS,
    DEPLOYMENT_INFO,
    DRIFT_THRESHOLD,
    DRIFT_VALUE,
    GATE_EVIDENCE_RATIO,
    LAST_DECISION,
    MODEL_AGE,
    ROLLOUT_WEIGHT,
    ROLLOUTS,
)

UID: Final = "trimtab-fleet"
_DAY: Final = 86400
_NO_POLICY: Final = "no data yet: no DriftPolicy has looked"
_LAST_BACK: Final = series(
    LAST_DECISION, OF_DEPLOYMENT, 'kind="Deployment"', f'reason="{EventReason.ROLLED_BACK}"'
)
_BACK_COUNTED: Final = series(ROLLOUTS, OF_DEPLOYMENT, 'outcome="RolledBack"')
_BACK: Final = (
    # Status keeps the last decisions only, the counter is of the operator that leads.
    f"time() - max by ({BY}) ({_LAST_BACK}) < {_DAY}\n"
    f"or max by ({BY}) (increase({_BACK_COUNTED}[1d])) > 0"
)
_WANT_SOMEBODY: Final = "|".join(
    (
        ConditionType.DEGRADED,
        ConditionType.QUARANTINED,
        ConditionType.HARM,
        ConditionType.DATA_BROKEN,
        ConditionType.DRIFT_DETECTED,
        ConditionType.STALLED,
    )
)
_CONDITIONS: Final = series(CONDITION, OF_NAMESPACE, f'type=~"{_WANT_SOMEBODY}"', 'status="True"')
_WANTED: Final = series(ROLLOUT_WEIGHT, OF_DEPLOYMENT, 'of="wanted"')
_EVIDENCE: Final = f"{series(GATE_EVIDENCE_RATIO, OF_DEPLOYMENT)} and on ({BY}) {CANDIDATE}"
_INFO: Final = series(DEPLOYMENT_INFO, OF_DEPLOYMENT)
_INFO_LABELS: Final = "model, serving, candidate"


def _recorded(place: int) -> str:
    """Return a figure of delivery: as it is recorded, or worked out where no rule records it."""
    rule = RECORDINGS[place]
    return f"({rule.name}\nor (\n{rule.expr}\n)) and on (namespace) {_INFO}"


_TOP: Final = [
    stats(
        About(
            "Do not serve",
            "Deployments that are not Ready. Red: users of these models get no answers. Find them "
            "in the table below, and run `trimtab why mdep/NAME`.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(counted(NOT_SERVING))],
        steps=((None, GREEN), (1, RED)),
    ),
    stats(
        About(
            "Degraded",
            "Deployments that serve, but not as they should: pods are missing, or the version "
            "became worse. Orange: within the day, run `trimtab why mdep/NAME`.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(counted(DEGRADED))],
        steps=((None, GREEN), (1, ORANGE)),
    ),
    stats(
        About(
            "Quality below floor",
            "DriftPolicies that say Harm. Red: answers are worse than allowed. Open the Deployment "
            "in Quality: if nothing retrains, go back with `trimtab rollback`.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(counted(policy_condition(ConditionType.HARM)))],
        steps=((None, GREEN), (1, RED)),
    ),
    stats(
        About(
            "Data broken",
            "DriftPolicies that see too many missing, unseen or out-of-range values. Orange: ask "
            "who sends them what has changed; nothing is trained on them.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(counted(policy_condition(ConditionType.DATA_BROKEN)))],
        steps=((None, GREEN), (1, ORANGE)),
    ),
    stats(
        About(
            "Rolled back today",
            "Deployments of which a version was sent back within 24 h; another serves already. "
            "Orange: read the evidence, and tell who published the version.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(counted(_BACK))],
        steps=((None, GREEN), (1, ORANGE)),
    ),
    stats(
        About(
            "Operator",
            "Whether one operator leads. Red: models serve, but nothing is judged, rolled back or "
            "retrained. Read the operator's log: mostly the API server or the Lease is the matter.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(f"max({LEADING._name})")],
        words={"1": Word("Leads", GREEN), "0": Word("Nobody leads", RED)},
    ),
]
_DEPLOYMENTS: Final = rows(
    About(
        "What serves, what is tried",
        "All Deployments that are chosen above. A click on a name opens its rollout, one on the "
        "model its quality. Red: run `trimtab why mdep/NAME -n NAMESPACE` first.",
        "s",
        NO_STATE,
        24,
    ),
    [
        Query(f"max by ({BY}, {_INFO_LABELS}) ({_INFO})"),
        Query(STATE),
        Query(f"max by ({BY}) ({_WANTED})"),
        Query(f"max by ({BY}) ({_EVIDENCE})"),
        Query(f"max by ({BY}) ({series(MODEL_AGE, OF_DEPLOYMENT)})"),
    ],
    [
        Column("namespace", "Namespace", width=170),
        Column(
            "name",
            "Deployment",
            link=("Rollout", board_link("trimtab-rollout", "Namespace", "Deployment")),
        ),
        Column("Value #B", "State", words=STATES, width=130),
        Column(
            "model",
            "Model",
            width=150,
            link=("Quality", board_link("trimtab-quality", "Namespace", "Deployment")),
        ),
        Column("serving", "Serves", width=120),
        Column("candidate", "Tried", width=120),
        Column("Value #C", "Share wanted", "percentunit", width=120, decimals=0),
        Column(
            "Value #D",
            "Evidence against",
            "percentunit",
            ((None, GREEN), (0.5, YELLOW), (1, RED)),
            width=140,
            decimals=0,
        ),
        Column("Value #E", "Age", "s", width=110, decimals=1),
    ],
    sort="State",
    desc=True,
)
_SIGNALS: Final = rows(
    About(
        "What policies see",
        "The last verdict of each signal on each Deployment. Red: it fired. Drift of inputs alone "
        "is news; quality and outcomes are harm: open the Deployment in Quality.",
        "none",
        _NO_POLICY,
        12,
    ),
    [
        Query(f"max by (namespace, deployment, signal) ({verdict(BY_DEPLOYMENT)})"),
        Query(f"max by (namespace, deployment, signal) ({series(DRIFT_VALUE, BY_DEPLOYMENT)})"),
        Query(f"max by (namespace, deployment, signal) ({series(DRIFT_THRESHOLD, BY_DEPLOYMENT)})"),
    ],
    [
        Column("namespace", "Namespace", width=140),
        Column(
            "deployment",
            "Deployment",
            link=("Quality", board_link("trimtab-quality", "Namespace", "Deployment")),
        ),
        Column("signal", "Signal", width=80),
        Column("Value #A", "Verdict", words=VERDICTS, width=85),
        Column("Value #B", "Value", width=70, decimals=3),
        Column("Value #C", "Limit", width=70, decimals=3),
    ],
    sort="Verdict",
    desc=True,
)
_NEAREST: Final = bars(
    About(
        "Nearest to failing",
        "Evidence against the versions that are tried, of the ten that have most. Red: it failed, "
        "and the version goes. Open its rollout, and tell who published it.",
        "percentunit",
        "no rollout, or no gate has looked yet",
        12,
        decimals=0,
    ),
    [
        Query(
            f"topk(10, max by ({BY}, gate) ({_EVIDENCE}))",
            "{{namespace}}/{{name}} {{gate}}",
        )
    ],
    steps=((None, GREEN), (0.5, YELLOW), (1, RED)),
    top=1,
)
_IN_TIME: Final = graph(
    About(
        "Conditions that want somebody",
        "How many objects of the namespaces have each. One that stays for hours is forgotten: its "
        "alert says what to do, and the runbook has each reason.",
        "none",
        "none: nothing is wrong, or there is no data yet",
        12,
    ),
    [Query(f"count by (type) (max by (type, kind, {BY}) ({_CONDITIONS}))", "{{type}}")],
    stacked=True,
    stairs=True,
)
_DECIDED: Final = graph(
    About(
        "Decisions",
        "What was decided, by reason, since the operator leads. Many of one kind within minutes: "
        "something that all have in common broke; look at the store and at the metrics backend.",
        "none",
        "no decision since the operator leads",
        12,
    ),
    [
        Query(
            "round(sum by (reason) "
            f"(increase({series(DECISIONS, OF_NAMESPACE)}[$__rate_interval]))) > 0",
            "{{reason}}",
        )
    ],
    stacked=True,
    bars=True,
    many=True,
)
_DORA: Final = rows(
    About(
        "Delivery in 30 days (DORA)",
        "Lead time: from the making of a version to its promotion, the median of the Deployments. "
        "Failed: sent back, of those decided. Red: test more before you publish. With the "
        "recording rules; without them it is worked out at each look.",
        "s",
        "no data yet: no rollout has ended since the operator leads",
        24,
    ),
    [
        Query(f"quantile by (namespace) (0.5, {_recorded(0)})"),
        Query(f"sum by (namespace) ({_recorded(1)})"),
        Query(f"max by (namespace) ({_recorded(2)})"),
        Query(f"max by (namespace) ({_recorded(3)})"),
    ],
    [
        Column("namespace", "Namespace"),
        Column("Value #A", "Lead time", "s"),
        Column("Value #B", "Promotions", "none", decimals=0),
        Column(
            "Value #C",
            "Failed",
            "percentunit",
            ((None, GREEN), (0.15, YELLOW), (0.3, RED)),
            decimals=0,
        ),
        Column("Value #D", "Time to restore", "s"),
    ],
    sort="Failed",
    desc=True,
)


def text() -> str:
    """Return the dashboard as JSON."""
    return dashboard_text(
        uid=UID,
        title="Trimtab / Fleet",
        text="All Deployments: what serves, what is tried, what is bad, and how delivery goes.",
        variables=variables(many=True),
        annotations=decisions("Deployment|DriftPolicy|RetrainJob", OF_NAMESPACE),
        rows=(
            (4, _TOP),
            (9, [_DEPLOYMENTS]),
            (8, [_SIGNALS, _NEAREST]),
            (8, [_IN_TIME, _DECIDED]),
            (6, [_DORA]),
        ),
        refresh="1m",
    )
