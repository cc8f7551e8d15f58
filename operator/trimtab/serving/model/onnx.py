"""Models of ONNX: a graph, run by onnxruntime, which only the image for them has."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.onnx_graph import OnnxModel
from trimtab.contract.onnx_layout import GraphRefused
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model.artifact import Artifact
from trimtab.serving.model.base import Matrix
from trimtab.serving.model.calibration import Floats

log = logging.getLogger(__name__)


class OnnxEstimator:
    """A graph that fits its signature. The graph's own label counts where it gives one."""

    def __init__(self, graph: OnnxModel) -> None:
        self._graph = graph
        self.has_probabilities = graph.has_probabilities
        self.keeps_whole = graph.keeps_whole

    def prepare_thread(self) -> None:
        """Nothing: a session may run in any thread."""

    def values(self, rows: Matrix) -> Floats:
        """Return the values of a regression (n, T)."""
        values = self._graph.answers(rows).values
        assert values is not None
        return values

    def chosen(self, rows: Matrix) -> NDArray[np.intp]:
        """Return the indices of the graph's labels (n,)."""
        chosen = self._graph.answers(rows).chosen
        assert chosen is not None
        return chosen

    def probable(self, rows: Matrix) -> tuple[Floats, NDArray[np.intp] | None]:
        """Return probabilities (n, K) and the graph's labels."""
        answers = self._graph.answers(rows)
        assert answers.probabilities is not None
        return answers.probabilities, answers.chosen


def load(artifact: Artifact, *, trust_pickle: bool) -> OnnxEstimator:
    """Load a verified graph; raise ArtifactRefused with the reason in words.

    trust_pickle: says nothing here, a graph holds no code.
    """
    made_with = artifact.manifest.frameworks.get("onnxruntime")
    try:
        import onnxruntime
    except ImportError as error:
        raise ArtifactRefused(
            "NeedsOnnxRuntime",
            "this image has no onnxruntime; ONNX models are served by the image serving-onnx",
        ) from error
    if made_with is not None and made_with != onnxruntime.__version__:
        log.warning("made with onnxruntime %s, served with %s", made_with, onnxruntime.__version__)
    try:
        return OnnxEstimator(OnnxModel(artifact.model_file, artifact.signature))
    except GraphRefused as error:
        raise ArtifactRefused("GraphRefused", str(error)) from error
