"""Names and labels of the metrics that a serving container exports.

The operator reads these names and no others; any container that exports them can be judged.
All are labelled `model` and `version` unless said otherwise; `MODEL_INFO` says what digest and
baseline these two stand for, see `identity`.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

Labels: TypeAlias = frozenset[tuple[str, str]]
"""Names and values."""
SeriesKey: TypeAlias = tuple[str, Labels]
"""Name of a metric, and the labels of one of its series."""
Series: TypeAlias = Mapping[SeriesKey, float]
"""Counts by series."""

IDENTITY_LABELS: Final = ("model", "version", "digest", "baseline")
"""What every series has once it is read; the first two are on the page."""

REQUESTS_STARTED: Final = "trimtab_requests_started_total"
REQUESTS: Final = "trimtab_requests_total"
"""Answered requests by HTTP status, label `code`."""
REQUEST_SECONDS: Final = "trimtab_request_seconds"
"""Histogram of seconds from the first byte read to the last byte written."""
ASIDE_SECONDS: Final = "trimtab_aside_seconds"
"""Histogram like `REQUEST_SECONDS`, of those requests in it that are no evidence about slowness:
the first ones of a process, those compared with a second version or answered while it was being
loaded, and those that waited while another was compared.
"""
PREDICT_SECONDS: Final = "trimtab_predict_seconds"
BATCH_ROWS: Final = "trimtab_batch_rows"
QUEUE_DEPTH: Final = "trimtab_queue_depth"

FEATURE_BIN: Final = "trimtab_feature_bin_total"
"""Rows by `feature` and `bin` (index into the baseline's bins, from 0)."""
FEATURE_MISSING: Final = "trimtab_feature_missing_total"
FEATURE_UNSEEN: Final = "trimtab_feature_unseen_total"
FEATURE_OUT_OF_RANGE: Final = "trimtab_feature_out_of_range_total"
SCORE_BIN: Final = "trimtab_score_bin_total"
"""Rows by `bin` of the score: a probability, or a decision value of a classifier without any."""
SCORE_BIN_SUM: Final = "trimtab_score_bin_sum_total"
"""Sum by bin of the score; of a binary model that is calibrated the sum of the calibrated
probability of the second class, which the estimate of AUC takes as expected positives. The bins are
always of the raw score. Sums of values and of decision values may fall.
"""
PREDICTED: Final = "trimtab_predicted_total"
"""Rows by predicted `class`; the sum over classes is the number of predicted rows.

A regression has one series with an empty class. Classes beyond the first 1000 count as
`OTHER_CLASS`.
"""
PREDICTED_BY_HOUR: Final = "trimtab_predicted_by_hour_total"
"""Rows by `hour` (Unix hour), for as long as labels of that hour are taken."""
OTHER_CLASS: Final = "(other)"
"""Stands for class names that are not exported; always wrong as an actual class."""
PROBABILITY_SUM: Final = "trimtab_probability_sum_total"
"""Sum of calibrated probabilities by `predicted` and `class`.

Above 20 classes only `predicted == class` is exported. There is none of a classifier that gives no
probabilities and whose decision values are not calibrated.
"""

OUTCOMES: Final = "trimtab_outcomes_total"
"""Labelled rows by `predicted` and `actual`; model and version are those of the token. An actual
name that neither the token nor the serving model knows counts as `OTHER_CLASS`.
"""
OUTCOMES_BY_HOUR: Final = "trimtab_outcomes_by_hour_total"
"""Labelled rows by `hour` (Unix hours of the prediction) and `correct` (`true`, `false`), of few
classes also by `predicted` and `actual`. Hours too old for labels are left out.
"""
OUTCOME_ERRORS_COUNT: Final = "trimtab_outcome_errors_count"
OUTCOME_ERRORS_SUM: Final = "trimtab_outcome_errors_sum"
"""Predicted minus actual of a regression, in units of the target; may fall."""
OUTCOME_ERRORS_SQUARES: Final = "trimtab_outcome_errors_squares_total"
OUTCOME_ERRORS_ABSOLUTE: Final = "trimtab_outcome_errors_absolute_total"
OUTCOME_ERRORS_BY_HOUR_COUNT: Final = "trimtab_outcome_errors_by_hour_count"
"""The same four by `hour`, as `OUTCOMES_BY_HOUR`."""
OUTCOME_ERRORS_BY_HOUR_SUM: Final = "trimtab_outcome_errors_by_hour_sum"
OUTCOME_ERRORS_BY_HOUR_SQUARES: Final = "trimtab_outcome_errors_by_hour_squares_total"
OUTCOME_ERRORS_BY_HOUR_ABSOLUTE: Final = "trimtab_outcome_errors_by_hour_absolute_total"
TOKENS_REFUSED: Final = "trimtab_tokens_refused_total"
"""Outcomes not counted, by `reason` (`forged`, `late`, `repeated`, `malformed`, `tooManyVersions`);
with the identity of the pod that refused them.
"""

COMPARED: Final = "trimtab_compared_total"
"""Rows that were predicted by a second version too, by its digest in `against`."""
DISAGREEMENTS: Final = "trimtab_disagreements_total"
"""Those of them where the two answered differently: another class, or values further apart than the
second version's own RMSE at training.
"""

PAIRED_PREDICTED: Final = "trimtab_paired_predicted_total"
"""Requests of which the token carries the answers of a second version, too, a row as its part of
the request, by its digest in `against` and by cell: `served` is the class that was answered,
`other` that of the second version. With more than ten classes on either side `served` is
`ANY_CLASS` and `other` one of `SAME_CLASS` and `DIFFERENT_CLASS`. A cell is there from its first
row on.
"""
PAIRED_OUTCOMES: Final = "trimtab_paired_outcomes_total"
"""Labelled ones of them, a labelled row as its part, by `against`, `served`, `other` and
`difference`, which is [served wrong] - [other wrong]: `-1`, `0` or `1`. All labels of identity are
those of the token.
"""
PAIRED_REQUESTS: Final = "trimtab_paired_requests_total"
"""Labelled requests (tokens) by `against` and the mean `difference` of their labelled paired rows,
on the grid -1, -0.75, ... 1. A mean between two points of it is put on one of them at random, so
that its expectation is kept.
"""
ANY_CLASS: Final = "(any)"
SAME_CLASS: Final = "(same)"
DIFFERENT_CLASS: Final = "(different)"

COMPARE_STATE: Final = "trimtab_compare_state"
"""1 for the one `state` of now, out of `COMPARE_STATES`, of comparing `against` a second version;
there is no series for the other states, and none where no comparison for outcomes is configured.
"""
COMPARE_STATES: Final = (
    "waiting", "loading", "comparing", "paused",
    "noMemory", "killed", "failed", "notComparable", "ended",
)  # fmt: skip
"""The last five are final for the process."""
COMPARE_SECONDS: Final = "trimtab_compare_seconds_total"
"""Seconds that answers were held up for the second version's, `against` its digest."""

MODEL_INFO: Final = "trimtab_model_info"
"""1; `digest` and `baseline` of a `model` and `version`, one series for each version that the page
speaks of. That of the version that is served has `deployment`, `revision`, `task` and `tokens`,
too: the newest format of tokens that this pod reads whole, `1`, or `2` where it has the key to what
format 2 seals. Where two versions of one name have different bytes, the series of one of them carry
`digest` and `baseline` themselves.
"""
PROCESS_START: Final = "process_start_time_seconds"
"""Unix seconds at which the process started; without the identity labels."""

REQUEST_SECONDS_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Upper bounds in seconds; `slowerThan` of a gate snaps to one of them."""

BATCH_ROWS_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)

REJECTED_CODES: Final = frozenset({"400", "413", "415", "422"})
"""Answers that say the request did not fit the model."""

HISTOGRAMS: Final = (REQUEST_SECONDS, ASIDE_SECONDS, PREDICT_SECONDS, BATCH_ROWS)

OF_VERSIONS: Final = frozenset(
    {
        *(f"{name}_{end}" for name in HISTOGRAMS for end in ("bucket", "count", "sum")),
        REQUESTS_STARTED,
        REQUESTS,
        QUEUE_DEPTH,
        FEATURE_BIN,
        FEATURE_MISSING,
        FEATURE_UNSEEN,
        FEATURE_OUT_OF_RANGE,
        SCORE_BIN,
        SCORE_BIN_SUM,
        PREDICTED,
        PREDICTED_BY_HOUR,
        PROBABILITY_SUM,
        OUTCOMES,
        OUTCOMES_BY_HOUR,
        OUTCOME_ERRORS_COUNT,
        OUTCOME_ERRORS_SUM,
        OUTCOME_ERRORS_SQUARES,
        OUTCOME_ERRORS_ABSOLUTE,
        OUTCOME_ERRORS_BY_HOUR_COUNT,
        OUTCOME_ERRORS_BY_HOUR_SUM,
        OUTCOME_ERRORS_BY_HOUR_SQUARES,
        OUTCOME_ERRORS_BY_HOUR_ABSOLUTE,
        TOKENS_REFUSED,
        COMPARED,
        DISAGREEMENTS,
        PAIRED_PREDICTED,
        PAIRED_OUTCOMES,
        PAIRED_REQUESTS,
        COMPARE_STATE,
        COMPARE_SECONDS,
    }
)
"""Series that count something of one version: all but `MODEL_INFO` and `PROCESS_START`."""

SUMS: Final = frozenset(
    {
        SCORE_BIN_SUM,
        PROBABILITY_SUM,
        OUTCOME_ERRORS_SQUARES,
        OUTCOME_ERRORS_ABSOLUTE,
        OUTCOME_ERRORS_BY_HOUR_SQUARES,
        OUTCOME_ERRORS_BY_HOUR_ABSOLUTE,
        COMPARE_SECONDS,
    }
)
"""Beside the series named `*_sum`, those that add up what need not be a whole number."""

JUDGED: Final = frozenset(
    {
        REQUESTS_STARTED,
        REQUESTS,
        f"{REQUEST_SECONDS}_count",
        f"{REQUEST_SECONDS}_bucket",
        OUTCOMES,
        PAIRED_REQUESTS,
        PAIRED_OUTCOMES,
        PAIRED_PREDICTED,
        f"{ASIDE_SECONDS}_count",
        f"{ASIDE_SECONDS}_bucket",
    }
)
"""What the gates of a rollout and the guard read of a process."""

INFERENCE_PORT: Final = 8080
GRPC_PORT: Final = 8081
"""That of KServe and MLServer; open only where it is asked for."""
METRICS_PORT: Final = 9090
"""Probes, `/metrics` and `POST /outcomes`."""
