"""Which recorded series are meant, by labels that a scrape configuration adds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trimtab.contract.metrics import IDENTITY_LABELS
from trimtab.errors import SpecError

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Matchers:
    """All must hold. pod: a regular expression for the whole name. SpecError for a wrong one."""

    namespace: str | None = None
    pod: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.labels:
            if not _LABEL_NAME.fullmatch(name):
                raise SpecError(f"--labels: {name!r} is no label name")
            if name in IDENTITY_LABELS:
                raise SpecError(
                    f"--labels: {name} is a label of the counters; the baseline says whose are "
                    "meant, and these are labels of the pods, such as job=pods"
                )
        try:
            re.compile(self.pod or "")
        except re.error as error:
            raise SpecError(f"--pod-regex: {error}") from error

    def match(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is meant."""
        if self.namespace is not None and labels.get("namespace", "") != self.namespace:
            return False
        if self.pod is not None and not re.fullmatch(self.pod, labels.get("pod", "")):
            return False
        return all(labels.get(name, "") == value for name, value in self.labels.items())

    def promql(self) -> list[str]:
        """The same as matchers of PromQL, escaped."""
        matchers = [] if self.namespace is None else [f"namespace={_quoted(self.namespace)}"]
        if self.pod is not None:
            matchers.append(f"pod=~{_quoted(self.pod)}")
        return [*matchers, *(f"{k}={_quoted(v)}" for k, v in sorted(self.labels.items()))]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
