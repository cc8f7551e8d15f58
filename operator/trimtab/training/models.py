"""Models in and out of files, and their answers; no code runs from a file (skops)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np

from trimtab.contract.artifact import BASELINE, SIGNATURE, Baseline, Manifest, Signature
from trimtab.contract.location import AccessDenied, LocationError, StoreUnavailable, open_location
from trimtab.contract.transfer import ArtifactError, fetch_artifact
from trimtab.contract.trees import TREE_TYPES, UnsafeModel, check_trees
from trimtab.training.columns import Matrix
from trimtab.training.errors import CodeBroken, Unavailable
from trimtab.training.evaluation import Predictions

MODEL_FILE: Final = "model.skops"


class Champion:
    """The version now serving, fetched and verified by its digest."""

    def __init__(self, uri: str, digest: str, folder: Path, manifest: Manifest) -> None:
        self.uri, self.digest, self.manifest = uri, digest, manifest
        self.signature = Signature.model_validate_json((folder / SIGNATURE).read_bytes())
        self.baseline = Baseline.model_validate_json((folder / BASELINE).read_bytes())
        self.model = load_model((folder / manifest.model_file).read_bytes())


def load_champion(uri: str, digest: str, credentials: Path | None, folder: Path) -> Champion:
    """Fetch, verify and load. Raise Unavailable (try again) or CodeBroken (cannot be loaded)."""
    try:
        manifest = fetch_artifact(open_location(uri, credentials), digest, folder)
    except (StoreUnavailable, AccessDenied) as error:
        raise Unavailable(str(error)) from error
    except (LocationError, ArtifactError) as error:
        raise CodeBroken(f"the serving version cannot be fetched: {error}") from error
    if not manifest.model_file.endswith(".skops"):
        raise CodeBroken(
            f"the serving version's {manifest.model_file} is not a skops file; a challenger can "
            "only be compared with one"
        )
    return Champion(uri, digest, folder, manifest)


def dump_model(model: Any) -> tuple[bytes, Any]:
    """Return the model as a skops file, and read back; raise CodeBroken if serving refuses it."""
    import skops.io

    try:
        body: bytes = skops.io.dumps(model)
    except (TypeError, ValueError, AttributeError) as error:
        raise CodeBroken(f"{type(model).__name__} cannot be written: {error}") from error
    return body, load_model(body)


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
    probability where the model has them.
    """
    with warnings.catch_warnings():
        # Rows come as plain arrays, in the order of the signature.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        if not classes:
            values = np.asarray(model.predict(rows), dtype=np.float64).reshape(-1)
            return Predictions(values)
        if not hasattr(model, "predict_proba"):
            return Predictions(np.asarray(model.predict(rows)).reshape(-1))
        score = np.asarray(model.predict_proba(rows), dtype=np.float64)
    return Predictions(np.asarray(classes)[score.argmax(axis=1)], score)
