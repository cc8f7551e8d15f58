"""lint: files in, remarks and an exit code out; what lies beside a policy counts."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.fakes import FakeApi
from tests.unit.reconcile.worlds import Shop
from tests.unit.replay.recorded import baseline

from trimtab.api.fields import Kind
from trimtab.cli.main import main
from trimtab.cli.offline.lint import lint as lint_files
from trimtab.cli.offline.lint_facts import Stated, objects_of
from trimtab.contract import location
from trimtab.errors import SpecError
from trimtab.simulation.manifests import documents_in

POLICY = """\
apiVersion: trimtab.dev/v1alpha1
kind: DriftPolicy
metadata: {name: digits}
spec:
  selector: {deployments: [digits]}
  signals:
  - {kind: quality, metric: accuracy, floor: {dropBy: 3%}}
"""
DEPLOYMENT = """\
---
apiVersion: trimtab.dev/v1alpha1
kind: Deployment
metadata: {name: digits}
spec: {model: digits, version: v1}
"""
ROOT = Path(__file__).parents[3]


def lint(
    capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, list[dict[str, Any]]]:
    code = main(["lint", *map(str, arguments), "--output", "json"])
    told = capsys.readouterr()
    assert not told.err
    return code, json.loads(told.out)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "objects.yaml"
    path.write_text(text)
    return path


def fields(found: list[dict[str, Any]], severity: str) -> list[str]:
    return [one["field"] for one in found if one["severity"] == severity]


@pytest.mark.parametrize("folder", ["examples", "quickstart"])
def test_our_own_manifests_are_clean(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "manifests" / folder
    code, found = lint(capsys, path, "--strict", "--requests-per-second", "50")
    assert code == 0
    assert {one["severity"] for one in found} <= {"note"}


def test_warnings_count_where_one_is_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, POLICY.replace("spec:", "spec:\n  window: 5h"))
    assert lint(capsys, path)[0] == 0
    code, found = lint(capsys, path, "--strict")
    assert (code, fields(found, "warning")) == (1, ["spec.window"])


def test_every_wrong_field_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = POLICY.replace("  selector", "  windw: 24h\n  selector").replace("accuracy", "acuracy")
    text = text.replace("name: digits", "name: digits, label: {}")
    code, found = lint(capsys, written(tmp_path, text + DEPLOYMENT.replace("v1}", "v1, x: 1}")))
    assert code == 2
    assert fields(found, "error") == [
        "metadata.label",
        "spec.windw",
        "spec.signals[0].metric",
        "spec.x",
    ]
    by_field = {one["field"]: one for one in found}
    assert "did you mean window?" in by_field["spec.windw"]["message"]
    assert by_field["spec.x"]["object"] == "Deployment digits"


def test_fields_that_others_define_are_theirs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = DEPLOYMENT.replace(
        "version: v1}",
        "version: v1, serving: {tolerations: [{key: gpu, operator: Exists}], "
        "nodeSelector: {disk: ssd}}}",
    )
    assert lint(capsys, written(tmp_path, text)) == (0, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: [", "cannot be read", id="yaml"),
        pytest.param(POLICY + "spec: {}\n", "the key spec stands twice", id="twice"),
        pytest.param("- 1\n", "a document is not an object", id="list"),
    ],
)
def test_what_is_no_object_is_an_error_of_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    good = tmp_path / "good"
    good.mkdir()
    (good / "policy.yaml").write_text(POLICY)
    code, found = lint(capsys, written(tmp_path, text), good)
    assert code == 2
    assert found[0]["files"] == [str(tmp_path / "objects.yaml")]
    assert said in found[0]["message"]
    assert [one["object"] for one in found] == [""]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("kind: DriftPolicy", "kind: DriftPolcy", "no kind 'DriftPolcy'", id="kind"),
        pytest.param("dev/v1alpha1", "dev/v1", "no version 'v1'", id="version"),
        pytest.param("trimtab.dev/v1alpha1", "v1alpha1", "without its group", id="group"),
        pytest.param("apiVersion: trimtab.dev/v1alpha1\n", "", "without its group", id="nothing"),
    ],
)
def test_what_is_nearly_ours_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    assert old in POLICY
    code, found = lint(capsys, written(tmp_path, DEPLOYMENT + "---\n" + POLICY.replace(old, new)))
    assert code == 2
    assert said in found[0]["message"]


def test_nothing_to_lint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n")
    for wrong in (path, tmp_path / "absent.yaml"):
        assert main(["lint", str(wrong)]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_from_the_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sys.stdin", io.StringIO(POLICY.replace("digits]", "digits]}\n  window: {"))
    )
    code, found = lint(capsys, "-")
    assert (code, found[0]["files"]) == (2, ["-"])


def test_the_same_in_several_files_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(POLICY.replace("spec:", "spec:\n  window: 5h"))
    assert main(["lint", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"warning {tmp_path}/a.yaml (+1 files): DriftPolicy digits: spec.w")
    assert lines[1] == "2 objects: 0 errors, 1 warning, 0 notes"


@pytest.mark.parametrize(
    ("given", "written_so"),
    [
        pytest.param("y", True, id="y"),
        pytest.param("N", False, id="N"),
        pytest.param("off", False, id="off"),
        pytest.param("2e-2", 0.02, id="2e-2"),
        pytest.param("1e3", 1000.0, id="a_hash_that_is_a_number"),
        pytest.param("0o17", 15, id="octal"),
        pytest.param("1:30", "1:30", id="no_sexagesimal"),
        pytest.param("2026-11-29", "2026-11-29", id="a_date_is_a_text"),
        pytest.param("v1.2", "v1.2", id="text"),
        pytest.param("1.5", 1.5, id="float"),
    ],
)
def test_scalars_are_those_of_kubectl(given: str, written_so: object) -> None:
    (document,) = documents_in(f"value: {given}", Path("x.yaml"))
    assert document["value"] == written_so
    assert type(document["value"]) is type(written_so)


@pytest.mark.parametrize("given", ["0b_", "0o_", "._", "1" * 5000])
def test_a_number_that_cannot_be_read_is_one_sentence(given: str) -> None:
    with pytest.raises(SpecError, match=r"x\.yaml: cannot be read: "):
        documents_in(f"value: {given}", Path("x.yaml"))


def test_a_key_that_kubectl_reads_as_a_truth_value_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, (found,) = lint(capsys, written(tmp_path, "kind: X\nn: 120\n"))
    assert found["message"] == "YAML reads a key as False; write it in quotes"


def test_objects_of_a_list_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    item = "\n".join(
        f"  {line}" for line in POLICY.replace("spec:", "bogus: 1\nspec:").splitlines()
    )
    text = f"apiVersion: v1\nkind: List\nitems:\n-{item[1:]}\n"
    code, found = lint(capsys, written(tmp_path, text))
    assert (code, [one["field"] for one in found if one["severity"] == "error"]) == (2, ["bogus"])


def test_an_object_that_stands_twice_in_a_file_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = lint(capsys, written(tmp_path, POLICY + "---\n" + POLICY))
    assert code == 2
    assert [one["message"] for one in found if one["severity"] == "error"] == [
        "stands twice in this file: kubectl applies both, and the last one wins"
    ]


@pytest.mark.parametrize("rate", ["1e-12", "1e-308", "0", "-1", "1e308", "nan"])
def test_a_rate_beyond_all_bounds_is_refused(
    rate: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = str(written(tmp_path, DEPLOYMENT))
    with pytest.raises(SystemExit):
        main(["lint", path, f"--requests-per-second={rate}"])
    assert "is not a number from 0.0000001 to 1000000000000" in capsys.readouterr().err
    assert main(["lint", path, "--requests-per-second=1e-7"]) == 0


# --- what lies beside ---------------------------------------------------------------------------


def test_who_is_watched_is_looked_for_in_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = POLICY.replace("[digits]", "[digit]")
    _, found = lint(capsys, written(tmp_path, wrong + DEPLOYMENT))
    assert fields(found, "warning") == ["spec.selector.deployments"]
    labels = POLICY.replace("deployments: [digits]", "matchLabels: {team: vision}")
    _, found = lint(capsys, written(tmp_path, labels + DEPLOYMENT))
    assert fields(found, "warning") == ["spec.selector.matchLabels"]
    two = POLICY + "---\n" + POLICY.replace("name: digits", "name: other")
    _, found = lint(capsys, written(tmp_path, two + DEPLOYMENT))
    assert [one["message"] for one in found if one["severity"] == "warning"] == [
        "digits: also watched by other; the older wins",
        "digits: also watched by digits; the older wins",
    ]


def test_a_pin_of_a_version_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = POLICY + DEPLOYMENT.replace("version: v1", "version: v3") + version("2" * 64)
    _, found = lint(capsys, written(tmp_path, text))
    assert fields(found, "warning") == ["spec.version"]


def version(digest: str) -> str:
    return f"""\
---
apiVersion: trimtab.dev/v1alpha1
kind: ModelVersion
metadata: {{name: digits-v1}}
spec:
  model: digits
  version: v1
  artifact: {{uri: "pvc://models/digits/", digest: "sha256:{digest}"}}
"""


def test_a_baseline_says_what_the_model_can_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "baseline.json").write_text(baseline().model_dump_json(by_alias=True))
    path = written(tmp_path, POLICY)
    code, found = lint(capsys, path, "--baseline", tmp_path / "baseline.json")
    assert (code, fields(found, "error")) == (2, ["spec.signals[0].metric"])
    assert "has no calibration" in found[0]["message"]
    assert main(["lint", str(path), "--baseline", str(tmp_path / "none.json")]) == 2
    assert "no such file" in capsys.readouterr().err


def artifact(folder: Path) -> str:
    """Write the small files of an artifact; returns the hex digest."""
    signature = {
        "task": "classification",
        "inputs": [{"name": "x", "datatype": "FP64"}],
        "outputs": [{"name": "class", "datatype": "BYTES"}],
        "classes": ["no", "yes"],
    }
    folder.mkdir(parents=True)
    texts = {
        "signature.json": json.dumps(signature),
        "baseline.json": baseline().model_dump_json(by_alias=True),
    }
    files = [{"path": "model.skops", "sha256": "0" * 64, "size": 1}]
    for name, text in texts.items():
        (folder / name).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        files.append({"path": name, "sha256": digest, "size": len(text)})
    manifest = {
        "format": "sklearn",
        "modelFile": "model.skops",
        "model": "digits",
        "version": "v1",
        "created": "2026-01-01T00:00:00Z",
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_the_artifacts_of_versions_are_read_where_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "PVC_ROOT", tmp_path / "pvc")
    digest = artifact(tmp_path / "pvc" / "models" / "digits")
    path = written(tmp_path, POLICY + DEPLOYMENT + version(digest))
    assert lint(capsys, path)[0] == 0
    code, found = lint(capsys, path, "--artifacts")
    assert (code, fields(found, "error")) == (2, ["spec.signals[0].metric"])

    path = written(tmp_path, POLICY + DEPLOYMENT + version("3" * 64))
    code, found = lint(capsys, path, "--artifacts")
    assert code == 2
    assert "artifact of digits-v1" in found[0]["message"]
    assert "has digest" in found[0]["message"]


def test_a_folder_of_an_artifact_stands_for_baseline_and_signature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact(tmp_path / "digits")
    text = POLICY.replace("accuracy", "recall, class: maybe").replace("quality", "outcomes")
    code, found = lint(capsys, written(tmp_path, text), "--baseline", tmp_path / "digits")
    assert code == 2
    assert fields(found, "error") == ["spec.signals[0].class", "spec.signals[0].floor"]


def test_labels_later_than_pods_take_them_say_what_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = POLICY.replace("kind: quality", "kind: outcomes, labelDelay: 200h")
    code, found = lint(capsys, written(tmp_path, text + DEPLOYMENT))
    assert (code, fields(found, "error")) == (2, ["spec.signals[0].labelDelay"])
    assert "at most 144h with this window" in found[0]["message"]
    assert lint(capsys, written(tmp_path, text.replace("200h", "144h") + DEPLOYMENT))[0] == 0


def test_requests_are_rows_unless_rows_are_stated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(
        tmp_path,
        POLICY.replace("kind: quality, metric: accuracy, floor: {dropBy: 3%}", "kind: inputs"),
    )
    _, found = lint(capsys, path, "--requests-per-second", "0.001")
    assert "about 86 rows" in found[0]["message"]
    assert lint(capsys, path, "--requests-per-second", "0.001", "--rows-per-window", "9e5")[1] == []
    with pytest.raises(SystemExit):
        main(["lint", str(path), "--rows-per-window", "0"])
    assert "is not a number from" in capsys.readouterr().err


async def test_a_cluster_counts_beside_the_files(tmp_path: Path) -> None:
    """There the Deployment is, and its version says a score; here only the policy."""
    shop = Shop()
    await shop.serve("v1")
    around = await objects_of(FakeApi(shop.cluster), "shop")
    assert {type(one).__name__ for one in around} == {"Deployment", "ModelVersion"}
    path = written(tmp_path, POLICY.replace("[digits]", "[digits, other]"))
    stated = Stated(rows=10**6)
    alone, _ = lint_files([path], stated)
    assert alone == []
    found, count = lint_files([path], stated, around)
    assert count == 1
    assert [one.remark.message for one in found] == ["there is no Deployment other here"]


@pytest.mark.parametrize("wanted", ["version: v1", "follow: {}"])
async def test_a_model_that_a_cluster_has_no_version_of(tmp_path: Path, wanted: str) -> None:
    shop = Shop()
    await shop.serve("v1")
    around = await objects_of(FakeApi(shop.cluster), "shop")
    text = DEPLOYMENT.replace("version: v1", wanted)
    path = written(tmp_path, text.replace("model: digits", "model: digitz"))

    def told(around: list[Kind] | None) -> list[tuple[str, str, str]]:
        found, _ = lint_files([path], Stated(), around)
        return [(t.remark.severity, t.remark.field, t.remark.message) for t in found]

    assert told(around) == [
        ("warning", "spec.model", "there is no version of a model digitz here, only of digits")
    ]
    assert told([]) == [("warning", "spec.model", "there is no version of a model digitz here")]
    assert told(None) == [], "the files need not have all versions"


def test_without_a_cluster_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    assert main(["lint", str(written(tmp_path, POLICY)), "--cluster"]) == 2
    assert "there is no kubeconfig" in capsys.readouterr().err
