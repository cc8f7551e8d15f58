"""The second port: probes, and counters that move by exactly what was asked.

Nobody else may talk to the container meanwhile; probes and pages are not counted.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from trimtab.conform.container import Container, shown
from trimtab.conform.page import (
    Counts,
    Page,
    differences,
    grows_by,
    growth,
    infos,
    is_ours,
    known_page,
    look,
    need,
)
from trimtab.conform.rows import Check, Failed, Skipped, optional, required
from trimtab.conform.tensors import rows_of
from trimtab.contract import metrics
from trimtab.contract.identity import ContradictoryIdentity, identities_of

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_GOOD, _BAD = 4, 2
_EXACT: Final = "count every request and row once, nothing else (nobody else may ask meanwhile)"
_LABELLED: Final = (
    "label every series trimtab_* with model and version, and export one "
    f"{metrics.MODEL_INFO}{{model,version,digest,baseline}} for each version"
)
_OF_TOKENS: Final = ("trimtab_outcome",)
"""Begin the names of what is counted for the version of the token, not that of the pod."""


async def _probes(container: Container) -> str:
    for path in ("/readyz", "/healthz"):
        response = await container.back.get(path)
        if response.status_code != 200:
            raise Failed(f"{path}: {shown(response)}", "answer the probes of the pod with 200")
    return "200 at /readyz and /healthz"


async def _page(container: Container) -> str:
    page = await look(container)
    container.has_page = True
    count = len([name for name, _, _ in page.samples if is_ours(name)])
    if not count:
        raise Failed("no series trimtab_*", "export the metrics of trimtab/contract/metrics.py")
    return f"{count} series trimtab_* of {len(page.samples)}"


async def _separate(container: Container) -> str:
    response = await container.front.get("/metrics")
    if not 400 <= response.status_code < 500:
        raise Failed(
            f"/metrics on the inference port: {shown(response)}"[:120],
            "serve it on the second port alone, which enters no route",
        )
    return f"{response.status_code} for /metrics on the inference port"


async def _process_start(container: Container) -> str:
    page = await known_page(container, metrics.PROCESS_START)
    found = page.of(metrics.PROCESS_START)
    labels, value = found[0]
    if labels or len(found) > 1 or not 0 < value <= time.time() + 60:
        raise Failed(
            f"{len(found)} series, {dict(labels)}, {value:g}",
            "export one time in Unix seconds, without labels: it tells restarts",
        )
    return f"{time.time() - value:.0f} s ago"


async def _identity(container: Container) -> str:
    page = await known_page(container)
    ours = [(name, labels) for name, labels, _ in page.samples if is_ours(name)]
    if not ours:
        raise Failed("no series trimtab_*", "label every one by its version")
    try:
        identities_of(infos(page.samples))
    except ContradictoryIdentity as error:
        raise Failed(str(error), "say one digest and one baseline of each version") from error
    found = set()
    for name, labels in ours:
        missing = [label for label in metrics.IDENTITY_LABELS if not labels.get(label)]
        if missing:
            raise Failed(f"{name} has no {', '.join(missing)}", _LABELLED)
        if name != metrics.MODEL_INFO and not name.startswith(_OF_TOKENS):
            found.add(tuple(labels[label] for label in metrics.IDENTITY_LABELS))
    if len(found) != 1:
        raise Failed(f"{len(found)} versions", "one process serves one version")
    own = dict(zip(metrics.IDENTITY_LABELS, found.pop(), strict=True))
    return _identity_of(container, own)


def _identity_of(container: Container, own: dict[str, str]) -> str:
    for label in ("digest", "baseline"):
        if not _DIGEST.fullmatch(own[label]):
            raise Failed(f"{label} is {own[label][:60]!r}", "give sha256:<64 hex>")
    if own["model"] != container.model:
        raise Failed(f"model is {own['model'][:60]!r}", f"give the name served: {container.model}")
    if container.version not in (None, own["version"]):
        raise Failed(f"version is {own['version'][:60]!r}", f"give {container.version}")
    container.facts["identity"] = own
    return f"{own['model']} {own['version']} {own['digest'][:15]}..."


async def _requests(container: Container) -> str:
    codes: Counter[str] = Counter()
    body = container.request()

    async def ask() -> None:
        for content in [body] * _GOOD + [b"{"] * _BAD:
            codes[str((await container.infer(content)).status_code)] += 1
        for path in ("/v2", "/v2/health/ready", container.model_path):
            await container.front.get(path)

    def measure(page: Page) -> Counts:
        by_code = page.by(metrics.REQUESTS, "code")
        return {"started": page.total(metrics.REQUESTS_STARTED)} | {
            f"code {code}": value for code, value in by_code.items()
        }

    def expected() -> Counts:
        by_code = {f"code {code}": float(count) for code, count in codes.items()}
        return {"started": float(codes.total())} | by_code

    names = (metrics.REQUESTS_STARTED, metrics.REQUESTS)
    grown = await growth(container, ask, measure, expected, *names)
    wrong = differences(grown, expected())
    if wrong:
        raise Failed(wrong, _EXACT)
    told = ", ".join(f"{count} of {code}" for code, count in codes.items())
    return f"{codes.total()} started, {told}"


async def _seconds(container: Container) -> str:
    body, name = container.request(), metrics.REQUEST_SECONDS

    async def ask() -> None:
        for _ in range(_GOOD):
            await container.answered(body)

    def measure(page: Page) -> Counts:
        return {
            "count": page.total(f"{name}_count"),
            "bucket +Inf": page.total(f"{name}_bucket", le="+Inf"),
        }

    expected = dict.fromkeys(("count", "bucket +Inf"), float(_GOOD))
    names = (f"{name}_count", f"{name}_bucket", f"{name}_sum")
    grown = await growth(container, ask, measure, lambda: expected, *names)
    wrong = differences(grown, expected)
    if wrong:
        raise Failed(wrong, _EXACT)
    return _buckets(await look(container), name)


def _buckets(page: Page, name: str) -> str:
    try:
        cumulative = {float(le): value for le, value in page.by(f"{name}_bucket", "le").items()}
    except ValueError as error:
        raise Failed(f"le: {error}"[:120], "name buckets by their upper bound") from error
    bounds = sorted(cumulative)
    wanted = [*metrics.REQUEST_SECONDS_BUCKETS, math.inf]
    if bounds != wanted:
        missing = [f"{bound:g}" for bound in wanted if bound not in cumulative]
        raise Failed(
            f"{len(bounds)} bounds, missing: {', '.join(missing) or 'none'}",
            "use the bounds of the contract: gates snap to them",
        )
    values = [cumulative[bound] for bound in bounds]
    if values != sorted(values):
        raise Failed("a bucket has less than the one below", "buckets are cumulative")
    return f"{len(bounds)} buckets with the bounds of the contract"


async def _features(container: Container) -> str:
    body = container.some_rows(5)
    rows = rows_of(body)
    known = (await known_page(container, metrics.FEATURE_BIN)).values(
        metrics.FEATURE_BIN, "feature"
    )

    def measure(page: Page) -> Counts:
        names = (metrics.FEATURE_BIN, metrics.FEATURE_MISSING, metrics.FEATURE_UNSEEN)
        counters = [page.by(name, "feature") for name in names]
        return {one: sum(counter.get(one, 0.0) for counter in counters) for one in known}

    expected = dict.fromkeys(known, float(rows))
    grown = await growth(container, lambda: container.answered(body), measure, lambda: expected)
    wrong = differences(grown, expected)
    if wrong:
        raise Failed(wrong, "count each row once a feature: in a bin, missing or unseen")
    bins = (await look(container)).of(metrics.FEATURE_BIN)
    odd = [labels.get("bin", "") for labels, _ in bins if not labels.get("bin", "").isdigit()]
    if odd:
        raise Failed(f"bin is {odd[0]!r}", "name bins by their index in the baseline, from 0")
    return f"{rows} rows in the bins of {len(known)} features"


async def _faults(container: Container) -> str:
    names = (metrics.FEATURE_BIN, metrics.FEATURE_MISSING)
    page = await known_page(container, *names)
    features = page.values(metrics.FEATURE_BIN, "feature")
    strange = {
        feature
        for name in (metrics.FEATURE_UNSEEN, metrics.FEATURE_OUT_OF_RANGE)
        for feature in page.values(name, "feature")
    }
    missing = set(page.values(metrics.FEATURE_MISSING, "feature"))
    for feature in features:
        if feature not in missing or feature not in strange:
            raise Failed(
                f"{feature[:60]}: nothing missing, unseen or out of range is counted",
                "export zeros from the start",
            )
    return f"missing, unseen or out of range of {len(features)} features"


async def _predicted(container: Container) -> str:
    return await _rows_counted(container, metrics.PREDICTED)


async def _scores(container: Container) -> str:
    await known_page(container, metrics.SCORE_BIN_SUM)
    return await _rows_counted(container, metrics.SCORE_BIN)


async def _rows_counted(container: Container, name: str) -> str:
    body = container.some_rows(5)
    rows = rows_of(body)
    await known_page(container, name)
    await grows_by(container, lambda: container.answered(body), name, rows, _EXACT)
    return f"grew by the {rows} rows sent"


async def _probabilities(container: Container) -> str:
    page = await known_page(container, metrics.PREDICTED)
    classes = page.values(metrics.PREDICTED, "class")
    if classes == [""]:
        raise Skipped("a regression has none")
    if not page.has(metrics.PROBABILITY_SUM):
        raise Skipped(
            "none: no quality can be estimated without labels, as of a score that is not calibrated"
        )
    if len(classes) > 20:
        need(page, [metrics.PROBABILITY_SUM])
        return "exported; not summed up beyond 20 classes"
    return await _rows_counted(container, metrics.PROBABILITY_SUM)


async def _others(container: Container) -> str:
    buckets = [f"{name}_bucket" for name in (metrics.PREDICT_SECONDS, metrics.BATCH_ROWS)]
    await known_page(
        container, *buckets, metrics.QUEUE_DEPTH, metrics.MODEL_INFO, metrics.PREDICTED_BY_HOUR
    )
    return "predict seconds, batch rows, queue depth, model info, rows by hour"


async def _openmetrics(container: Container) -> str:
    if not container.has_page:
        raise Skipped("needs `metrics page` to pass")
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    response = await container.back.get("/metrics", headers=accept)
    kind = response.headers.get("content-type", "")
    if "openmetrics" not in kind:
        raise Failed(f"content type {kind[:60]!r}", "answer OpenMetrics where it is asked for")
    parse: Callable[[str], Iterable[object]] = text_string_to_metric_families
    try:
        count = len(list(parse(response.text)))
    except (ValueError, IndexError, KeyError) as error:
        raise Failed(f"not OpenMetrics: {str(error)[:120]}", "write OpenMetrics 1.0") from error
    return f"{count} families"


CHECKS: Final[tuple[Check[Container], ...]] = (
    required("probes", _probes),
    required("metrics page", _page),
    required("metrics apart", _separate),
    required("process start", _process_start),
    required("identity labels", _identity),
    required("requests counted", _requests),
    required("request seconds", _seconds),
    required("feature bins", _features),
    required("feature faults", _faults),
    required("predicted rows", _predicted),
    required("score bins", _scores),
    optional("probability sums", _probabilities),
    optional("further metrics", _others),
    optional("OpenMetrics", _openmetrics),
)
