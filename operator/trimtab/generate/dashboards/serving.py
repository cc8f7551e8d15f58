"""Serving: requests, answers and latency of the pods, by version."""

from __future__ import annotations

from typing import Final

from trimtab.contract import metrics
from trimtab.generate.dashboards.parts import (
    GREEN,
    RED,
    YELLOW,
    About,
    Query,
    dashboard_text,
    graph,
    stats,
)
from trimtab.generate.dashboards.queries import (
    NO_PODS,
    OF_NAMESPACE,
    OWN,
    SERVED,
    decisions,
    median_and_p99,
    per_second,
    pods,
    quantile,
    variables,
)

UID: Final = "trimtab-serving"
_VERSION: Final = "deployment, version"
_LEGEND: Final = "{{deployment}} {{version}}"
_NO_MEMORY: Final = "no data: needs the kubelet's container metrics"
_REFUSED: Final = 'code=~"' + "|".join(sorted(metrics.REJECTED_CODES)) + '"'
_BAD: Final = 'code=~"5.."'
_MEMORY: Final = (
    "sum by (namespace, pod) "
    f'(container_memory_working_set_bytes{{{OF_NAMESPACE}, container!=""}}) * on (namespace, pod) '
    "group_left (deployment, version) max by (namespace, pod, deployment, version) "
    f"({SERVED})"
)


def _all(name: str, *matchers: str) -> str:
    return f"sum({per_second('deployment', name, *matchers)})"


_TOP: Final = [
    stats(
        About("Requests", "Answered a second. None: look at the Service.", "reqps", NO_PODS, 4),
        [Query(_all(metrics.REQUESTS))],
        graph=True,
    ),
    stats(
        About(
            "Errors",
            "Answers with 5xx of all. Red: 1% or more; users see them. Find version and code "
            "below, then read the log of a pod of that version.",
            "percentunit",
            NO_PODS,
            4,
            decimals=2,
        ),
        [Query(f"{_all(metrics.REQUESTS, _BAD)} / {_all(metrics.REQUESTS)}")],
        steps=((None, GREEN), (0.001, YELLOW), (0.01, RED)),
        graph=True,
    ),
    stats(
        About(
            "Slowest p99",
            "99th percentile of the latency of the slowest Deployment. What is too slow for you, "
            "your gate on slow answers says.",
            "s",
            NO_PODS,
            4,
        ),
        [Query(f"max({quantile(0.99, 'deployment', metrics.REQUEST_SECONDS)})")],
        graph=True,
    ),
    stats(
        About(
            "Longest queue",
            "Requests that wait for the model, in the pod that has most. Yellow: latency grows. "
            "Red: 64 or more; requests will be refused with 503: add pods.",
            "none",
            NO_PODS,
            4,
        ),
        [Query(f"max({pods(metrics.QUEUE_DEPTH)} {OWN})")],
        steps=((None, GREEN), (16, YELLOW), (64, RED)),
        graph=True,
    ),
    stats(
        About(
            "Pods",
            "That are scraped and have their model. Fewer than replicas: some start, or are not "
            "scraped.",
            "none",
            NO_PODS,
            4,
        ),
        [Query(f"count(max by (namespace, pod) ({SERVED}))")],
        graph=True,
    ),
    stats(
        About(
            "Refused requests",
            "Answers 400, 413, 415 and 422 of all: they do not fit the model. Yellow: a client "
            "sends another schema; ask it. Red: a tenth of all.",
            "percentunit",
            NO_PODS,
            4,
            decimals=2,
        ),
        [Query(f"{_all(metrics.REQUESTS, _REFUSED)} / {_all(metrics.REQUESTS)}")],
        steps=((None, GREEN), (0.01, YELLOW), (0.1, RED)),
        graph=True,
    ),
]
_REQUESTS: Final = graph(
    About(
        "Requests by version",
        "Answered a second. A share that does not follow the rollout: clients keep connections.",
        "reqps",
        NO_PODS,
        12,
    ),
    [Query(per_second(_VERSION, metrics.REQUESTS), _LEGEND)],
    stacked=True,
)
_CODES: Final = graph(
    About(
        "Answers by code",
        "Of all versions. Red: 5xx. 500 is the model's, 503 a full queue or a model that loads.",
        "reqps",
        NO_PODS,
        12,
    ),
    [Query(per_second("code", metrics.REQUESTS), "{{code}}")],
    stacked=True,
    colors={"^2": GREEN, "^4": YELLOW, "^5": RED},
)
_ERRORS: Final = graph(
    About(
        "Errors by version",
        "Share of 5xx. One version alone: it is the model, and its gate should fail. All: look at "
        "the nodes and at what the pods share.",
        "percentunit",
        NO_PODS,
        12,
    ),
    [
        Query(
            f"{per_second(_VERSION, metrics.REQUESTS, _BAD)}\n"
            f"/ {per_second(_VERSION, metrics.REQUESTS)}",
            _LEGEND,
        )
    ],
    top=0.05,
)
_LATENCY: Final = graph(
    About(
        "Latency by version",
        "From the first byte read to the last one written: median and 99th percentile. Compare it "
        "with the time of the model below: the difference is waiting.",
        "s",
        NO_PODS,
        12,
    ),
    median_and_p99(_VERSION, metrics.REQUEST_SECONDS, _LEGEND),
    many=True,
)
_MODEL: Final = graph(
    About(
        "Time of the model",
        "Of one call, for all rows that were joined in it. Longer than before: a heavier version, "
        "or a node with less CPU.",
        "s",
        NO_PODS,
        12,
    ),
    median_and_p99(_VERSION, metrics.PREDICT_SECONDS, _LEGEND),
    many=True,
)
_JOINED: Final = graph(
    About(
        "Rows joined in a call",
        "Mean rows of one call of the model. 1 under load: requests are not joined, or each has "
        "one row and none waits.",
        "none",
        NO_PODS,
        12,
        decimals=1,
    ),
    [
        Query(
            f"{per_second(_VERSION, f'{metrics.BATCH_ROWS}_sum')}\n"
            f"/ {per_second(_VERSION, f'{metrics.BATCH_ROWS}_count')}",
            _LEGEND,
        )
    ],
)
_QUEUE: Final = graph(
    About(
        "Queue by version",
        "Requests that wait in the pod that has most. One that stays high: too few pods, or one "
        "that hangs.",
        "none",
        NO_PODS,
        12,
    ),
    [Query(f"max by ({_VERSION}) ({pods(metrics.QUEUE_DEPTH)} {OWN})", _LEGEND)],
)
_MEMORIES: Final = graph(
    About(
        "Memory by version",
        "Working set of the pod that has most, as the kubelet measures it. One that climbs for "
        "hours is killed at its limit: raise the limit, and tell who published the version.",
        "bytes",
        _NO_MEMORY,
        12,
    ),
    [Query(f"max by ({_VERSION}) ({_MEMORY})", _LEGEND)],
)


def text() -> str:
    """Return the dashboard as JSON."""
    return dashboard_text(
        uid=UID,
        title="Trimtab / Serving",
        text="The pods that answer: requests, codes, latency, joining, queue, memory, by version.",
        variables=variables(many=True),
        annotations=decisions(),
        rows=(
            (4, _TOP),
            (8, [_REQUESTS, _CODES]),
            (8, [_LATENCY, _ERRORS]),
            (8, [_MODEL, _JOINED]),
            (8, [_QUEUE, _MEMORIES]),
        ),
        span="now-3h",
    )
