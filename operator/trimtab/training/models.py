"""Models in and out of files, and their answers; no code runs from a file (skops, ONNX)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from trimtab.contract.adjusting import adjusted
from trimtab.contract.answers import Answering
from trimtab.contract.artifact import BASELINE, SIGNATURE, Baseline, Manifest, Signature
from trimtab.contract.estimators.answering import AnsweringEstimator, silence_names
from trimtab.contract.estimators.boosted.estimators import FILE as BOOSTER_FILE
from trimtab.contract.estimators.decisions import DecisionRefused
from trimtab.contract.estimators.refused import ModelRefused, UntrustedTypes
from trimtab.contract.location import AccessDenied, LocationError, StoreUnavailable, open_location
from trimtab.contract.onnx_graph import AnswerRefused, OnnxModel
from trimtab.contract.onnx_layout import GraphRefused
from trimtab.contract.transfer import ArtifactError, fetch_artifact
from trimtab.training.boosters import without_wrappers
from trimtab.training.columns import Matrix
from trimtab.training.errors import CodeBroken, Unavailable
from trimtab.training.evaluation import Predictions
from trimtab.training.storable import storable
from trimtab.training.ways import check_own_labels, check_predicts, way_out

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
        self.plain: Answering = (
            load_graph(file, self.signature).model
            if manifest.format == "onnx"
            else load_model(file, self.signature)
        )
        """As it is in its file."""
        self.model = adjusted(self.plain, self.signature)
        self.file = ModelFile(
            manifest.model_file,
            file.read_bytes(),
            "onnx" if manifest.format == "onnx" else "sklearn",
            tuple(name for name in manifest.frameworks if name != "python"),
            {
                one.name: (folder / one.name).read_bytes()
                for one in folder.iterdir()
                if BOOSTER_FILE.fullmatch(one.name)
            },
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
    packed = pack(model)
    if signature.takes == "table":
        packed = replace(packed, packages=(*packed.packages, "pandas"))
    return packed, load_model(packed.body, signature, packed.beside)


def pack(model: Any) -> ModelFile:
    """Return an estimator as a file, without what only training needs; raise CodeBroken."""
    import skops.io

    check_predicts(model)
    check_own_labels(model)
    try:
        stored = without_wrappers(model)
        body: bytes = skops.io.dumps(storable(stored.model))
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        name = type(model).__name__
        said = str(error).rstrip(".")
        raise CodeBroken(f"{name} cannot be stored: {said}; {way_out(said)}") from error
    packages = ("scikit-learn", "numpy", "skops", *stored.libraries)
    return ModelFile(SKOPS_FILE, body, "sklearn", packages, stored.files)


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
    except UntrustedTypes as error:
        said = f"the serving container would not load the model: {error}"
        raise CodeBroken(f"{said}; {way_out(said, error.types)}") from error
    except ModelRefused as error:
        raise CodeBroken(f"the serving container would not load the model: {error}") from error


def answer(
    model: Answering,
    rows: Matrix,
    classes: list[Any],
    *,
    counted: int = 0,
    several: Sequence[Sequence[Any]] = (),
) -> Predictions:
    """Return the model's answers as the serving container gives them.

    classes: in the order of the scores, empty for a regression. Of several targets `counted` is the
    place of the one whose answers these are, and `several` are the classes of all [T][K].
    """
    from sklearn import config_context

    try:
        # Serving has no global configuration.
        with warnings.catch_warnings(), config_context(transform_output="default"):
            silence_names()
            found = model.answers(rows)
    except (AnswerRefused, DecisionRefused) as error:
        raise CodeBroken(str(error)) from error
    except Exception as error:
        # A model may raise anything, most often about the rows.
        said = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise CodeBroken(f"the model could not answer the rows given to it: {said}") from error
    if found.values is not None:
        values = found.values
        every = values if values.shape[1] > 1 else None
        return Predictions(values[:, counted], all_predicted=every)
    chosen = found.chosen
    if chosen is None:
        assert found.probabilities is not None
        chosen = found.probabilities.argmax(axis=1)
    every = None
    if several and found.labels is not None:
        columns = [np.asarray(known)[found.labels[:, t]] for t, known in enumerate(several)]
        every = np.column_stack(columns)
    is_decision = found.probabilities is None and found.decision is not None
    return Predictions(np.asarray(classes)[chosen], found.scores, is_decision, every)
