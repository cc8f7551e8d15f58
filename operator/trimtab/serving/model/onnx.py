"""Models of ONNX: a graph, run by onnxruntime, which only the image for them has."""

from __future__ import annotations

import logging

from trimtab.contract.onnx_graph import OnnxModel
from trimtab.contract.onnx_layout import GraphRefused
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model.artifact import Artifact

log = logging.getLogger(__name__)


def load(artifact: Artifact, *, trust_pickle: bool) -> OnnxModel:
    """Load a verified graph; raise ArtifactRefused with the reason in words.

    trust_pickle: says nothing here, a graph holds no code.
    """
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ArtifactRefused(
            "NeedsOnnxRuntime",
            "this image has no onnxruntime; ONNX models are served by the image serving-onnx",
        ) from error
    try:
        return OnnxModel(artifact.model_file, artifact.signature)
    except GraphRefused as error:
        raise ArtifactRefused("GraphRefused", str(error)) from error
