"""A written artifact in this process, as a container has it once it is Ready.

The training side runs it before anything is uploaded: what is refused here would have been refused
in the pod, by the same code, hours later.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import orjson

from trimtab.contract.artifact import Signature, Tensor
from trimtab.contract.rows import is_missing, time_text
from trimtab.serving.inference.outputs import Outputs
from trimtab.serving.inference.recorded import check_recorded
from trimtab.serving.inference.samples import mixed_rows, sample_rows
from trimtab.serving.inference.validation import Inputs, parse_json
from trimtab.serving.model.artifact import bring_artifact
from trimtab.serving.model.base import Matrix, Prediction
from trimtab.serving.model.load import load_model
from trimtab.serving.settings import ServingSettings

WARM_UP_ROWS: Final = (1, 8)


@dataclass(frozen=True, slots=True)
class Played:
    """What a request of some rows came to: the rows as they were read, and the answers."""

    rows: Matrix
    prediction: Prediction


__all__ = ["Played", "Rehearsal", "mixed_rows"]


class Rehearsal:
    """Raises StartRefused where a container would not become Ready."""

    def __init__(self, uri: str, digest: str, scratch: Path, *, max_bytes: int) -> None:
        settings = ServingSettings(
            model="rehearsal",
            version="rehearsal",
            artifact_uri=uri,
            artifact_digest=digest,
            scratch=scratch,
            max_artifact_bytes=max_bytes,
        )
        artifact = bring_artifact(settings)
        self.signature: Signature = artifact.signature
        model = load_model(artifact, trust_pickle=False)
        check_recorded(artifact, model)
        self.outputs = Outputs(self.signature, has_probabilities=model.has_probabilities)
        self._inputs = Inputs(self.signature, settings.max_rows, keeps_whole=model.keeps_whole)
        self._model = model
        for count in WARM_UP_ROWS:
            self._predicted(sample_rows(self.signature, artifact.baseline, count))

    def play(self, rows: Matrix) -> Played:
        """Send `rows` (n, columns) through a request and an answer.

        Raises RequestInvalid or ModelFailed as a container would answer 400 or 500.
        """
        body = orjson.dumps({"inputs": request_inputs(self.signature, rows)})
        read = self._inputs.read(parse_json(body, self._inputs.bounds)["inputs"])
        prediction = self._predicted(read)
        wanted = self.outputs.chosen(None, {})
        tensors, _ = self.outputs.tensors(wanted, prediction, slice(0, len(rows)))
        orjson.dumps(tensors, option=orjson.OPT_SERIALIZE_NUMPY)
        return Played(read, prediction)

    def _predicted(self, rows: Matrix) -> Prediction:
        # A thread of its own, since what is set for it must not stay set for the caller.
        with ThreadPoolExecutor(1, initializer=self._model.prepare_thread) as thread:
            return thread.submit(self._model.predict, rows.copy()).result()


def request_inputs(signature: Signature, rows: Matrix) -> list[dict[str, Any]]:
    """Return the tensors of a request for `rows` (n, columns of the signature)."""
    inputs = []
    at = 0
    for tensor in signature.inputs:
        size = prod(tensor.shape)
        column = rows[:, at : at + size].ravel().tolist()
        at += size
        inputs.append(
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": [len(rows), *tensor.shape],
                "data": [_element(value, tensor) for value in column],
            }
        )
    return inputs


def _element(value: Any, tensor: Tensor) -> Any:
    if is_missing(value):
        return None
    if tensor.unit is not None:
        return time_text(value, tensor.unit)
    if tensor.datatype == "BOOL":
        return bool(value)
    return int(value) if tensor.datatype in {"INT32", "INT64"} else value
