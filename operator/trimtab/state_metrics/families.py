"""The metrics of state: each with its type, its labels and what it means.

Names by Prometheus' conventions. The reference page is generated from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

ROLLOUT_SECONDS_BUCKETS: Final = (
    30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0, 604800.0,
)  # fmt: skip
"""Upper bounds in seconds: half a minute to a week."""


@dataclass(frozen=True, eq=False)
class Family:
    """One metric. Labels are given in this order."""

    name: str
    type: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    help: str

    @cached_property
    def head(self) -> bytes:
        """The lines in front of its series."""
        text = self.help.replace("\\", "\\\\").replace("\n", "\\n")
        return f"# HELP {self.name} {text}\n# TYPE {self.name} {self.type}\n".encode()


def _gauge(name: str, labels: str, text: str) -> Family:
    return Family(name, "gauge", ("namespace", "name", *labels.split()), text)


def _counter(name: str, labels: str, text: str) -> Family:
    return Family(name, "counter", tuple(labels.split()), text)


# --- Deployment ---------------------------------------------------------------------------------

DEPLOYMENT_INFO = _gauge(
    "trimtab_deployment_info",
    "model serving candidate strategy",
    "1: the version that serves, the one that is tried, and how. Empty where there is none.",
)
ROLLOUT_WEIGHT = _gauge(
    "trimtab_rollout_weight",
    "of",
    "Share of the requests that the candidate shall have (wanted), and had since the step began "
    "(measured, in whole percents): 0 to 1, while a rollout is under way.",
)
ROLLOUT_STEP = _gauge("trimtab_rollout_step", "", "Which step the rollout is in, from 1.")
ROLLOUT_STEPS = _gauge("trimtab_rollout_steps", "", "How many steps the rollout has.")
GATE_EVIDENCE_RATIO = _gauge(
    "trimtab_gate_evidence_ratio",
    "gate",
    "Evidence against the candidate as part of what fails the gate, both as logarithms: 0 is none, "
    "1 and above fails. As at the last look that was written to status.",
)
GATE_BAD = _counter(
    "trimtab_gate_bad_total",
    "namespace name side gate",
    "Bad ones among trimtab_gate_total.",
)
GATE_TOTAL = _counter(
    "trimtab_gate_total",
    "namespace name side gate",
    "Requests (labels, of a gate on outcomes) that the gate has counted since the step began, of "
    "the candidate and of stable. They begin anew with each step.",
)
ROLLOUTS = _counter(
    "trimtab_rollouts_total",
    "namespace name outcome reason",
    "Rollouts that ended, and versions that were sent back later, by outcome; reason: of the "
    "quarantine or of the missing judgement, else empty. Since this process leads.",
)
ROLLOUT_SECONDS = Family(
    "trimtab_rollout_seconds",
    "histogram",
    ("namespace", "outcome"),
    "Seconds from the start of a rollout to its end, with its pauses. Of all Deployments of a "
    "namespace: one of them has too few rollouts for a histogram. Since this process leads.",
)
MODEL_AGE = _gauge(
    "trimtab_model_age_seconds",
    "",
    "Seconds since the ModelVersion was made that serves.",
)
LINEAGE_DEPTH = _gauge(
    "trimtab_model_lineage_depth",
    "",
    "Versions behind the one that serves, each the parent of the next, as far as the cluster has "
    "them; 100 at most.",
)
SERVING_SINCE = _gauge(
    "trimtab_serving_since_timestamp_seconds",
    "",
    "Unix seconds since when the version serves: its promotion, or the end of the way back to it.",
)

# --- DriftPolicy --------------------------------------------------------------------------------

DRIFT_VALUE = _gauge(
    "trimtab_drift_value",
    "deployment signal",
    "What the signal measured or estimated in its last window, in its own unit: PSI of the "
    "feature that moved most, a metric of quality, a share of broken values.",
)
DRIFT_THRESHOLD = _gauge(
    "trimtab_drift_threshold",
    "deployment signal",
    "Where the signal fires, in the unit of trimtab_drift_value; of quality and outcomes the floor "
    "or ceiling.",
)
DRIFT_VERDICT = _gauge(
    "trimtab_drift_verdict",
    "deployment signal verdict",
    "1 for what the signal says: Stable, Drifting, InsufficientData or NoData.",
)
FEATURE_PSI = _gauge(
    "trimtab_feature_psi",
    "deployment feature",
    "How far the features moved that moved most (status keeps 20, or fewer where a policy "
    "watches many Deployments).",
)
QUALITY_ESTIMATED = _gauge(
    "trimtab_quality_estimated",
    "deployment metric class",
    "The metric of signal quality in its last window, estimated without labels. class is empty "
    "for all classes.",
)
QUALITY_REALISED = _gauge(
    "trimtab_quality_realised",
    "deployment metric class",
    "The metric of signal outcomes in its last window, measured on labelled rows.",
)
QUALITY_BOUNDS = {
    (of, bound): _gauge(
        f"trimtab_quality_{of}_{bound}",
        "deployment metric class",
        f"{bound.capitalize()} bound of trimtab_quality_{of}, one-sided at the level of one look.",
    )
    for of in ("estimated", "realised")
    for bound in ("lower", "upper")
}
"""By what it bounds and which bound it is."""
LABELS_SHARE = _gauge(
    "trimtab_labels_share",
    "deployment",
    "Share of the rows in the last window of signal outcomes whose truth has come in.",
)
BUDGET_USED_RATIO = _gauge(
    "trimtab_false_alarm_budget_used_ratio",
    "",
    "Alarms of the last 90 days, true or false, over the false alarms that are accepted in that "
    "time for the Deployments that are watched. At most 50 alarms are remembered.",
)

# --- RetrainJob ---------------------------------------------------------------------------------

RETRAINS = _counter(
    "trimtab_retrains_total",
    "namespace deployment cause outcome",
    "Retrainings that ended, by the signal that asked for them (or manual) and outcome. Since this "
    "process leads.",
)

RETRAIN_ATTEMPTS = _gauge(
    "trimtab_retrain_attempts",
    "deployment phase",
    "RetrainJobs of the policy that its status remembers, by how they ended (Started: not yet). A "
    "deleted one counts, too.",
)
RETRAIN_INFO = _gauge(
    "trimtab_retrain_info",
    "deployment model cause phase version",
    "1: what the RetrainJob answers (a signal, or manual), how far it is, and the version that it "
    "makes.",
)
RETRAIN_ATTEMPT = _gauge(
    "trimtab_retrain_attempt",
    "deployment",
    "Which attempt for its cause the RetrainJob is, from 1.",
)
RETRAIN_STARTED = _gauge(
    "trimtab_retrain_started_timestamp_seconds",
    "deployment",
    "Unix seconds at which the training started.",
)
RETRAIN_FINISHED = _gauge(
    "trimtab_retrain_finished_timestamp_seconds",
    "deployment",
    "Unix seconds at which the RetrainJob ended.",
)
RETRAIN_MEASURED = _gauge(
    "trimtab_retrain_measured",
    "deployment side version metric",
    "The metric of champion and of challenger (side) on the same held-out rows.",
)
RETRAIN_MEASURED_LOWER = _gauge(
    "trimtab_retrain_measured_lower",
    "deployment side version metric",
    "Lower end of the interval of trimtab_retrain_measured.",
)
RETRAIN_MEASURED_UPPER = _gauge(
    "trimtab_retrain_measured_upper",
    "deployment side version metric",
    "Upper end of the interval of trimtab_retrain_measured.",
)

# --- all kinds ----------------------------------------------------------------------------------

CONDITION = _gauge(
    "trimtab_condition",
    "kind type status reason",
    "1 for the status (True, False, Unknown) and reason that each condition has.",
)
DECISIONS = _counter(
    "trimtab_decisions_total",
    "namespace name kind reason",
    "Decisions by reason. Since this process leads.",
)
LAST_DECISION = _gauge(
    "trimtab_last_decision_timestamp_seconds",
    "kind reason",
    "Unix seconds of the last decision of this reason, among those that status keeps (ten or more) "
    "and those that this process has seen made while it leads.",
)
UNREADABLE = Family(
    "trimtab_operator_unreadable_objects",
    "gauge",
    ("kind",),
    "Objects whose status this release cannot read: they have no series here.",
)

FAMILIES: Final = (
    DEPLOYMENT_INFO, ROLLOUT_WEIGHT, ROLLOUT_STEP, ROLLOUT_STEPS, GATE_EVIDENCE_RATIO, GATE_BAD,
    GATE_TOTAL, ROLLOUTS, ROLLOUT_SECONDS, MODEL_AGE, LINEAGE_DEPTH, SERVING_SINCE,
    DRIFT_VALUE, DRIFT_THRESHOLD, DRIFT_VERDICT, FEATURE_PSI, QUALITY_ESTIMATED,
    QUALITY_REALISED, *QUALITY_BOUNDS.values(), LABELS_SHARE, BUDGET_USED_RATIO, RETRAINS,
    RETRAIN_ATTEMPTS, RETRAIN_INFO, RETRAIN_ATTEMPT, RETRAIN_STARTED, RETRAIN_FINISHED,
    RETRAIN_MEASURED, RETRAIN_MEASURED_LOWER, RETRAIN_MEASURED_UPPER,
    CONDITION, DECISIONS, LAST_DECISION, UNREADABLE,
)  # fmt: skip
"""In the order of the page."""
