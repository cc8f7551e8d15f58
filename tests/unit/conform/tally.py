"""The counters of the container that keeps the contract, and how they can be wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from trimtab.contract.metrics import REQUEST_SECONDS_BUCKETS
from trimtab.contract.token import Token

MODEL, VERSION, DIGEST = "reference", "v1", "sha256:" + "11" * 32
OWN = {"model": MODEL, "version": VERSION}
STARTED = time.time()
_FEATURES = ("x[0]", "x[1]", "colour")
_OTHERS = ("predict_seconds_bucket", "batch_rows_bucket", "queue_depth")
_STANDING = {
    "requests_started_total": "started stands still",
    "requests_total": "codes stand still",
    "predicted_total": "predicted stands still",
    "score_bin_total": "scores stand still",
    "probability_sum_total": "probabilities stand still",
    "outcomes_total": "outcomes stand still",
    "outcomes_by_hour_total": "no hours",
    "tokens_refused_total": "refusals are not counted",
}


class Tally:
    """Counts by name (without `trimtab_`) and labels beside the identity."""

    def __init__(self, is_broken: Callable[[str], bool]) -> None:
        self._is_broken = is_broken
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self._outcomes: dict[str, str] = {}
        self.seconds = 0
        for feature in _FEATURES:
            self.add("feature_bin_total", 0, feature=feature, bin=self._bin(0))
            self.add("feature_unseen_total", 0, feature=feature)
            if not is_broken("no missing values"):
                self.add("feature_missing_total", 0, feature=feature)
        for name in ("started stands still", "codes stand still"):
            if not is_broken(name):
                self.add("requests_total", 0, code="500")
        self.add("requests_started_total", 0)
        if not is_broken("no score sums"):
            self.add("score_bin_sum_total", 0, bin="0")
        for name in ("score_bin_total", "outcomes_total", "predicted_by_hour_total"):
            self.add(name, 0)
        self.add("predicted_total", 0, **{"class": "0"})

    def add(self, name: str, by: int = 1, **labels: str) -> None:
        """Count, unless this counter is the broken one."""
        key = (name, tuple(sorted(labels.items())))
        self._counts[key] += 0 if self._is_broken(_STANDING.get(name, "-")) else by

    def request(self, status: int) -> None:
        """Count one request that was answered at once."""
        self.start()
        self.finish(status)

    def start(self) -> None:
        """Count a request that has begun."""
        self.add("requests_started_total", 2 if self._is_broken("started twice") else 1)

    def finish(self, status: int) -> None:
        """Count an answer."""
        code = 200 if self._is_broken("every code is 200") else status
        self.add("requests_total", code=str(code))
        self.seconds += 0 if self._is_broken("seconds stand still") else 1

    def rows(self, classes: list[int]) -> None:
        """Count rows."""
        count = len(classes)
        for feature in _FEATURES:
            if feature == "x[1]" and self._is_broken("a feature stands still"):
                continue
            by = count + 1 if self._is_broken("a row too many in the bins") else count
            self.add("feature_bin_total", by, feature=feature, bin=self._bin(0))
        self.add("score_bin_total", count, bin="0")
        self.add("probability_sum_total", count, predicted="0", **{"class": "0"})
        for one in classes:
            self.add("predicted_total", 1, **{"class": str(one)})

    def labelled(self, token: Token, actual: list[Any]) -> None:
        """Count truths."""
        if self._is_broken("outcomes of another"):
            self._outcomes = {"digest": "sha256:" + "22" * 32, "baseline": DIGEST}
        for predicted, true in zip(token.predicted, actual, strict=False):
            self.add("outcomes_total", predicted=str(predicted), actual=str(true))
            self.add("outcomes_by_hour_total", hour=str(token.hour), correct="true")

    def _bin(self, index: int) -> str:
        return "low" if self._is_broken("bins by name") else str(index)

    def page(self) -> str:
        """Return the whole page."""
        if self._is_broken("no text"):
            return '{"metrics": 1}'
        lines = self._start() + self._infos() + self._histogram()
        for (name, labels), value in sorted(self._counts.items()):
            lines.append(self._line(name, str(value), **dict(labels)))
        for name in () if self._is_broken("no further metrics") else _OTHERS:
            lines.append(self._line(name, "1"))
        if self._is_broken("two versions"):
            lines.append(self._line("queue_depth", "1").replace('"v1"', '"v2"'))
        if self._is_broken("NaN"):
            lines.append(self._line("extra", "NaN"))
        if self._is_broken("none of ours"):
            lines = [line for line in lines if not line.startswith("trimtab_")]
        return "".join(f"{line}\n" for line in lines)

    def _start(self) -> list[str]:
        if self._is_broken("no start"):
            return []
        if self._is_broken("a start with labels"):
            return [f'process_start_time_seconds{{pod="a"}} {STARTED}']
        ahead = 7200 if self._is_broken("a start to come") else 0
        return [f"process_start_time_seconds {STARTED + ahead}"]

    def _infos(self) -> list[str]:
        """Return what says the digest of the version."""
        digest = "v1" if self._is_broken("a digest of its own") else DIGEST
        line = self._line("model_info", "1", digest=digest, baseline=DIGEST)
        if self._is_broken("no digest"):
            return [self._line("model_info", "1")]
        if self._is_broken("no model info"):
            return []
        if self._is_broken("two digests of a version"):
            return [line, line.replace(DIGEST, "sha256:" + "22" * 32, 1)]
        return [line]

    def _histogram(self) -> list[str]:
        bounds = [f"{bound:g}" for bound in REQUEST_SECONDS_BUCKETS]
        if self._is_broken("other bounds"):
            bounds[3] = "0.02"
        values = [self.seconds] * len(bounds)
        if self._is_broken("buckets that fall"):
            values[1] = 0
        lines = [
            self._line("request_seconds_bucket", str(value), le=bound)
            for bound, value in zip([*bounds, "+Inf"], [*values, self.seconds], strict=True)
        ]
        return [
            *lines,
            self._line("request_seconds_count", str(self.seconds)),
            self._line("request_seconds_sum", str(self.seconds / 1000)),
        ]

    def _line(self, name: str, value: str, **more: str) -> str:
        own = dict(OWN)
        if self._is_broken("labels of another model"):
            own["model"] = "another"
        if self._is_broken("labels of another version"):
            own["version"] = "v9"
        if self._is_broken("series without a version"):
            del own["version"]
        if self._is_broken("digests on all series"):
            own |= {"digest": DIGEST, "baseline": DIGEST}
        if name.startswith("outcomes"):
            own |= self._outcomes
        inside = ",".join(f'{label}="{text}"' for label, text in (own | more).items())
        return f"trimtab_{name}{{{inside}}} {value}"
