"""Models of scikit-learn out of verified files."""

from __future__ import annotations

from typing import Any

from trimtab.contract.estimators.answering import AnsweringEstimator, silence_names
from trimtab.contract.estimators.refused import ModelRefused
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model.artifact import Artifact


def load(artifact: Artifact, *, trust_pickle: bool) -> AnsweringEstimator:
    """Load a verified file; raise ArtifactRefused with the reason in words."""
    silence_names()
    try:
        return AnsweringEstimator(_loaded(artifact, trust_pickle), artifact.signature)
    except ModelRefused as error:
        raise ArtifactRefused(error.reason, str(error)) from error
    except ArtifactRefused:
        raise
    except Exception as error:
        # A model of a file that is safe to run may still lack anything.
        said = f"{type(error).__name__}: {str(error)[:300]}"
        raise ArtifactRefused("Malformed", f"{artifact.model_file.name}: {said}") from error


def _loaded(artifact: Artifact, trust_pickle: bool) -> Any:
    suffix = artifact.model_file.suffix
    if suffix == ".skops":
        from trimtab.contract.estimators.stored import load_skops

        return load_skops(artifact.model_file)
    if suffix not in (".joblib", ".pkl", ".pickle"):
        raise ArtifactRefused("FormatUnknown", f"no loader for {artifact.model_file.name}")
    if not trust_pickle:
        raise ArtifactRefused(
            "PickleNotTrusted",
            f"{artifact.model_file.name} can run code when loaded; set trustPickle to allow it",
        )
    return _load_pickle(artifact)


def _load_pickle(artifact: Artifact) -> Any:
    import joblib

    try:
        return joblib.load(artifact.model_file)
    except Exception as error:
        # A damaged pickle may raise anything.
        said = f"{type(error).__name__}: {str(error)[:300]}"
        raise ArtifactRefused("Malformed", f"{artifact.model_file.name}: {said}") from error
