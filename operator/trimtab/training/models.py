"""Models in and out of files, and their answers; no code runs from a file (skops, ONNX)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from trimtab.contract.answers import Answering
from trimtab.contract.artifact import BASELINE, SIGNATURE, Baseline, Manifest, Signature
from trimtab.contract.estimators.answering import AnsweringEstimator, silence_names
from trimtab.contract.estimators.refused import ModelRefused
from trimtab.contract.location import AccessDenied, LocationError, StoreUnavailable, open_location
from trimtab.contract.onnx_graph import AnswerRefused, OnnxModel
from trimtab.contract.onnx_layout import GraphRefused
from trimtab.contract.transfer import ArtifactError, fetch_artifact
from trimtab.training.boosters import without_wrappers
from trimtab.training.columns import Matrix
from trimtab.training.errors import CodeBroken, Unavailable
from trimtab.training.evaluation import Predictions

SKOPS_FILE: Final = "model.skops"
ONNX_FILE: Final = "model.onnx"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as it is stored: name, content, and the packages whose versions matter.

    beside: native files that the model names, by their own names.
    """

    name: str
    body: bytes
    format: Literal["sklearn", "onnx"]
    packages: tuple[str, ...]
    beside: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX graph that fits its signature, and the file that it is stored in."""

    model: OnnxModel
    file: Path | bytes


class Champion:
    """The version now serving, fetched and verified by its digest."""

    def __init__(self, uri: str, digest: str, folder: Path, manifest: Manifest) -> None:
        self.uri, self.digest, self.manifest = uri, digest, manifest
        self.signature = Signature.model_validate_json((folder / SIGNATURE).read_bytes())
        self.baseline = Baseline.model_validate_json((folder / BASELINE).read_bytes())
        file = folder / manifest.model_file
        self.model: Answering = (
            load_graph(file, self.signature).model
            if manifest.format == "onnx"
            else load_model(file, self.signature)
        )


def load_champion(uri: str, digest: str, credentials: Path | None, folder: Path) -> Champion:
    """Fetch, verify and load. Raise Unavailable (try again) or CodeBroken (cannot be loaded)."""
    try:
        manifest = fetch_artifact(open_location(uri, credentials), digest, folder)
    except (StoreUnavailable, AccessDenied) as error:
        raise Unavailable(str(error)) from error
    except (LocationError, ArtifactError) as error:
        raise CodeBroken(f"the serving version cannot be fetched: {error}") from error
    if not manifest.model_file.endswith((".skops", ".onnx")):
        raise CodeBroken(
            f"the serving version's {manifest.model_file} is neither a skops nor an ONNX file; a "
            "challenger can only be compared with one"
        )
    return Champion(uri, digest, folder, manifest)


def dump_model(model: Any, signature: Signature) -> tuple[ModelFile, Answering]:
    """Return the model as a file, and as serving loads it; raise CodeBroken if it would not."""
    if isinstance(model, Graph):
        file = model.file
        graph = file if isinstance(file, bytes) else file.read_bytes()
        return ModelFile(ONNX_FILE, graph, "onnx", ("onnxruntime", "numpy")), model.model
    import skops.io

    try:
        stored = without_wrappers(model)
        body: bytes = skops.io.dumps(stored.model)
    except (TypeError, ValueError, AttributeError) as error:
        raise CodeBroken(f"{type(model).__name__} cannot be written: {error}") from error
    packages = ("scikit-learn", "numpy", "skops", *stored.libraries)
    written = ModelFile(SKOPS_FILE, body, "sklearn", packages, stored.files)
    return written, load_model(body, signature, stored.files)


def load_graph(file: Path | bytes, signature: Signature) -> Graph:
    """Load an ONNX graph; raise CodeBroken where it does not fit the signature."""
    with graph_errors():
        return Graph(OnnxModel(file, signature), file)


@contextmanager
def graph_errors() -> Iterator[None]:
    """Say what is wrong with a graph, or that its library is not there, as CodeBroken."""
    try:
        yield
    except GraphRefused as error:
        raise CodeBroken(str(error)) from error
    except ImportError as error:
        raise CodeBroken(f"an ONNX graph needs the extra `onnx` of trimtab: {error}") from error


def load_model(
    file: Path | bytes, signature: Signature, beside: Mapping[str, bytes] | None = None
) -> AnsweringEstimator:
    """Load a skops file as serving does; raise CodeBroken where that would refuse it.

    beside: native files that the model names, where `file` is no path.
    """
    from trimtab.contract.estimators.stored import load_skops

    try:
        return AnsweringEstimator(load_skops(file, beside), signature)
    except ModelRefused as error:
        raise CodeBroken(f"the serving container would not load the model: {error}") from error


def answer(model: Answering, rows: Matrix, classes: list[Any]) -> Predictions:
    """Return the model's answers as the serving container gives them.

    classes: in the order of the scores, empty for a regression.
    """
    try:
        with warnings.catch_warnings():
            silence_names()
            found = model.answers(rows)
    except AnswerRefused as error:
        raise CodeBroken(str(error)) from error
    if found.values is not None:
        return Predictions(found.values.reshape(-1))
    chosen = found.chosen
    if chosen is None:
        assert found.probabilities is not None
        chosen = found.probabilities.argmax(axis=1)
    return Predictions(np.asarray(classes)[chosen], found.probabilities)
