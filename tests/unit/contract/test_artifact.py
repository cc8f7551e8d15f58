from pathlib import Path
from typing import Any

import pytest
from tests.unit.contract.s3_server import S3

from trimtab.contract.artifact import (
    Baseline,
    Calibration,
    CategoricalFeature,
    Interval,
    NumericFeature,
    Residuals,
    baseline_digest,
    sha256_digest,
)
from trimtab.contract.location import Location, NotInStore, open_location
from trimtab.contract.transfer import (
    ArtifactTooLarge,
    BrokenArtifact,
    DigestMismatch,
    WrittenArtifact,
    fetch_artifact,
    read_manifest,
    write_artifact,
)

FILES = {"model.skops": b"model" * 1000, "signature.json": b"{}", "notes/report.json": b"{}"}


def write(parent: Location, **changes: Any) -> WrittenArtifact:
    fields: dict[str, Any] = {
        "files": FILES,
        "model_format": "sklearn",
        "model_file": "model.skops",
        "model": "digits",
        "version": "v1",
        "created": "2026-11-01T00:00:00Z",
        "frameworks": {"scikit-learn": "1.9"},
    }
    return write_artifact(parent, **(fields | changes))


@pytest.fixture
def store(s3: S3, credentials: Path) -> Location:
    return open_location("s3://models/digits", credentials)


def opened(written: WrittenArtifact, credentials: Path) -> Location:
    return open_location(written.uri, credentials)


def test_comes_back_as_it_was_written(store: Location, credentials: Path, tmp_path: Path) -> None:
    written = write(store)
    into = tmp_path / "model"
    manifest = fetch_artifact(opened(written, credentials), written.digest, into)
    assert {name: (into / name).read_bytes() for name in FILES} == FILES
    assert sha256_digest((into / "manifest.json").read_bytes()) == written.digest
    assert (
        manifest == written.manifest == read_manifest(opened(written, credentials), written.digest)
    )


def test_lies_in_a_folder_named_by_digest_so_a_second_write_is_the_first(
    store: Location, s3: S3
) -> None:
    first = write(store)
    before = dict(s3.objects)
    assert write(store) == first
    assert s3.objects == before
    assert first.uri == f"s3://models/digits/{first.digest[7:23]}/"
    assert write(store, version="v2").uri != first.uri


def test_manifest_is_written_last(store: Location, s3: S3) -> None:
    write(store)
    assert [path for verb, path, _ in s3.requests if verb == "PUT"][-1].endswith("manifest.json")


@pytest.mark.parametrize("name", ["model.skops", "signature.json"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda body: b"x" + body[1:], id="same_length"),
        pytest.param(lambda body: body[:-1], id="shorter"),
        pytest.param(lambda body: body + b"x", id="longer"),
    ],
)
def test_changed_file_is_refused_and_not_left_behind(
    *, store: Location, s3: S3, credentials: Path, tmp_path: Path, name: str, change: Any
) -> None:
    written = write(store)
    key = f"/models/digits/{written.digest[7:23]}/{name}"
    s3.objects[key] = change(s3.objects[key])
    with pytest.raises(DigestMismatch, match=name):
        fetch_artifact(opened(written, credentials), written.digest, tmp_path / "m")
    assert not (tmp_path / "m" / name).exists()
    assert not (tmp_path / "m" / "manifest.json").exists()


def test_changed_manifest_is_refused_before_anything_is_fetched(
    store: Location, s3: S3, credentials: Path, tmp_path: Path
) -> None:
    written = write(store)
    key = f"/models/digits/{written.digest[7:23]}/manifest.json"
    s3.objects[key] = s3.objects[key].replace(b"v1", b"v2")
    with pytest.raises(DigestMismatch, match="declared is sha256:"):
        fetch_artifact(opened(written, credentials), written.digest, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_file_that_is_gone_is_named(
    store: Location, s3: S3, credentials: Path, tmp_path: Path
) -> None:
    written = write(store)
    del s3.objects[f"/models/digits/{written.digest[7:23]}/model.skops"]
    with pytest.raises(BrokenArtifact, match=r"model.skops is in the manifest but not in"):
        fetch_artifact(opened(written, credentials), written.digest, tmp_path / "m")


def test_manifest_that_is_gone(store: Location) -> None:
    with pytest.raises(NotInStore):
        read_manifest(store, "sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(b"{}", "format", id="empty"),
        pytest.param(b"not json", "does not read: Invalid JSON", id="not_json"),
        pytest.param(
            b'{"format":"sklearn","modelFile":"m","model":"d","version":"v","created":"",'
            b'"files":[{"path":"../../etc/cron.d/x","sha256":"' + b"0" * 64 + b'","size":1}]}',
            "leaves it",
            id="path_that_leaves",
        ),
        pytest.param(
            b'{"format":"sklearn","modelFile":"m","model":"d","version":"v","created":"",'
            b'"files":[{"path":"/etc/x","sha256":"' + b"0" * 64 + b'","size":1}]}',
            "files.0.path",
            id="absolute_path",
        ),
    ],
)
def test_broken_manifest_names_the_field(tmp_path: Path, body: bytes, says: str) -> None:
    (tmp_path / "manifest.json").write_bytes(body)
    location = open_location(f"file://{tmp_path}")
    with pytest.raises(BrokenArtifact, match=says):
        fetch_artifact(location, sha256_digest(body), tmp_path / "m")


def test_larger_than_allowed_is_refused_before_it_is_fetched(
    store: Location, credentials: Path, tmp_path: Path
) -> None:
    written = write(store)
    with pytest.raises(ArtifactTooLarge, match="more than the 100 allowed"):
        fetch_artifact(opened(written, credentials), written.digest, tmp_path / "m", 100)


def test_file_that_is_already_there_is_not_fetched_again(
    store: Location, s3: S3, credentials: Path, tmp_path: Path
) -> None:
    written = write(store)
    fetch_artifact(opened(written, credentials), written.digest, tmp_path / "m")
    s3.requests.clear()
    seen: list[tuple[int, int]] = []
    fetch_artifact(
        opened(written, credentials),
        written.digest,
        tmp_path / "m",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [path.rsplit("/", 1)[1] for _, path, _ in s3.requests] == ["manifest.json"]
    assert seen[-1] == (5004, 5004)


def test_baseline_digest_does_not_depend_on_itself_and_survives_json() -> None:
    baseline = Baseline(
        digest="",
        n=3,
        features=[
            NumericFeature(name="x[0]", edges=[0.1, 1 / 3], counts=[1, 1, 1], minimum=0, maximum=1),
            CategoricalFeature(name="colour", categories=["red"], counts=[3]),
        ],
        score_edges=[0.5],
        score_counts=[1, 2],
        calibration=[Calibration(x=[0, 1], y=[0.1, 0.9])],
        metrics=[Interval(metric="accuracy", value=2 / 3, interval=(0.2, 0.9), n=3)],
    )
    signed = baseline.model_copy(update={"digest": baseline_digest(baseline)})
    again = Baseline.model_validate_json(signed.model_dump_json(by_alias=True))
    assert baseline_digest(again) == signed.digest


def test_a_baseline_from_before_residuals_keeps_its_digest() -> None:
    known = {"n": 10, "features": [], "scoreEdges": [0.5], "scoreCounts": [4, 6]}
    baseline = Baseline.model_validate(
        {**known, "digest": "", "predictedCounts": {"no": 4, "yes": 6}}
    )
    assert baseline_digest(baseline) == (
        "sha256:d2596300270df9b3aeb2771c15b86b645459695726bea96eed2fb8c3f5bec2fd"
    )
    residuals = Residuals(rows=[4, 6], absolute=[1, 2], squares=[1, 2], fourth=[1, 2])
    regression = baseline.model_copy(update={"residuals": residuals})
    assert baseline_digest(regression) != baseline_digest(baseline)


def test_a_baseline_of_probabilities_keeps_its_digest_and_another_score_has_its_own() -> None:
    known = {"digest": "", "n": 10, "features": [], "scoreEdges": [0.5], "scoreCounts": [4, 6]}
    before = Baseline.model_validate(known)
    assert before.score_kind == "probability"
    digests = {
        baseline_digest(Baseline.model_validate(known | {"scoreKind": kind}))
        for kind in ("probability", "decision", "none")
    }
    assert baseline_digest(before) in digests
    assert len(digests) == 3
