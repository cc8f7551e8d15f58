"""What has been asked and predicted since the start, as Triton's statistics extension has it.

The counts are those of `/metrics`. What Trimtab does not measure (the wait in the queue, inputs and
outputs apart, sizes of batches one by one) is there with zeros, as the extension wants it.
Source: Triton Inference Server, `extension_statistics.md`.
"""

from __future__ import annotations

from typing import Any

from trimtab.serving.counting.requests import RequestTotals
from trimtab.serving.counting.rows import CallTotals
from trimtab.serving.inference.served import Served


def statistics(served: Served, requests: RequestTotals, calls: CallTotals) -> dict[str, Any]:
    """Return the page for the one model that is served."""
    none = _duration(0, 0.0)
    return {
        "model_stats": [
            {
                "name": served.identity.model,
                "version": served.identity.version,
                "last_inference": round(requests.last * 1000),
                "inference_count": calls.rows,
                "execution_count": calls.calls,
                "inference_stats": {
                    "success": _duration(requests.answered, requests.answered_seconds),
                    "fail": _duration(requests.failed, requests.failed_seconds),
                    "queue": none,
                    "compute_input": none,
                    "compute_infer": _duration(calls.calls, calls.seconds),
                    "compute_output": none,
                    "cache_hit": none,
                    "cache_miss": none,
                },
                "batch_stats": [],
            }
        ]
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
