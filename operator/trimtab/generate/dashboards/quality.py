"""Quality of one Deployment's model: how good it is, what moved, and what labels say."""

from __future__ import annotations

from typing import Final

from trimtab.contract import metrics
from trimtab.generate.dashboards.parts import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    About,
    Query,
    bars,
    dashboard_text,
    graph,
    matrix,
    stats,
)
from trimtab.generate.dashboards.queries import (
    BY_DEPLOYMENT,
    NO_PODS,
    OF_DEPLOYMENT,
    OF_NAMESPACE,
    OWN,
    VERDICTS,
    decisions,
    per_second,
    pods,
    series,
    variables,
    verdict,
)
from trimtab.state_metrics.families import (
    BUDGET_USED_RATIO,
    DEPLOYMENT_INFO,
    DRIFT_THRESHOLD,
    DRIFT_VALUE,
    DRIFT_VERDICT,
    FEATURE_PSI,
    LABELS_SHARE,
    QUALITY_BOUNDS,
    QUALITY_ESTIMATED,
    QUALITY_REALISED,
    Family,
)

UID: Final = "trimtab-quality"
_NO_POLICY: Final = "no data yet: no DriftPolicy has looked"
_NO_QUALITY: Final = "no data yet: no signal quality or outcomes"
_POLICY: Final = "namespace, name, deployment"


def _margin(family: Family, signal: str) -> str:
    """Return how much better than its limit a metric is; an error is better where it is less."""
    floor = series(DRIFT_THRESHOLD, BY_DEPLOYMENT, f'signal="{signal}"')
    beyond = f"- on ({_POLICY}) group_left () max by ({_POLICY}) ({floor})"
    errors = 'metric=~"mae|rmse"'
    return (
        f"min by (metric, class) ({series(family, BY_DEPLOYMENT, errors.replace('=~', '!~'))} "
        f"{beyond}\nor -1 * ({series(family, BY_DEPLOYMENT, errors)} {beyond}))"
    )


def _seen(name: str, by: str = "", *matchers: str) -> str:
    """Return how much a counter of the pods grew over the time shown."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (increase({pods(name, *matchers)}[$__range]) {OWN})"


_LABELLED: Final = (
    f"({_seen(metrics.OUTCOMES)} or {_seen(metrics.OUTCOME_ERRORS_COUNT)})\n"
    f"/ {_seen(metrics.PREDICTED)}"
)
_USED: Final = (
    f"max({series(BUDGET_USED_RATIO, OF_NAMESPACE)} "
    f"and on (namespace, name) {series(DRIFT_VERDICT, BY_DEPLOYMENT)})"
)
_SERVING: Final = series(DEPLOYMENT_INFO, OF_DEPLOYMENT, 'serving!=""')
_SCORES: Final = (
    f"sum by (bin) (increase({pods(metrics.SCORE_BIN)}[$__range]) {OWN} and on (namespace, version)"
    f' label_replace(max by (namespace, serving) ({_SERVING}), "version", "$1", "serving", "(.+)"))'
)
_AS_TRAINED: Final = (
    f"label_replace(label_replace({_SCORES}\n* scalar(count({_SCORES}))\n/ scalar(sum({_SCORES})), "
    '"bin", "0$1", "bin", "([0-9])"), "bin", "b$1", "bin", "(.+)")'
)


def _worst(name: str) -> str:
    """Return the five features with the largest share of such values."""
    share = f"{_seen(name, 'feature')} / scalar({_seen(metrics.PREDICTED)})"
    return f"topk(5, {share}) > 0"


def _right(matchers: str = "") -> str:
    rows = pods(metrics.OUTCOMES_BY_HOUR, *filter(None, [matchers]))
    return f"sum by (version) ({rows} {OWN})"


_TOP: Final = [
    stats(
        About(
            "What each signal says",
            "Red: it fired. Quality or outcomes: users are harmed, so see that something retrains, "
            "or go back with `trimtab rollback`. Data: ask who sends it. Inputs or predictions: "
            "look at the features below first. Too few: no verdict yet.",
            "none",
            _NO_POLICY,
            10,
        ),
        [Query(f"max by (signal) ({verdict(BY_DEPLOYMENT)})", "{{signal}}")],
        words=VERDICTS,
    ),
    stats(
        About(
            "Better than its limit by",
            "The metric less its floor, or a ceiling less the error. Red: below 0, users are "
            "harmed. See in Retraining that a retraining runs; else go back with "
            "`trimtab rollback`.",
            "none",
            _NO_QUALITY,
            6,
            decimals=3,
        ),
        [
            Query(_margin(QUALITY_ESTIMATED, "quality"), "estimated {{metric}} {{class}}"),
            Query(_margin(QUALITY_REALISED, "outcomes"), "realised {{metric}} {{class}}"),
        ],
        steps=((None, RED), (0, GREEN)),
    ),
    stats(
        About(
            "Labels seen",
            "Labelled rows of those predicted in the time shown; labels may be of rows before it. "
            "Last window: of the rows that signal outcomes judges; it needs half of them. "
            "Few: ask who posts labels. None is expected where there is no signal outcomes.",
            "percentunit",
            "no data yet: no label was posted",
            4,
            decimals=1,
        ),
        [
            Query(_LABELLED, "time shown"),
            Query(f"min({series(LABELS_SHARE, BY_DEPLOYMENT)})", "last window"),
        ],
    ),
    stats(
        About(
            "Alarm budget used",
            "Alarms of 90 days over the false alarms that are accepted. Red: either the data "
            "really move, or the tolerance is too small: `trimtab lint` says which one fits.",
            "percentunit",
            _NO_POLICY,
            4,
            decimals=0,
        ),
        [Query(_USED)],
        steps=((None, GREEN), (0.8, YELLOW), (1, RED)),
    ),
]


def _bounds(of: str) -> Query:
    """Return both bounds of a quality."""
    each = " or ".join(
        f"label_replace(max by (metric, class) ({series(QUALITY_BOUNDS[of, end], BY_DEPLOYMENT)}), "
        f'"bound", "{end}", "", "")'
        for end in ("lower", "upper")
    )
    return Query(each, f"bounds of {of} {{{{metric}}}} {{{{class}}}}: {{{{bound}}}}")


_LIMITS: Final = series(DRIFT_THRESHOLD, BY_DEPLOYMENT, 'signal=~"quality|outcomes"')
_METRICS: Final = graph(
    About(
        "Quality against its limits",
        "Estimated without labels, realised on labelled rows, the bounds of both, and where each "
        "fires: once both bounds are beyond it. A line that falls towards its limit: see which "
        "features move, and whether a retraining is due.",
        "none",
        _NO_QUALITY,
        12,
        decimals=3,
    ),
    [
        Query(
            f"max by (metric, class) ({series(QUALITY_ESTIMATED, BY_DEPLOYMENT)})",
            "estimated {{metric}} {{class}}",
        ),
        Query(
            f"max by (metric, class) ({series(QUALITY_REALISED, BY_DEPLOYMENT)})",
            "realised {{metric}} {{class}}",
        ),
        *(_bounds(of) for of in ("estimated", "realised")),
        Query(
            f"max by (signal) ({_LIMITS})",
            "limit of {{signal}}",
        ),
    ],
    from_zero=False,
    many=True,
    colors={
        "^estimated": BLUE,
        "^realised": GREEN,
        "^limit": RED,
        "^bounds of estimated": "super-light-blue",
        "^bounds of realised": "super-light-green",
    },
)
_BY_VERSION: Final = graph(
    About(
        "Right among labelled rows, by version",
        "Of the hours for which pods still take labels. A new version below the old one: its "
        "rollout should fail; see the gate on outcomes in Rollout.",
        "percentunit",
        "no data yet: no labels, or a regression",
        12,
        decimals=1,
    ),
    [Query(_right('correct="true"') + " / " + _right(), "{{version}}")],
    from_zero=False,
)
_HEAT: Final = matrix(
    About(
        "Drift by feature (PSI), of the features that moved most",
        "A row for each feature, a column for each time. Red: 0.25 or more. One red row: ask who "
        "sends this feature. All at once: other users, another season, or a broken pipeline.",
        "none",
        "no data yet: no signal inputs has looked",
        24,
        decimals=2,
    ),
    Query(f"max by (feature) ({series(FEATURE_PSI, BY_DEPLOYMENT)})"),
    row="feature",
    title="Feature",
    steps=((None, GREEN), (0.1, YELLOW), (0.25, RED)),
    columns=9,
)
_SCORE: Final = bars(
    About(
        "Scores, as many as at training (1)",
        "Rows in each bin of the score, from low to high, over the time shown, of the version that "
        "serves. Bins are quantiles of the training rows: 1 is as then. Bars that rise at one end: "
        "the mix of rows changed.",
        "none",
        NO_PODS,
        12,
        decimals=1,
    ),
    [Query(_AS_TRAINED)],
    steps=((None, YELLOW), (0.5, GREEN), (2, YELLOW), (4, ORANGE)),
    upright=True,
    sorted_by="bin",
)
_BROKEN: Final = bars(
    About(
        "Missing, unseen and out of range",
        "Share of the rows over the time shown, of the five features that have most of each. Red: "
        "a fifth or more. Ask who sends the feature what has changed; nothing is trained on it.",
        "percentunit",
        "none was seen, or no data yet",
        12,
        decimals=2,
    ),
    [
        Query(_worst(metrics.FEATURE_MISSING), "{{feature}} missing"),
        Query(_worst(metrics.FEATURE_UNSEEN), "{{feature}} unseen"),
        Query(_worst(metrics.FEATURE_OUT_OF_RANGE), "{{feature}} out of range"),
    ],
    steps=((None, GREEN), (0.05, YELLOW), (0.2, RED)),
    top=1,
)
_MOVED: Final = 'signal=~"inputs|predictions|data"'
_SIGNALS: Final = graph(
    About(
        "Inputs, predictions and data against their limits",
        "What each signal measured as part of where it fires: 100% fires. A line that climbs: find "
        "the feature in the table above before it does.",
        "percentunit",
        _NO_POLICY,
        12,
        decimals=0,
    ),
    [
        Query(
            f"max by (signal) ({series(DRIFT_VALUE, BY_DEPLOYMENT, _MOVED)} "
            f"/ {series(DRIFT_THRESHOLD, BY_DEPLOYMENT, _MOVED)})",
            "{{signal}}",
        )
    ],
    steps=((None, GREEN), (1, RED)),
    top=1.1,
)
_LABELS: Final = graph(
    About(
        "Labels: predicted, seen, refused",
        "Rows a second. Refused ones are said by reason: late and repeated ones are of who posts, "
        "forged ones have a token that no key of ours signed: find out who sends them.",
        "rowsps",
        NO_PODS,
        12,
    ),
    [
        Query(per_second("deployment", metrics.PREDICTED), "predicted"),
        Query(
            f"{per_second('deployment', metrics.OUTCOMES)}\n"
            f"or {per_second('deployment', metrics.OUTCOME_ERRORS_COUNT)}",
            "seen",
        ),
        Query(per_second("reason", metrics.TOKENS_REFUSED), "refused: {{reason}}"),
    ],
    colors={"^refused": RED},
    many=True,
)


def text() -> str:
    """Return the dashboard as JSON."""
    return dashboard_text(
        uid=UID,
        title="Trimtab / Quality",
        text="One Deployment's model: how good it is, what moved, and what labels say.",
        variables=variables(many=False),
        annotations=decisions("Deployment|DriftPolicy|RetrainJob", OF_NAMESPACE),
        rows=(
            (4, _TOP),
            (8, [_METRICS, _BY_VERSION]),
            (9, [_HEAT]),
            (8, [_SCORE, _BROKEN]),
            (8, [_SIGNALS, _LABELS]),
        ),
        span="now-24h",
    )
