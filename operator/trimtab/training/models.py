"""Models in and out of files, and their answers; no code runs from a file (skops, ONNX)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from trimtab.contract.artifact import BASELINE, SIGNATURE, Baseline, Manifest, Signature
from trimtab.contract.location import AccessDenied, LocationError, StoreUnavailable, open_location
from trimtab.contract.onnx_graph import AnswerRefused, Answers, OnnxModel
from trimtab.contract.onnx_layout import GraphRefused
from trimtab.contract.own_rule import has_own_rule
from trimtab.contract.transfer import ArtifactError, fetch_artifact
from trimtab.contract.trees import TREE_TYPES, UnsafeModel, check_trees
from trimtab.training.columns import Matrix
from trimtab.training.errors import CodeBroken, Unavailable
from trimtab.training.evaluation import Predictions

SKOPS_FILE: Final = "model.skops"
ONNX_FILE: Final = "model.onnx"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as it is stored: name, content, and the packages whose versions matter."""

    name: str
    body: bytes
    format: Literal["sklearn", "onnx"]
    packages: tuple[str, ...]


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
        self.model: Any = (
            load_graph(file, self.signature)
            if manifest.format == "onnx"
            else load_model(file.read_bytes())
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


def dump_model(model: Any) -> tuple[ModelFile, Any]:
    """Return the model as a file, and read back; raise CodeBroken if serving refuses it."""
    if isinstance(model, Graph):
        file = model.file
        graph = file if isinstance(file, bytes) else file.read_bytes()
        return ModelFile(ONNX_FILE, graph, "onnx", ("onnxruntime", "numpy")), model
    import skops.io

    try:
        body: bytes = skops.io.dumps(model)
    except (TypeError, ValueError, AttributeError) as error:
        raise CodeBroken(f"{type(model).__name__} cannot be written: {error}") from error
    packages = ("scikit-learn", "numpy", "skops")
    return ModelFile(SKOPS_FILE, body, "sklearn", packages), load_model(body)


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


def load_model(body: bytes) -> Any:
    """Load a skops file; raise CodeBroken naming every type that is not trusted."""
    import skops.io

    named = skops.io.get_untrusted_types(data=body)
    unknown = sorted(set(named) - TREE_TYPES)
    if unknown:
        raise CodeBroken(
            "the model holds types that the serving container does not load: " + ", ".join(unknown)
        )
    model = skops.io.loads(body, trusted=named)
    try:
        check_trees(model)
    except UnsafeModel as error:
        raise CodeBroken(f"the model is not safe to run: {error}") from error
    return model


def answer(model: Any, rows: Matrix, classes: list[Any]) -> Predictions:
    """Return the model's answers as the serving container gives them.

    classes: in the order of the scores, empty for a regression. The class is that of the largest
    probability where the model has them and no rule of its own.
    """
    try:
        return _answer(model, rows, classes)
    except AnswerRefused as error:
        raise CodeBroken(str(error)) from error


def _answer(model: Any, rows: Matrix, classes: list[Any]) -> Predictions:
    if isinstance(model, Graph):
        return _answer_of(model.model.answers(rows), classes)
    with warnings.catch_warnings():
        # Rows come as plain arrays, in the order of the signature.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        if not classes:
            values = np.asarray(model.predict(rows), dtype=np.float64).reshape(-1)
            return Predictions(values)
        if not hasattr(model, "predict_proba"):
            return Predictions(np.asarray(model.predict(rows)).reshape(-1))
        score = np.asarray(model.predict_proba(rows), dtype=np.float64)
        if has_own_rule(model):
            place = {str(name): index for index, name in enumerate(model.classes_)}
            chosen = [place[str(label)] for label in np.asarray(model.predict(rows)).reshape(-1)]
            return Predictions(np.asarray(classes)[chosen], score)
    return Predictions(np.asarray(classes)[score.argmax(axis=1)], score)


def _answer_of(found: Answers, classes: list[Any]) -> Predictions:
    """A graph's own label counts where it gives one."""
    if found.values is not None:
        return Predictions(found.values.reshape(-1))
    chosen = found.chosen
    if chosen is None:
        assert found.probabilities is not None
        chosen = found.probabilities.argmax(axis=1)
    return Predictions(np.asarray(classes)[chosen], found.probabilities)
