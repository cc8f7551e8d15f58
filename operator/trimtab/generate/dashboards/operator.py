"""Operator: its queue, passes, lag, scrapes, writes, Lease and errors."""

from __future__ import annotations

from typing import Final

from prometheus_client.metrics import MetricWrapperBase

from trimtab.cluster.transport import REQUEST_SECONDS, REQUESTS
from trimtab.generate.dashboards.parts import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    About,
    Query,
    Variable,
    Word,
    dashboard_text,
    graph,
    stats,
)
from trimtab.generate.dashboards.queries import NO_STATE, decisions
from trimtab.reconcile.machine.observability import (
    CHECKPOINTS_LEFT_ASIDE,
    CONFIGURATION_REPAIRS,
    LATENCY_SECONDS,
    LEADING,
    LOOP_LAG_SECONDS,
    PASS_SECONDS,
    PASSES,
    QUEUE_DEPTH,
    QUEUE_OLDEST_SECONDS,
    REPAIRS,
)
from trimtab.reconcile.notifying.outbox import MESSAGES, WAITING
from trimtab.state_metrics.families import UNREADABLE
from trimtab.telemetry.scrape import LEFT_OUT

UID: Final = "trimtab-operator"
_OF: Final = 'namespace=~"$operator_namespace"'
_QUIET: Final = "none: all is well, or the operator is not scraped"


def _name(metric: MetricWrapperBase) -> str:
    """Return the name that Prometheus has it under; of a histogram that of its parts begins so."""
    (described,) = metric.describe()
    return described.name + ("_total" if described.type == "counter" else "")


def _series(metric: MetricWrapperBase, *matchers: str, part: str = "") -> str:
    return f"{_name(metric)}{part}{{{', '.join((_OF, *matchers))}}}"


def _rate(by: str, metric: MetricWrapperBase, *matchers: str, part: str = "") -> str:
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate({_series(metric, *matchers, part=part)}[$__rate_interval]))"


def _quantile(q: float, by: str, metric: MetricWrapperBase) -> str:
    return f"histogram_quantile({q}, {_rate(f'le, {by}', metric, part='_bucket')})"


_BUGS: Final = _series(PASSES, 'outcome="bug"')
_NOT_TAKEN: Final = _series(MESSAGES, 'outcome!="taken"')
_TOP: Final = [
    stats(
        About(
            "Lease",
            "Whether one operator leads. Red: models serve, but nothing is judged, rolled back or "
            "retrained. Read the log: mostly the API server, or the right to the Lease, is away.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(f"max({_series(LEADING)})")],
        words={"1": Word("Leads", GREEN), "0": Word("Nobody leads", RED)},
    ),
    stats(
        About(
            "Longest wait",
            "Of an object that is due. Red: 30 s or more; decisions come late. Look at passes and "
            "loop lag below; more CPU helps where both are high.",
            "s",
            NO_STATE,
            4,
            decimals=1,
        ),
        [Query(f"max({_series(QUEUE_OLDEST_SECONDS)})")],
        steps=((None, GREEN), (5, YELLOW), (30, RED)),
        graph=True,
    ),
    stats(
        About(
            "Loop lag",
            "How late the event loop woke up. Red: half a second or more; scrapes are late, too. "
            "Give the operator more CPU.",
            "s",
            NO_STATE,
            4,
            decimals=2,
        ),
        [Query(f"max({_series(LOOP_LAG_SECONDS)})")],
        steps=((None, GREEN), (0.1, YELLOW), (0.5, RED)),
        graph=True,
    ),
    stats(
        About(
            "Bugs in an hour",
            "Passes that ended with a bug of the operator. Red: one or more. Read the traceback in "
            "its log, and report it; the object is tried again.",
            "none",
            NO_STATE,
            4,
            decimals=0,
        ),
        [Query(f"sum(increase({_BUGS}[1h])) or 0 * max({_series(LEADING)})")],
        steps=((None, GREEN), (1, RED)),
    ),
    stats(
        About(
            "Scrapes left out",
            "While the one before was under way. Red: 3 or more; faults are found late. "
            "See whether the operator has enough CPU, then which pods answer slowly on port 9090.",
            "suffix:/min",
            NO_STATE,
            4,
            decimals=1,
        ),
        [Query(f"60 * {_rate('', LEFT_OUT)}")],
        steps=((None, GREEN), (1, YELLOW), (3, RED)),
        graph=True,
    ),
    stats(
        About(
            "Unreadable objects",
            "Whose status this release cannot read: nothing else here or in an alert is about "
            "them. Red: mostly a newer release wrote them; upgrade.",
            "none",
            NO_STATE,
            4,
        ),
        [Query(f"sum({UNREADABLE.name}{{{_OF}}})")],
        steps=((None, GREEN), (1, RED)),
    ),
]
_QUEUE: Final = graph(
    About(
        "Queue",
        "Objects that are due and wait. One that grows and does not shrink: passes are too slow, "
        "or the API server is.",
        "none",
        NO_STATE,
        12,
    ),
    [Query(f"max by (pod) ({_series(QUEUE_DEPTH)})", "{{pod}}")],
)
_PASSES: Final = graph(
    About(
        "Passes by outcome",
        "A second. Refused: the cluster does not let it (quota, admission, permissions); the "
        "object says so in its condition Stalled. Retry: something is away for now.",
        "ops",
        NO_STATE,
        12,
    ),
    [Query(_rate("outcome", PASSES), "{{outcome}}")],
    stacked=True,
    colors={"^done$": GREEN, "^retry$": YELLOW, "^(bug|refused)$": RED},
)
_LATENCY: Final = graph(
    About(
        "From an event to its answer, and a pass (p99)",
        "By kind. Slow answers with fast passes: the queue is long. Slow passes: see the requests "
        "to the API server.",
        "s",
        NO_STATE,
        12,
    ),
    [
        Query(_quantile(0.99, "kind", LATENCY_SECONDS), "{{kind}} answer"),
        Query(_quantile(0.99, "kind", PASS_SECONDS), "{{kind}} pass"),
    ],
    many=True,
)
_LEASE: Final = graph(
    About(
        "Who leads",
        "1 for the pod that holds the Lease. One that changes often: the API server is slow, or "
        "the operator has too little CPU to renew in time.",
        "none",
        NO_STATE,
        12,
    ),
    [Query(f"max by (pod) ({_series(LEADING)})", "{{pod}}")],
    stairs=True,
    top=1,
)
_REQUESTS: Final = graph(
    About(
        "Reads and writes to the API server",
        "A second, by verb. Many writes with nothing going on: somebody changes what the operator "
        "puts back; see the repairs below.",
        "reqps",
        NO_STATE,
        12,
    ),
    [Query(_rate("verb", REQUESTS), "{{verb}}")],
    stacked=True,
    many=True,
)
_ERRORS: Final = graph(
    About(
        "Errors of the API server",
        "Answers of 400 and above, and none at all. 409 is normal; 403: a permission is missing; "
        "429 and 5xx: the API server is overloaded.",
        "reqps",
        _QUIET,
        12,
    ),
    [Query(_rate("verb, code", REQUESTS, 'code!~"[123].."') + " > 0", "{{verb}} {{code}}")],
)
_REQUEST_SECONDS: Final = graph(
    About(
        "Time of requests (p99)",
        "By verb. Slow for all: the API server or the network; for one: a webhook in its way.",
        "s",
        NO_STATE,
        12,
    ),
    [Query(_quantile(0.99, "verb", REQUEST_SECONDS), "{{verb}}")],
    many=True,
)
_REPAIRED: Final = graph(
    About(
        "Repairs, and checkpoints left aside",
        "In an hour. Configuration: somebody edits children by hand. View: a watch missed "
        "something. Checkpoint: the store is away, or another key is used.",
        "none",
        _QUIET,
        12,
    ),
    [
        Query(
            f"sum by (kind) (increase({_series(CONFIGURATION_REPAIRS)}[1h])) > 0",
            "configuration: {{kind}}",
        ),
        Query(f"sum by (plural) (increase({_series(REPAIRS)}[1h])) > 0", "view: {{plural}}"),
        Query(
            f"sum by (why) (increase({_series(CHECKPOINTS_LEFT_ASIDE)}[1h])) > 0",
            "checkpoint: {{why}}",
        ),
    ],
)
_TOLD: Final = graph(
    About(
        "Notifications",
        "Decisions that wait to be told, and tries in an hour that were not taken. Lost: nobody "
        "was told. Check the destination, its Secret, and networkPolicy.extraEgress.",
        "none",
        "no destination is configured, or the operator is not scraped",
        12,
    ),
    [
        Query(f"max by (destination) ({_series(WAITING)})", "{{destination}} waiting"),
        Query(
            f"sum by (destination, outcome) (increase({_NOT_TAKEN}[1h])) > 0",
            "{{destination}} {{outcome}}",
        ),
    ],
)
_MEMORY: Final = graph(
    About(
        "Memory",
        "Of each operator. One that comes near its limit is killed, and another takes over: raise "
        "operator.resources.limits.memory.",
        "bytes",
        NO_STATE,
        12,
    ),
    [
        Query(
            f"max by (pod) (process_resident_memory_bytes{{{_OF}}} "
            f"and on (namespace, pod) {_series(LEADING)})",
            "{{pod}}",
        )
    ],
    colors={".*": BLUE},
)


def text() -> str:
    """Return the dashboard as JSON."""
    return dashboard_text(
        uid=UID,
        title="Trimtab / Operator",
        text="The operator itself: queue, passes, lag, scrapes, writes, Lease, errors.",
        # Not `namespace`: links carry variables over, and that one is of the objects.
        variables=(
            Variable(
                "operator_namespace", "Operator's namespace", _name(LEADING), "namespace", many=True
            ),
        ),
        annotations=decisions("Deployment|DriftPolicy|RetrainJob|ModelVersion", 'name=~".+"'),
        rows=(
            (4, _TOP),
            (8, [_QUEUE, _PASSES]),
            (8, [_LATENCY, _LEASE]),
            (8, [_REQUESTS, _ERRORS]),
            (8, [_REQUEST_SECONDS, _REPAIRED]),
            (8, [_TOLD, _MEMORY]),
        ),
        span="now-3h",
    )
