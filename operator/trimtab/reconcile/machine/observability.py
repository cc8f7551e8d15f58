"""The operator's own metrics about its passes. Names start with `trimtab_operator_`."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

PASSES = Counter("trimtab_operator_passes", "Reconcile passes by outcome.", ["kind", "outcome"])
PASS_SECONDS = Histogram(
    "trimtab_operator_pass_seconds", "Duration of a pass.", ["kind"], buckets=_SECONDS
)
LATENCY_SECONDS = Histogram(
    "trimtab_operator_latency_seconds",
    "From an event to the end of the pass that answers it.",
    ["kind"],
    buckets=_SECONDS,
)
QUEUE_DEPTH = Gauge("trimtab_operator_queue_depth", "Objects that are due and wait.")
QUEUE_OLDEST_SECONDS = Gauge(
    "trimtab_operator_queue_oldest_seconds", "Wait of the most overdue object."
)
REPAIRS = Counter(
    "trimtab_operator_resync_repairs",
    "Objects whose view was wrong when they were listed again.",
    ["plural"],
)
CONFIGURATION_REPAIRS = Counter(
    "trimtab_operator_configuration_repairs",
    "Children that somebody changed by hand and that were put back.",
    ["kind"],
)
CHECKPOINTS_LEFT_ASIDE = Counter(
    "trimtab_operator_checkpoints_left_aside",
    "Checkpoints that were not taken up: unavailable, not_authentic, broken or stale.",
    ["why"],
)
RESYNC_TIMESTAMP = Gauge(
    "trimtab_operator_resync_timestamp_seconds", "When everything was last listed."
)
CACHED_OBJECTS = Gauge("trimtab_operator_cached_objects", "Objects in memory.", ["plural"])
LEADING = Gauge("trimtab_operator_leading", "1 while this process holds the Lease.")
LOOP_LAG_SECONDS = Gauge(
    "trimtab_operator_loop_lag_seconds", "How late the event loop woke up last."
)
