"""Retraining and versions: why, how often, what came out, and how old what serves is."""

from __future__ import annotations

from typing import Final

from trimtab.api.conditions import EventReason
from trimtab.generate.dashboards.parts import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
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
    NO_STATE,
    OF_DEPLOYMENT,
    OF_NAMESPACE,
    board_link,
    counted,
    decisions,
    series,
    variables,
)
from trimtab.state_metrics.families import (
    DECISIONS,
    LAST_DECISION,
    LINEAGE_DEPTH,
    MODEL_AGE,
    RETRAIN_ATTEMPT,
    RETRAIN_ATTEMPTS,
    RETRAIN_FINISHED,
    RETRAIN_INFO,
    RETRAIN_MEASURED,
    RETRAIN_MEASURED_LOWER,
    RETRAIN_MEASURED_UPPER,
    RETRAIN_STARTED,
    RETRAINS,
    Family,
)

UID: Final = "trimtab-retraining"
_DAY: Final = 86400
_NO_JOB: Final = "no retraining yet"
_OLD: Final = ((None, BLUE),)
_JOB: Final = f"{BY}, deployment"
_PHASES: Final = {
    "Queued": Word("Queued", BLUE),
    "Running": Word("Running", BLUE),
    "Succeeded": Word("Succeeded", GREEN),
    "Rejected": Word("Rejected", ORANGE),
    "InsufficientData": Word("Too few rows", ORANGE),
    "Failed": Word("Failed", RED),
}


def _today(phase: str) -> str:
    """Return how many ended so within 24 h."""
    ended = series(RETRAIN_FINISHED, BY_DEPLOYMENT)
    so = series(RETRAIN_INFO, BY_DEPLOYMENT, f'phase=~"{phase}"')
    return counted(f"time() - {ended} < {_DAY} and on ({BY}) {so}")


def _side(family: Family, side: str) -> str:
    found = series(family, BY_DEPLOYMENT, f'side="{side}"')
    return f"max by ({_JOB}, metric) ({found})"


_SKIPPED: Final = series(
    LAST_DECISION, OF_NAMESPACE, 'kind="DriftPolicy"', f'reason="{EventReason.RETRAIN_SKIPPED}"'
)
_SKIPPED_COUNTED: Final = series(
    DECISIONS, OF_NAMESPACE, 'kind="DriftPolicy"', f'reason="{EventReason.RETRAIN_SKIPPED}"'
)
_SKIPPED_TODAY: Final = (
    # Status keeps the last decisions only, the counter is of the operator that leads.
    f"time() - max by ({BY}) ({_SKIPPED}) < {_DAY}\n"
    f"or max by ({BY}) (increase({_SKIPPED_COUNTED}[1d])) > 0"
)
_TOP: Final = [
    stats(
        About(
            "Under way", "RetrainJobs that wait or run. Nothing is to be done.", "none", NO_STATE, 4
        ),
        [Query(counted(series(RETRAIN_INFO, BY_DEPLOYMENT, 'phase=~"Queued|Running"')))],
    ),
    stats(
        About(
            "Failed today",
            "Ended within 24 h without a version: data, code or infrastructure. Red: run "
            "`trimtab why rj/NAME`; the log of the training pod has the rest.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(_today("Failed|InsufficientData"))],
        steps=((None, GREEN), (1, RED)),
    ),
    stats(
        About(
            "Rejected today",
            "The new version was worse than the one that serves. Orange: more data or another "
            "model is needed; the table below has the figures.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(_today("Rejected"))],
        steps=((None, GREEN), (1, ORANGE)),
    ),
    stats(
        About(
            "Skipped today",
            "DriftPolicies that wanted a retraining within 24 h and did not start it: cooldown, "
            "broken data, too many tries. Orange: `trimtab why dp/NAME` says why.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(counted(_SKIPPED_TODAY))],
        steps=((None, GREEN), (1, ORANGE)),
    ),
    stats(
        About(
            "Oldest model",
            "Since the ModelVersion was made that serves. Too old for what it is for: retrain by "
            "hand with `trimtab retrain`.",
            "s",
            NO_STATE,
            4,
            decimals=1,
        ),
        [Query(f"max({series(MODEL_AGE, OF_DEPLOYMENT)})")],
    ),
    stats(
        About(
            "Deepest lineage",
            "Versions in a row, each made from the one before. Many without a person in between: "
            "compare the first with the last one before you trust it.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(f"max({series(LINEAGE_DEPTH, OF_DEPLOYMENT)})")],
    ),
]
_JOBS: Final = rows(
    About(
        "Retrainings",
        "Each RetrainJob with its cause, its attempt and how it ended. Red: no version was made; "
        "`trimtab why rj/NAME -n NAMESPACE` has the message.",
        "none",
        _NO_JOB,
        24,
    ),
    [
        Query(f"max by ({_JOB}, cause, phase, version) ({series(RETRAIN_INFO, BY_DEPLOYMENT)})"),
        Query(f"max by ({_JOB}) ({series(RETRAIN_ATTEMPT, BY_DEPLOYMENT)})"),
        Query(f"1000 * max by ({_JOB}) ({series(RETRAIN_STARTED, BY_DEPLOYMENT)})"),
        Query(f"1000 * max by ({_JOB}) ({series(RETRAIN_FINISHED, BY_DEPLOYMENT)})"),
    ],
    [
        Column("namespace", "Namespace", width=150),
        Column("name", "RetrainJob"),
        Column(
            "deployment",
            "Deployment",
            width=130,
            link=("Quality", board_link("trimtab-quality", "Namespace", "Deployment")),
        ),
        Column("cause", "Cause", width=100),
        Column("Value #B", "Attempt", width=85),
        Column("phase", "Phase", words=_PHASES, width=110),
        Column("version", "New version", width=115),
        Column("Value #C", "Started", "dateTimeAsIso", width=175),
        Column("Value #D", "Ended", "dateTimeAsIso", width=175),
    ],
    sort="Started",
    desc=True,
)
_COMPARED: Final = rows(
    About(
        "Champion against challenger, with intervals",
        "Both on the same held-out rows: the version that served, and the new one. Intervals that "
        "overlap much: too few rows to tell; more labels help.",
        "none",
        "no data yet: no retraining has measured",
        24,
    ),
    [
        Query(_side(RETRAIN_MEASURED, "champion")),
        Query(_side(RETRAIN_MEASURED_LOWER, "champion")),
        Query(_side(RETRAIN_MEASURED_UPPER, "champion")),
        Query(_side(RETRAIN_MEASURED, "challenger")),
        Query(_side(RETRAIN_MEASURED_LOWER, "challenger")),
        Query(_side(RETRAIN_MEASURED_UPPER, "challenger")),
    ],
    [
        Column("namespace", "Namespace", width=150),
        Column("name", "RetrainJob"),
        Column("deployment", "Deployment", width=130),
        Column("metric", "Metric", width=90),
        Column("Value #A", "Champion", width=100, decimals=3),
        Column("Value #B", "lower", width=90, decimals=3),
        Column("Value #C", "upper", width=90, decimals=3),
        Column("Value #D", "Challenger", width=105, decimals=3),
        Column("Value #E", "its lower", width=90, decimals=3),
        Column("Value #F", "its upper", width=90, decimals=3),
    ],
    sort="RetrainJob",
    desc=True,
)
_ENDED: Final = graph(
    About(
        "Retrainings that ended, by cause and outcome",
        "Since the operator leads. The same cause again and again: what changed is not in the "
        "data that it learns from.",
        "none",
        "none has ended since the operator leads",
        12,
    ),
    [
        Query(
            "round(sum by (cause, outcome) "
            f"(increase({series(RETRAINS, BY_DEPLOYMENT)}[$__rate_interval]))) > 0",
            "{{cause}} {{outcome}}",
        )
    ],
    stacked=True,
    bars=True,
)
_ATTEMPTS: Final = bars(
    About(
        "Attempts that policies remember",
        "By Deployment and how they ended; these are what cooldown, maxPerWeek and giveUpAfter "
        "count. Many that failed or were rejected: retrain by hand with other data or code.",
        "none",
        "no attempt yet",
        12,
        decimals=0,
    ),
    [
        Query(
            f"topk(12, sum by (deployment, phase) ({series(RETRAIN_ATTEMPTS, BY_DEPLOYMENT)}))",
            "{{deployment}} {{phase}}",
        )
    ],
    steps=_OLD,
)
_AGES: Final = bars(
    About(
        "Age of what serves",
        "Since the ModelVersion was made, of the ten oldest. Too old for what it is for: retrain "
        "by hand.",
        "s",
        NO_STATE,
        12,
        decimals=1,
    ),
    [
        Query(
            f"topk(10, max by ({BY}) ({series(MODEL_AGE, OF_DEPLOYMENT)}))",
            "{{namespace}}/{{name}}",
        )
    ],
    steps=_OLD,
)
_DEPTHS: Final = bars(
    About(
        "Depth of lineage",
        "Versions behind the one that serves, of the ten deepest. Small steps add up: each was "
        "compared with the one before only.",
        "none",
        NO_STATE,
        12,
        decimals=0,
    ),
    [
        Query(
            f"topk(10, max by ({BY}) ({series(LINEAGE_DEPTH, OF_DEPLOYMENT)}))",
            "{{namespace}}/{{name}}",
        )
    ],
    steps=_OLD,
)


def text() -> str:
    """Return the dashboard as JSON."""
    return dashboard_text(
        uid=UID,
        title="Trimtab / Retraining",
        text="Why models are trained again, how often, what came out, and how old what serves is.",
        variables=variables(many=True),
        annotations=decisions("RetrainJob|ModelVersion", OF_NAMESPACE),
        rows=(
            (4, _TOP),
            (8, [_JOBS]),
            (7, [_COMPARED]),
            (8, [_ENDED, _ATTEMPTS]),
            (8, [_AGES, _DEPTHS]),
        ),
        span="now-7d",
        refresh="1m",
    )
