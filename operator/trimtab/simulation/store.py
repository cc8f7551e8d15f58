"""An artifact store in memory: for every digest the small files of a model with one input.

The baseline is evenly filled, as the rows of `Traffic` are by default, and is named by the digest
of its artifact, which is what simulated pods export.
"""

from __future__ import annotations

from trimtab.contract.artifact import Baseline, Manifest, NumericFeature, Signature, Tensor
from trimtab.store.port import Documents

ROWS = 1000


class MemoryStore:
    """Implements `trimtab.store.port.Store`; whatever is asked for is there and verified."""

    def __init__(self) -> None:
        self._read: dict[str, Documents] = {}

    async def documents(self, uri: str, digest: str) -> Documents:
        """See the port."""
        return self._read.setdefault(digest, documents_of(digest))

    def cached(self, digest: str) -> Documents | None:
        """See the port."""
        return self._read.get(digest)


def documents_of(digest: str) -> Documents:
    """Return manifest, signature and baseline of a binary classifier of one number, `x`."""
    manifest = Manifest(
        format="sklearn",
        model_file="model.skops",
        model="simulated",
        version="simulated",
        created="2026-01-01T00:00:00Z",
        files=[],
    )
    signature = Signature(
        task="classification",
        inputs=[Tensor(name="x", datatype="FP64")],
        outputs=[Tensor(name="predict", datatype="BYTES")],
        classes=["a", "b"],
    )
    half = ROWS // 2
    baseline = Baseline(
        digest=digest,
        n=ROWS,
        features=[
            NumericFeature(name="x", edges=[0.5], counts=[half, half], minimum=0.0, maximum=1.0)
        ],
        score_edges=[],
        score_counts=[ROWS],
        predicted_counts={"a": half, "b": half},
    )
    return Documents(manifest, signature, baseline)
