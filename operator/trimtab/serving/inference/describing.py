"""What the pages of the protocol say of a model."""

from __future__ import annotations

from typing import Any, Final

from trimtab.contract.artifact import Tensor
from trimtab.serving.inference.binary import EXTENSION
from trimtab.serving.inference.outputs import CLASSIFICATION
from trimtab.serving.inference.served import Served

EXTENSIONS: Final = (
    EXTENSION,
    CLASSIFICATION,
    "model_configuration",
    "model_repository",
    "statistics",
)


def metadata(served: Served) -> dict[str, Any]:
    """Return the metadata of the protocol; the first dimension of every tensor is rows."""
    identity, signature = served.identity, served.signature
    return {
        "name": identity.model,
        "versions": [identity.version],
        "platform": f"{served.manifest.format}_trimtab",
        "inputs": [_described(tensor) for tensor in signature.inputs],
        "outputs": [_described(tensor) for tensor in signature.outputs],
        "parameters": {"digest": identity.digest, "baseline": identity.baseline},
    }


def configuration(served: Served) -> dict[str, Any]:
    """Return Triton's model configuration, as far as it says something here.

    Source: Triton Inference Server, `extension_model_configuration.md`, `model_config.proto`.
    """
    return {
        "name": served.identity.model,
        "platform": f"{served.manifest.format}_trimtab",
        "backend": "trimtab",
        "max_batch_size": served.inputs.max_rows,
        "input": [_configured(tensor) for tensor in served.signature.inputs],
        "output": [_configured(tensor) for tensor in served.signature.outputs],
    }


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": [-1, *tensor.shape]}


def _configured(tensor: Tensor) -> dict[str, Any]:
    kind = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    return {"name": tensor.name, "data_type": f"TYPE_{kind}", "dims": tensor.shape or [1]}
