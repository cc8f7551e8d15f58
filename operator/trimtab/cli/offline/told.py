"""What `trimtab serve` prints: where the model answers, and lines to paste."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from trimtab.cli.offline.places import Found
from trimtab.contract.artifact import Baseline, Signature
from trimtab.serving.inference.examples import example_tensors

LONGEST_LINE: Final = 3000
"""Characters of a request that is printed; a longer one is put into a file."""
_JSON: Final = "-H 'content-type: application/json'"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the two ports are."""

    host: str
    port: int
    metrics_port: int

    @property
    def front(self) -> str:
        """URL of the port of requests."""
        return f"http://{self._name}:{self.port}"

    @property
    def back(self) -> str:
        """URL of the other port."""
        return f"http://{self._name}:{self.metrics_port}"

    @property
    def _name(self) -> str:
        if self.host in ("", "0.0.0.0", "::"):
            return "127.0.0.1"
        return f"[{self.host}]" if ":" in self.host else self.host


def told(
    found: Found, signature: Signature, baseline: Baseline, at: Addresses, scratch: Path
) -> list[str]:
    """Return the lines; a long request lies in the folder `scratch`."""
    url = f"{at.front}/v2/models/{quote(found.manifest.model, safe='')}/infer"
    request = json.dumps({"inputs": example_tensors(signature, baseline)}, separators=(", ", ": "))
    if len(request) > LONGEST_LINE:
        file = scratch / "request.json"
        file.write_text(request, encoding="ascii")
        request = f"@{file}"
    truth = json.dumps([{"token": "TOKEN", "actual": [_truth(signature, baseline)]}])
    changed = [
        "  changed     since it was published: the folder is named by another digest than that of "
        "its manifest.json"
    ]
    return [
        f"{found.title} from {found.place}",
        *(changed if found.is_changed else []),
        f"  requests    {url}",
        f"  described   {at.front}/openapi.json",
        f"  metrics     {at.back}/metrics",
        "",
        "Try it:",
        f"  curl -s {shlex.quote(url)} {_JSON} -d {shlex.quote(request)}",
        "A file of rows, with a column for each input:",
        f"  trimtab predict {at.front} rows.csv",
        "A truth that is known later; TOKEN is the trimtab_token of the answer:",
        f"  curl -s {at.back}/outcomes {_JSON} -d {shlex.quote(truth)}",
        "Ctrl-C ends it.",
    ]


def _truth(signature: Signature, baseline: Baseline) -> Any:
    if signature.classes:
        return signature.classes[0]
    edges = baseline.score_edges
    return float(f"{edges[len(edges) // 2]:.6g}") if edges else 0.0
