"""The model of a verified artifact, loaded by the module of its format."""

from __future__ import annotations

import importlib
from typing import Final, Protocol, cast

from trimtab.contract.answers import Answering
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model.artifact import Artifact
from trimtab.serving.model.base import Model
from trimtab.serving.model.releases import other_releases

FORMATS: Final = {
    "sklearn": "trimtab.serving.model.sklearn",
    "onnx": "trimtab.serving.model.onnx",
}
"""The module of each format; imported where an artifact has it, since libraries are large."""


class Format(Protocol):
    """What the module of a format gives."""

    def load(self, artifact: Artifact, *, trust_pickle: bool) -> Answering:
        """Load a verified file; raise ArtifactRefused with the reason in words."""


def load_model(artifact: Artifact, *, trust_pickle: bool) -> Model:
    """Return the model of `artifact`; raise ArtifactRefused with the reason in words."""
    wanted = artifact.manifest.format
    if wanted not in FORMATS:
        served = " and ".join(FORMATS)
        raise ArtifactRefused("FormatUnknown", f"this image serves {served} models, not {wanted}")
    module = cast("Format", importlib.import_module(FORMATS[wanted]))
    try:
        answering = module.load(artifact, trust_pickle=trust_pickle)
    except ArtifactRefused as error:
        others = other_releases(artifact.manifest.frameworks)
        if not others:
            raise
        made_with = "made with " + ", ".join(others)
        raise ArtifactRefused(error.reason, f"{error} ({made_with})") from error
    return Model(answering, artifact.signature, artifact.baseline)
