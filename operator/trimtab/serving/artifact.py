"""The verified artifact: fetched by digest, its parts read and checked against each other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from trimtab.contract.artifact import (
    BASELINE,
    MANIFEST,
    SIGNATURE,
    Baseline,
    CategoricalFeature,
    Manifest,
    NumericFeature,
    Signature,
    baseline_digest,
)
from trimtab.contract.location import LocationError, StoreUnavailable, open_location
from trimtab.contract.transfer import (
    ArtifactError,
    ArtifactTooLarge,
    DigestMismatch,
    fetch_artifact,
)
from trimtab.serving.errors import ArtifactRefused, ArtifactUnavailable
from trimtab.serving.settings import Settings

_Part = TypeVar("_Part", Signature, Baseline)
_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified artifact on local disk."""

    manifest: Manifest
    signature: Signature
    baseline: Baseline
    digest: str
    model_file: Path


def bring_artifact(settings: Settings) -> Artifact:
    """Fetch the artifact that the settings name and check every part of it.

    Raises ArtifactRefused when anything differs from what the digest promises, and
    ArtifactUnavailable when the store does not answer within `fetch_seconds`.
    """
    folder = settings.scratch / ("trimtab-" + settings.artifact_digest.removeprefix("sha256:"))
    manifest = _fetched(settings, folder)
    paths = {file.path for file in manifest.files}
    for path in (SIGNATURE, BASELINE, manifest.model_file):
        if path not in paths:
            raise ArtifactRefused("FileMissing", f"{MANIFEST} does not list {path}")
    wanted = settings.artifact_format
    if wanted and manifest.format != wanted:
        raise ArtifactRefused(
            "FormatMismatch", f"{MANIFEST} says {manifest.format}, the version says {wanted}"
        )
    signature = _parsed(Signature, folder, SIGNATURE)
    baseline = _parsed(Baseline, folder, BASELINE)
    _check_baseline(baseline)
    return Artifact(
        manifest, signature, baseline, settings.artifact_digest, folder / manifest.model_file
    )


def _fetched(settings: Settings, folder: Path) -> Manifest:
    until = time.monotonic() + settings.fetch_seconds
    while True:
        try:
            location = open_location(settings.artifact_uri, settings.artifact_credentials)
            return fetch_artifact(
                location, settings.artifact_digest, folder, settings.max_artifact_bytes
            )
        except DigestMismatch as error:
            raise ArtifactRefused("DigestMismatch", str(error)) from error
        except ArtifactTooLarge as error:
            raise ArtifactRefused("TooLarge", str(error)) from error
        except ArtifactError as error:
            raise ArtifactRefused("Malformed", str(error)) from error
        except StoreUnavailable as error:
            if time.monotonic() + _RETRY_SECONDS > until:
                raise ArtifactUnavailable(str(error)) from error
            time.sleep(_RETRY_SECONDS)
        except LocationError as error:
            raise ArtifactRefused(type(error).__name__, str(error)) from error


def _parsed(kind: type[_Part], folder: Path, path: str) -> _Part:
    try:
        return kind.model_validate_json((folder / path).read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ArtifactRefused("Malformed", f"{path}: {place}: {first['msg']}") from error


def _check_baseline(baseline: Baseline) -> None:
    """A baseline whose parts do not fit would be counted wrongly, not loudly."""
    if baseline_digest(baseline) != baseline.digest:
        raise ArtifactRefused("DigestMismatch", f"{BASELINE}: digest does not fit its content")
    for feature in baseline.features:
        place = f"{BASELINE}: features: {feature.name}"
        match feature:
            case NumericFeature():
                _check_edges(place, feature.edges, feature.counts)
            case CategoricalFeature():
                if len(feature.categories) != len(feature.counts):
                    raise ArtifactRefused("Malformed", f"{place}: categories and counts differ")
    _check_edges(f"{BASELINE}: scoreEdges", baseline.score_edges, baseline.score_counts)


def _check_edges(place: str, edges: list[float], counts: list[int]) -> None:
    if len(counts) != len(edges) + 1:
        raise ArtifactRefused("Malformed", f"{place}: {len(edges)} edges, {len(counts)} counts")
    if any(after <= before for before, after in pairwise(edges)):
        raise ArtifactRefused("Malformed", f"{place}: edges do not ascend")
