"""A model that does not fit is refused before it is loaded, with the way out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from trimtab.serving.comparing.container import Container
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.inference.room import check_room
from trimtab.serving.model.artifact import bring_artifact
from trimtab.serving.settings import ServingSettings


def container(folder: Path, left: int, limit: str) -> Container:
    groups, proc = folder / "groups", folder / "proc"
    groups.mkdir()
    proc.mkdir()
    (groups / "memory.max").write_text(limit)
    (groups / "memory.current").write_text("0")
    (groups / "memory.stat").write_text("inactive_file 0")
    (proc / "meminfo").write_text(f"MemAvailable: {left // 1024} kB")
    return Container(groups, proc)


@pytest.mark.parametrize(
    ("left", "limit", "says"),
    [
        pytest.param(2**40, str(2**20), "limits.memory", id="container"),
        pytest.param(2**20, "max", "the machine has no more", id="machine"),
    ],
)
def test_what_is_larger_than_the_memory_is_refused(
    left: int, limit: str, says: str, settings: ServingSettings, tmp_path: Path
) -> None:
    file = tmp_path / "model.skops"
    with ZipFile(file, "w", ZIP_DEFLATED) as packed:
        packed.writestr("0.npy", bytes(4 << 20))
    artifact = replace(bring_artifact(settings), model_file=file)
    with pytest.raises(ArtifactRefused, match=says) as said:
        check_room(artifact, container(tmp_path, left, limit))
    assert said.value.reason == "TooLarge"
    assert file.stat().st_size < 2**20


def test_what_fits_is_loaded(settings: ServingSettings, tmp_path: Path) -> None:
    artifact = bring_artifact(settings)
    check_room(artifact, container(tmp_path, 2**30, "max"))


def test_the_files_of_boosters_need_room_too(settings: ServingSettings, tmp_path: Path) -> None:
    file = tmp_path / "model.skops"
    with ZipFile(file, "w") as packed:
        packed.writestr("schema.json", "{}")
    with (tmp_path / "booster-0.ubj").open("wb") as booster:
        booster.truncate(20 << 30)
    artifact = replace(bring_artifact(settings), model_file=file)
    with pytest.raises(ArtifactRefused, match=r"at least 20\.0 GiB"):
        check_room(artifact, container(tmp_path, 2**30, "max"))
