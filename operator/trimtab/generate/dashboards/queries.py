"""Expressions that several dashboards ask for.

Series of pods have `model`, `version` and what the scrape adds, `namespace` and `pod`. Whose pod it
is says `trimtab_model_info`, of the one series of a pod that has `revision`.
"""

from __future__ import annotations

from typing import Final

from trimtab.api.conditions import ConditionType, EventReason, Reason
from trimtab.contract import metrics
from trimtab.generate.dashboards.parts import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Annotation,
    Query,
    Variable,
    Word,
)
from trimtab.state_metrics.families import (
    CONDITION,
    DEPLOYMENT_INFO,
    DRIFT_VERDICT,
    LAST_DECISION,
    Family,
)

OF_NAMESPACE: Final = 'namespace=~"$namespace"'
OF_DEPLOYMENT: Final = f'{OF_NAMESPACE}, name=~"$deployment"'
"""Labels of a Deployment's own series."""
BY_DEPLOYMENT: Final = f'{OF_NAMESPACE}, deployment=~"$deployment"'
"""Labels of what a policy or a retraining says about a Deployment."""
BY: Final = "namespace, name"

NO_STATE: Final = "no data yet: is the operator scraped?"
NO_PODS: Final = "no data yet: are the serving pods scraped?"


def series(family: Family, *matchers: str) -> str:
    """Return a selector of a metric of state."""
    return f"{family.name}{{{', '.join(matchers)}}}"


def condition(type: ConditionType, *matchers: str) -> str:
    """Return which Deployments have a condition: 1 for each of them."""
    of = series(CONDITION, OF_DEPLOYMENT, 'kind="Deployment"', f'type="{type}"', *matchers)
    return f"max by ({BY}) ({of})"


def policy_condition(type: ConditionType) -> str:
    """Return which DriftPolicies of the namespaces have a condition that is True."""
    matchers = (OF_NAMESPACE, 'kind="DriftPolicy"', f'type="{type}"', 'status="True"')
    return f"max by ({BY}) ({series(CONDITION, *matchers)})"


def counted(expr: str) -> str:
    """Return how many there are; 0 only where there are Deployments at all, else nothing."""
    return f"count({expr}) or 0 * count({series(DEPLOYMENT_INFO, OF_NAMESPACE)})"


NOT_SERVING: Final = condition(ConditionType.READY, 'status!="True"', 'reason!="ScaledToZero"')
DEGRADED: Final = condition(ConditionType.DEGRADED, 'status="True"')
BLIND: Final = condition(
    ConditionType.DATA_AVAILABLE, 'status="False"', f'reason!="{Reason.NO_TRAFFIC}"'
)
CANDIDATE: Final = series(DEPLOYMENT_INFO, OF_DEPLOYMENT, 'candidate!=""')
TRIED: Final = f"max by ({BY}) ({CANDIDATE})"
STATE: Final = (
    f"3 * {NOT_SERVING}\nor 2 * {DEGRADED}\nor {TRIED}\n"
    f"or 0 * max by ({BY}) ({series(DEPLOYMENT_INFO, OF_DEPLOYMENT)})"
)
STATES: Final = {
    "0": Word("Serves", GREEN),
    "1": Word("Rollout", BLUE),
    "2": Word("Degraded", ORANGE),
    "3": Word("Does not serve", RED),
}
"""What the values of `STATE` mean: the worst that is so."""
VERDICTS: Final = {
    "0": Word("Stable", GREEN),
    "1": Word("Too few", YELLOW),
    "2": Word("No data", ORANGE),
    "3": Word("Drifting", RED),
}


def verdict(*matchers: str) -> str:
    """Return the verdict of each signal as a number of `VERDICTS`."""
    words = ("Stable", "InsufficientData", "NoData", "Drifting")
    return " or ".join(
        f"{number} * {series(DRIFT_VERDICT, *matchers, matcher)}"
        for number, matcher in enumerate(f'verdict="{word}"' for word in words)
    )


SERVED: Final = f'{metrics.MODEL_INFO}{{{BY_DEPLOYMENT}, revision!=""}}'
"""What pods of the Deployment serve. Others of their series explain versions that tokens are of; a
scrape gives these the label `deployment`, too."""
OWN: Final = (
    "* on (namespace, pod) group_left (deployment, revision) max by "
    f"(namespace, pod, deployment, revision) ({SERVED})"
)
"""Behind a rate of a pod's counter: only pods of the Deployment, with its name and revision."""


def pods(name: str, *matchers: str) -> str:
    """Return a selector of a metric of the pods."""
    return f"{name}{{{', '.join((OF_NAMESPACE, *matchers))}}}"


def per_second(by: str, name: str, *matchers: str) -> str:
    """Return the rate of a counter of the pods of the Deployment, summed by labels."""
    return f"sum by ({by}) (rate({pods(name, *matchers)}[$__rate_interval]) {OWN})"


def quantile(q: float, by: str, histogram: str) -> str:
    """Return a quantile of a histogram of the pods of the Deployment."""
    return f"histogram_quantile({q}, {per_second(f'le, {by}', f'{histogram}_bucket')})"


def median_and_p99(by: str, histogram: str, legend: str) -> list[Query]:
    """Return both quantiles of a histogram of the pods, as two lines."""
    return [
        Query(quantile(q, by, histogram), f"{legend} {name}")
        for q, name in ((0.5, "p50"), (0.99, "p99"))
    ]


# --- variables and marks ------------------------------------------------------------------------


def variables(*, many: bool) -> tuple[Variable, Variable]:
    """Return those of namespace and Deployment; many: more than one may be chosen."""
    info = DEPLOYMENT_INFO.name
    return (
        Variable("namespace", "Namespace", info, "namespace", many),
        Variable("deployment", "Deployment", series(DEPLOYMENT_INFO, OF_NAMESPACE), "name", many),
    )


_BAD: Final = (
    EventReason.ROLLED_BACK,
    EventReason.GATE_FAILED,
    EventReason.GUARD_BREACHED,
    EventReason.FIRST_VERSION_FAILED,
    EventReason.FLAPPING,
    EventReason.HARM_DETECTED,
    EventReason.DATA_BROKEN,
    EventReason.RETRAIN_FAILED,
    EventReason.VERSION_REJECTED,
)
_GOOD: Final = (
    EventReason.PROMOTED,
    EventReason.GUARD_PASSED,
    EventReason.RETRAIN_SUCCEEDED,
)


def _marks(name: str, color: str, *matchers: str) -> Annotation:
    last = series(LAST_DECISION, *matchers)
    return Annotation(
        name,
        f"max by (namespace, name, kind, reason) (1000 * {last}) >= $__from",
        "{{reason}}",
        "{{kind}} {{namespace}}/{{name}}: {{reason}}",
        color,
    )


def decisions(kinds: str = "Deployment", objects: str = OF_DEPLOYMENT) -> list[Annotation]:
    """Return a mark for every decision about objects of kinds (`A|B`): bad, good and others."""
    of = (objects, f'kind=~"{kinds}"')
    bad, good = "|".join(_BAD), "|".join(_GOOD)
    return [
        _marks("Went wrong", RED, *of, f'reason=~"{bad}"'),
        _marks("Went well", GREEN, *of, f'reason=~"{good}"'),
        _marks("Other decisions", BLUE, *of, f'reason!~"{bad}|{good}"'),
    ]


def board_link(uid: str, namespace: str, deployment: str) -> str:
    """Return the address of a dashboard about the Deployment of a row; arguments: its columns."""
    of = "&".join(
        f"var-{name}=${{__data.fields[{column!r}]}}"
        for name, column in (("namespace", namespace), ("deployment", deployment))
    ).replace("'", '"')
    return f"/d/{uid}?{of}&${{datasource:queryparam}}&${{__url_time_range}}"
