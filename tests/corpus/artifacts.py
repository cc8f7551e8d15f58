"""The corpus of bad artifacts: what is wrong, the reason that is told, and words of the message."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple
from zipfile import ZipFile

from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tests.corpus.drafts import (
    MODEL,
    Draft,
    Edit,
    also,
    baseline,
    damaged,
    gone,
    manifest,
    model,
    rewrite,
    signature,
    told,
    unlisted,
)

from trimtab.contract.artifact import BASELINE, MANIFEST, SIGNATURE


class Bad(NamedTuple):
    """One bad artifact."""

    edit: Edit
    reason: str
    said: str


def _tensor(name: str = "x", shape: Any = (4,), **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "FP64", "shape": list(shape), **more}


def _forged_forest(draft: Draft) -> None:
    rows = draft.stored.rows
    forest = RandomForestClassifier(2, random_state=0).fit(rows, rows[:, 0] > 0)
    forest.estimators_[1].tree_.children_left[0] = 10**6
    model(forest)(draft)


def _narrow(draft: Draft) -> None:
    rows = draft.stored.rows
    model(LogisticRegression().fit(rows[:, :3], (rows[:, 0] > 0).astype(int)))(draft)


def part_of_the_model(name: str, change: Callable[[bytes], bytes]) -> Edit:
    """Change one file of the zip that the model is, and the first array where none is named."""

    def edit(draft: Draft) -> None:
        with ZipFile(draft.folder / MODEL) as packed:
            parts = {one: packed.read(one) for one in packed.namelist()}
        chosen = name or next(one for one in parts if one.endswith(".npy"))
        parts[chosen] = change(parts[chosen])
        content = BytesIO()
        with ZipFile(content, "w") as packed:
            for one, data in parts.items():
                packed.writestr(one, data)
        rewrite(MODEL, content.getvalue())(draft)

    return edit


def _unpacking_to_gigabytes(draft: Draft) -> None:
    content = bytearray((draft.folder / MODEL).read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (2**32 - 2).to_bytes(4, "little")  # its unpacked size
    rewrite(MODEL, bytes(content))(draft)


def _feature(**changes: Any) -> Edit:
    return baseline(lambda content: content["features"][0].update(changes))


def _all(**changes: Any) -> Edit:
    return baseline(lambda content: content.update(changes))


def _another_digest(draft: Draft) -> None:
    draft.digest = "sha256:" + "0" * 64


_CLASS = {"name": "class", "datatype": "INT64", "shape": []}
_DEEP = b"[" * 100_000

OF_THE_STORE: dict[str, Bad] = {
    "another_digest": Bad(_another_digest, "DigestMismatch", MANIFEST),
    **{
        f"{name.partition('.')[0]}_{how}": Bad(edit, reason, name)
        for name in (MODEL, SIGNATURE, BASELINE)
        for how, edit, reason in (
            ("truncated", damaged(name, lambda data: data[:-1]), "DigestMismatch"),
            ("emptied", damaged(name, lambda _data: b""), "DigestMismatch"),
            ("longer", damaged(name, lambda data: data + b" "), "DigestMismatch"),
            (
                "one_bit",
                damaged(name, lambda data: data[:-1] + bytes([data[-1] ^ 1])),
                "DigestMismatch",
            ),
            ("gone", gone(name), "Malformed"),
            ("unlisted", unlisted(name), "FileMissing"),
        )
    },
    "manifest_truncated": Bad(damaged(MANIFEST, lambda d: d[:-1]), "DigestMismatch", MANIFEST),
    "manifest_gone": Bad(gone(MANIFEST), "NotInStore", MANIFEST),
    "manifest_too_long": Bad(manifest(model="m" * 2**20), "Malformed", "larger than 1 MiB"),
    "format_unknown": Bad(manifest(format="pickle"), "Malformed", "format"),
    "format_of_another": Bad(manifest(format="custom"), "FormatMismatch", "custom"),
    "schema_of_the_future": Bad(manifest(schemaVersion=2), "Malformed", "schemaVersion"),
    "files_no_list": Bad(manifest(files={}), "Malformed", "files"),
    "model_file_missing": Bad(manifest(modelFile="other.skops"), "FileMissing", "other.skops"),
    "loader_unknown": Bad(manifest(modelFile=SIGNATURE), "FormatUnknown", "no loader"),
    "path_below_a_file": Bad(also(f"{MODEL}/x"), "Malformed", "file and as a folder"),
    "path_above_itself": Bad(also("../x"), "Malformed", "leaves it"),
    "path_absolute": Bad(also("/etc/x"), "Malformed", "path"),
    "path_with_nul": Bad(also("a\0b"), "Malformed", "path"),
    "path_twice": Bad(also(MODEL), "Malformed", "twice"),
    "path_of_the_manifest": Bad(also(MANIFEST), "Malformed", "itself"),
    "size_negative": Bad(lambda d: d.listed(MODEL).update(size=-1), "Malformed", "size"),
    "hash_short": Bad(lambda d: d.listed(MODEL).update(sha256="0"), "Malformed", "sha256"),
    "too_large": Bad(told(MAX_ARTIFACT_BYTES="100"), "TooLarge", "100 allowed"),
    "no_such_folder": Bad(told(ARTIFACT_URI="file:///nowhere"), "NotInStore", "no such object"),
    "no_such_scheme": Bad(told(ARTIFACT_URI="ftp://x/y"), "BadLocation", "scheme"),
    "scratch_unusable": Bad(told(SCRATCH="/dev/null"), "SettingsInvalid", "TRIMTAB_SCRATCH"),
}

OF_THE_MODEL: dict[str, Bad] = {
    "model_empty": Bad(rewrite(MODEL, b""), "Malformed", MODEL),
    "model_junk": Bad(rewrite(MODEL, b"PK\x03\x04 junk"), "Malformed", MODEL),
    "model_a_pickle": Bad(rewrite(MODEL, b"cos\nsystem\n(S'true'\ntR."), "Malformed", MODEL),
    "model_runs_a_command": Bad(model(FunctionTransformer(os.system)), "UntrustedType", "system"),
    "model_evaluates": Bad(model(FunctionTransformer(eval)), "UntrustedType", "eval"),
    "model_not_utf8": Bad(
        part_of_the_model("schema.json", lambda data: data[:-9] + b"\xff" * 9), "Malformed", MODEL
    ),
    "model_schema_cut": Bad(
        part_of_the_model("schema.json", lambda data: data[:-1]), "Malformed", MODEL
    ),
    "model_schema_deep": Bad(
        part_of_the_model("schema.json", lambda _data: _DEEP), "Malformed", MODEL
    ),
    "model_schema_empty": Bad(
        part_of_the_model("schema.json", lambda _data: b"{}"), "Malformed", MODEL
    ),
    "model_array_cut": Bad(part_of_the_model("", lambda data: data[:-1]), "Malformed", MODEL),
    "model_array_of_objects": Bad(
        part_of_the_model(
            "", lambda data: data.replace(b"'<f8'", b"'|O8'").replace(b"'<i8'", b"'|O8'")
        ),
        "Malformed",
        MODEL,
    ),
    "model_unpacks_to_gigabytes": Bad(_unpacking_to_gigabytes, "TooLarge", "unpacks to"),
    "model_a_dict": Bad(model({"a": 1}), "Malformed", "no predict"),
    "model_only_transforms": Bad(model(StandardScaler()), "Malformed", "no predict"),
    "model_not_fitted": Bad(model(LogisticRegression()), "WarmUpFailed", "NotFitted"),
    "model_of_three_features": Bad(_narrow, "WarmUpFailed", "4 features"),
    "model_forged_tree": Bad(_forged_forest, "UnsafeModel", "tree"),
}

OF_THE_SIGNATURE: dict[str, Bad] = {
    "signature_empty": Bad(rewrite(SIGNATURE, b""), "Malformed", SIGNATURE),
    "signature_not_utf8": Bad(rewrite(SIGNATURE, b'{"task": "\xff"}'), "Malformed", SIGNATURE),
    "signature_deep": Bad(rewrite(SIGNATURE, _DEEP), "Malformed", SIGNATURE),
    "signature_a_list": Bad(rewrite(SIGNATURE, b"[]"), "Malformed", SIGNATURE),
    "task_unknown": Bad(signature(task="ranking"), "Malformed", "task"),
    "no_inputs": Bad(signature(inputs=[]), "Malformed", "inputs"),
    "no_outputs": Bad(signature(outputs=[]), "Malformed", "outputs"),
    "datatype_unknown": Bad(signature(inputs=[_tensor(datatype="FP65")]), "Malformed", "datatype"),
    "name_empty": Bad(signature(inputs=[_tensor("")]), "Malformed", "name"),
    "shape_zero": Bad(signature(inputs=[_tensor(shape=[0])]), "Malformed", "inputs: x: shape"),
    "shape_negative": Bad(signature(inputs=[_tensor(shape=[-4])]), "Malformed", "inputs: x: shape"),
    "shape_two_negative": Bad(
        signature(inputs=[_tensor(shape=[-2, -2])]), "Malformed", "inputs: x: shape"
    ),
    "shape_of_a_billion": Bad(
        signature(inputs=[_tensor(shape=[10**9])]), "Malformed", "inputs: x: shape"
    ),
    "shape_overflows": Bad(
        signature(inputs=[_tensor(shape=[2**40, 2**40])]), "Malformed", "inputs: x: shape"
    ),
    "shape_of_words": Bad(signature(inputs=[_tensor(shape=["n"])]), "Malformed", "shape"),
    "shape_of_many": Bad(signature(inputs=[_tensor(shape=[1] * 40)]), "Malformed", "dimensions"),
    "inputs_large_together": Bad(
        signature(inputs=[_tensor(f"x{i}", [2**20]) for i in range(3)]), "Malformed", "elements"
    ),
    "input_twice": Bad(
        signature(inputs=[_tensor(shape=[2]), _tensor(shape=[2])]),
        "Malformed",
        "'x' is named twice",
    ),
    "input_is_an_element": Bad(
        signature(inputs=[_tensor(shape=[3]), _tensor("x[1]", [])]), "Malformed", "element of 'x'"
    ),
    "limit_infinite": Bad(
        signature(inputs=[_tensor(minimum=float("-inf"))]), "Malformed", "inputs: x: minimum"
    ),
    "limits_upside_down": Bad(
        signature(inputs=[_tensor(minimum=2, maximum=1)]), "Malformed", "inputs: x: minimum"
    ),
    "output_twice": Bad(signature(outputs=[_CLASS, _CLASS]), "Malformed", "'class' is named twice"),
    "output_unknown": Bad(
        signature(outputs=[_tensor("value", [7])]), "OutputsDiffer", "outputs: value"
    ),
    "output_of_nothing": Bad(
        signature(outputs=[_tensor("value", [0])]), "Malformed", "outputs: value: shape"
    ),
    "classes_missing": Bad(signature(classes=[]), "Malformed", "classes"),
    "class_twice": Bad(signature(classes=["0", "0"]), "Malformed", "'0' is named twice"),
    "classes_of_a_regression": Bad(signature(task="regression"), "Malformed", "classes"),
    "too_wide_for_the_baseline": Bad(
        signature(inputs=[_tensor(shape=[5])]), "BaselineMismatch", "'x[4]'"
    ),
    "too_narrow_for_the_baseline": Bad(
        signature(inputs=[_tensor(shape=[3])]), "BaselineMismatch", "x[3]"
    ),
    "named_unlike_the_baseline": Bad(
        signature(inputs=[_tensor("y")]), "BaselineMismatch", "no such input"
    ),
    "words_unlike_the_baseline": Bad(
        signature(inputs=[_tensor(datatype="BYTES")]), "BaselineMismatch", "numeric"
    ),
    "classes_unlike_the_baseline": Bad(
        signature(classes=["no", "yes"]), "BaselineMismatch", "predictedCounts"
    ),
}

OF_THE_BASELINE: dict[str, Bad] = {
    "baseline_empty": Bad(rewrite(BASELINE, b""), "Malformed", BASELINE),
    "baseline_deep": Bad(rewrite(BASELINE, _DEEP), "Malformed", BASELINE),
    "baseline_not_sealed": Bad(
        lambda d: rewrite(
            BASELINE, d.stored.baseline.model_copy(update={"n": 401}).model_dump_json().encode()
        )(d),
        "DigestMismatch",
        BASELINE,
    ),
    "n_negative": Bad(_all(n=-1), "Malformed", "baseline.json: n: "),
    "n_below_the_counts": Bad(_all(n=10), "Malformed", "n is 10"),
    "feature_unknown": Bad(_feature(name="age"), "BaselineMismatch", "age"),
    "feature_past_the_end": Bad(_feature(name="x[4]"), "BaselineMismatch", "x[4]"),
    "feature_spelled_otherwise": Bad(_feature(name="x[00]"), "BaselineMismatch", "x[00]"),
    "feature_twice": Bad(_feature(name="x[1]"), "Malformed", "'x[1]' is named twice"),
    "feature_missing": Bad(
        baseline(lambda content: content["features"].pop()), "BaselineMismatch", "'x[3]'"
    ),
    "kind_unknown": Bad(_feature(kind="text"), "Malformed", "features"),
    "kind_of_words": Bad(
        _feature(kind="categorical", categories=["red"], counts=[1]), "BaselineMismatch", "words"
    ),
    "categories_too_many": Bad(
        _feature(kind="categorical", categories=["1", "2"], counts=[1]), "Malformed", "in number"
    ),
    "counts_short": Bad(_feature(counts=[1]), "Malformed", "1 counts"),
    "count_negative": Bad(_feature(counts=[-1, 1, 1, 1, 1]), "Malformed", "negative"),
    "missing_negative": Bad(_feature(missing=-1), "Malformed", "negative"),
    "edges_descend": Bad(_feature(edges=[3, 2, 1, 0]), "Malformed", "x[0]: edges do not ascend"),
    "edges_equal": Bad(_feature(edges=[0, 0, 1, 2]), "Malformed", "x[0]: edges do not ascend"),
    "edge_not_a_number": Bad(_feature(edges=[0, 1, 2, float("nan")]), "Malformed", "finite"),
    "edge_infinite": Bad(_feature(edges=[0, 1, 2, float("inf")]), "Malformed", "finite"),
    "bins_too_many": Bad(
        _feature(edges=list(range(1000)), counts=[0] * 1001), "Malformed", "1001 bins"
    ),
    "score_bins_too_many": Bad(
        _all(scoreEdges=[i / 1000 for i in range(1000)], scoreCounts=[0] * 1001),
        "Malformed",
        "scoreEdges: 1001 bins",
    ),
    "range_upside_down": Bad(_feature(minimum=9, maximum=-9), "Malformed", "minimum"),
    "range_not_a_number": Bad(_feature(minimum=float("nan")), "Malformed", "finite"),
    "score_counts_short": Bad(_all(scoreCounts=[1]), "Malformed", "scoreEdges"),
    "score_beyond_one": Bad(
        _all(scoreEdges=[0.5, 7.0], scoreCounts=[1, 1, 1]), "BaselineMismatch", "scoreEdges"
    ),
    "predicted_unknown": Bad(
        _all(predictedCounts={"low": 1}), "BaselineMismatch", "predictedCounts: 'low'"
    ),
    "residuals_of_a_classifier": Bad(
        _all(residuals={key: [] for key in ("rows", "absolute", "squares", "fourth")}),
        "BaselineMismatch",
        "residuals",
    ),
    "calibration_twice": Bad(
        baseline(lambda content: content["calibration"].extend(content["calibration"])),
        "Malformed",
        "calibration: 2 maps",
    ),
    "calibration_ragged": Bad(
        _all(calibration=[{"x": [0, 1], "y": [0]}]), "Malformed", "calibration[0]"
    ),
    "calibration_descends": Bad(
        _all(calibration=[{"x": [0, 1], "y": [1, 0]}]), "Malformed", "descends"
    ),
    "calibration_beyond_one": Bad(
        _all(calibration=[{"x": [0, 1], "y": [0, 2]}]), "Malformed", "outside 0..1"
    ),
}

BAD = OF_THE_STORE | OF_THE_MODEL | OF_THE_SIGNATURE | OF_THE_BASELINE
