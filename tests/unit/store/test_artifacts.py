"""Artifacts as they lie in a store: read, verified, kept; or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.contract.s3_server import s3_server

from trimtab.api.conditions import Reason
from trimtab.contract.artifact import Baseline, baseline_digest, sha256_digest
from trimtab.store.artifacts import KEPT_ARTIFACTS, MANIFEST_LIMIT_BYTES, ArtifactStore
from trimtab.store.port import ArtifactBroken, StoreAway

SIGNATURE = {
    "task": "classification",
    "inputs": [{"name": "x", "datatype": "FP64", "shape": [2]}],
    "outputs": [{"name": "class", "datatype": "INT64"}],
    "classes": ["0", "1"],
}


def baseline(**changes: Any) -> Baseline:
    fields: dict[str, Any] = {
        "digest": "", "n": 10, "features": [], "score_edges": [0.5], "score_counts": [4, 6],
    }  # fmt: skip
    made = Baseline(**fields | changes)
    return made.model_copy(update={"digest": baseline_digest(made)})


def write_artifact(folder: Path, files: dict[str, bytes] | None = None, **manifest: Any) -> str:
    """Write an artifact and return its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "model.skops": b"model",
        "signature.json": json.dumps(SIGNATURE).encode(),
        "baseline.json": baseline().model_dump_json(by_alias=True).encode(),
    } | (files or {})
    listed = []
    for path, content in contents.items():
        (folder / path).write_bytes(content)
        sha256 = sha256_digest(content).removeprefix("sha256:")
        listed.append({"path": path, "sha256": sha256, "size": len(content)})
    raw = json.dumps(
        {
            "format": "sklearn",
            "modelFile": "model.skops",
            "model": "digits",
            "version": "v1",
            "created": "2026-01-01T00:00:00Z",
            "files": listed,
        }
        | manifest
    ).encode()
    (folder / "manifest.json").write_bytes(raw)
    return sha256_digest(raw)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    return ArtifactStore(credentials)


async def test_a_good_artifact_is_read_once(store: ArtifactStore, tmp_path: Path) -> None:
    digest = write_artifact(tmp_path / "v1")
    uri = f"file://{tmp_path}/v1/"
    assert store.cached(digest) is None
    found = await store.documents(uri, digest)
    assert found.manifest.model == "digits"
    assert found.signature.classes == ["0", "1"]
    assert found.baseline == baseline()
    (tmp_path / "v1" / "manifest.json").unlink()
    assert await store.documents(uri, digest) is found
    assert store.cached(digest) is found


async def test_only_so_many_are_kept(store: ArtifactStore, tmp_path: Path) -> None:
    digests = []
    for number in range(KEPT_ARTIFACTS + 2):
        digests.append(write_artifact(tmp_path / "v", version=f"v{number}"))
        await store.documents(f"file://{tmp_path}/v", digests[-1])
    assert store.cached(digests[0]) is None
    assert store.cached(digests[-1]) is not None


def break_digest(folder: Path) -> str:
    write_artifact(folder)
    return "sha256:" + "0" * 64


def break_signature(folder: Path) -> str:
    digest = write_artifact(folder)
    (folder / "signature.json").write_text("{}")
    return digest


def miss_manifest(folder: Path) -> str:
    return "sha256:" + "0" * 64


def miss_file(folder: Path) -> str:
    digest = write_artifact(folder)
    (folder / "baseline.json").unlink()
    return digest


def grow_manifest(folder: Path) -> str:
    digest = write_artifact(folder)
    with (folder / "manifest.json").open("ab") as file:
        file.write(b" " * MANIFEST_LIMIT_BYTES)
    return digest


def list_huge_files(folder: Path) -> str:
    write_artifact(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        file["size"] = 10**9
    return _raw_manifest(folder, json.dumps(manifest).encode())


BROKEN = {
    "another_digest": (break_digest, Reason.DIGEST_MISMATCH),
    "a_file_that_is_not_what_the_manifest_says": (break_signature, Reason.DIGEST_MISMATCH),
    "no_manifest": (miss_manifest, Reason.UNREADABLE),
    "a_missing_file": (miss_file, Reason.UNREADABLE),
    "a_manifest_beyond_all_measure": (grow_manifest, Reason.UNREADABLE),
    "a_file_beyond_all_measure": (list_huge_files, Reason.UNREADABLE),
    "a_manifest_that_is_not_json": (lambda f: _raw_manifest(f, b"x"), Reason.SCHEMA_BROKEN),
    "a_signature_without_inputs": (
        lambda f: write_artifact(f, {"signature.json": b'{"task": "regression"}'}),
        Reason.SCHEMA_BROKEN,
    ),
    "a_model_file_that_is_not_listed": (
        lambda f: write_artifact(f, modelFile="other.skops"),
        Reason.SCHEMA_BROKEN,
    ),
    "a_baseline_that_lies_about_its_digest": (
        lambda f: write_artifact(
            f,
            {
                "baseline.json": baseline()
                .model_copy(update={"n": 11})
                .model_dump_json(by_alias=True)
                .encode()
            },
        ),
        Reason.DIGEST_MISMATCH,
    ),
}


@pytest.mark.parametrize(("make", "reason"), BROKEN.values(), ids=BROKEN.keys())
async def test_broken(make: Any, reason: Reason, store: ArtifactStore, tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    folder.mkdir()
    digest = make(folder)
    with pytest.raises(ArtifactBroken) as caught:
        await store.documents(f"file://{folder}", digest)
    assert caught.value.reason == reason
    assert store.cached(digest) is None


@pytest.mark.parametrize("uri", ["s3://models/v1/", "gs://models/v1/", "az://models/v1/"])
async def test_without_credentials_the_pods_have_to_check(uri: str) -> None:
    with pytest.raises(StoreAway) as caught:
        await ArtifactStore(None).documents(uri, "sha256:" + "0" * 64)
    assert caught.value.no_credentials


async def test_volumes_are_checked_by_the_pods_even_with_credentials(store: ArtifactStore) -> None:
    with pytest.raises(StoreAway) as caught:
        await store.documents("pvc://models/v1/", "sha256:" + "0" * 64)
    assert caught.value.no_credentials


async def test_wrong_credentials_are_no_fault_of_the_artifact(tmp_path: Path) -> None:
    (tmp_path / "AWS_NO_SUCH_SETTING").write_text("x")
    with pytest.raises(StoreAway) as caught:
        await ArtifactStore(tmp_path).documents("s3://models/v1/", "sha256:" + "0" * 64)
    assert not caught.value.no_credentials


async def test_a_key_that_the_store_does_not_know_is_no_fault_of_the_artifact(
    tmp_path: Path,
) -> None:
    with s3_server() as s3:
        s3.refuse = 404, "XAdminUserNotFound"
        for name, value in (
            ("AWS_ENDPOINT_URL", s3.url),
            ("AWS_ACCESS_KEY_ID", "other"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ):
            (tmp_path / name).write_text(value)
        with pytest.raises(StoreAway, match="does not know the access key"):
            await ArtifactStore(tmp_path).documents("s3://models/v1/", "sha256:" + "0" * 64)


def _raw_manifest(folder: Path, raw: bytes) -> str:
    (folder / "manifest.json").write_bytes(raw)
    return sha256_digest(raw)
