"""Files of a manifest that cannot lie side by side are refused before anything is fetched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from trimtab.contract.artifact import sha256_digest
from trimtab.contract.location import open_location
from trimtab.contract.transfer import BrokenArtifact, fetch_artifact

CONTENT = b"some bytes"


def stored(folder: Path, paths: list[str]) -> str:
    """Write a manifest that lists `paths`, and those files that can be written."""
    for path in paths:
        file = folder / path
        if not any(other.startswith(f"{path}/") for other in paths):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(CONTENT)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    manifest = {
        "format": "sklearn",
        "modelFile": paths[0],
        "model": "m",
        "version": "v1",
        "created": "2026-01-01T00:00:00Z",
        "files": [{"path": path, "sha256": sha256, "size": len(CONTENT)} for path in paths],
    }
    body = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(body)
    return sha256_digest(body)


@pytest.mark.parametrize(
    "paths",
    [
        ["a", "a/b"],
        ["a/b", "a"],
        ["a/b/c", "a"],
        ["a", "a"],
        ["a", "manifest.json"],
        ["a", "a/../b"],
    ],
    ids=["below", "above", "far_above", "twice", "manifest", "dots"],
)
def test_paths_that_clash_are_refused_by_name(tmp_path: Path, paths: list[str]) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    digest = stored(folder, paths)
    into = tmp_path / "into"
    with pytest.raises(BrokenArtifact, match=r"manifest\.json"):
        fetch_artifact(open_location(folder.as_uri()), digest, into)
    assert not into.exists()


def test_a_file_named_as_the_unfinished_part_of_another_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    digest = stored(folder, ["a.part", "a"])
    into = tmp_path / "into"
    fetch_artifact(open_location(folder.as_uri()), digest, into)
    assert sorted(file.name for file in into.iterdir()) == ["a", "a.part", "manifest.json"]
