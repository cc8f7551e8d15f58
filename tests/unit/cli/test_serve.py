"""`serve` before anything is served: which artifact, what is said, and every refusal."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from tests.unit.contract.s3_server import S3, s3_server
from tests.unit.serving.stored import Stored, numeric, store, with_digest

from trimtab.cli.main import main, parser
from trimtab.cli.offline.laptop import settings_of
from trimtab.cli.offline.places import Found, NothingThere, find
from trimtab.cli.offline.told import LONGEST_LINE, Addresses, told
from trimtab.contract.artifact import Baseline, Signature, Tensor
from trimtab.contract.location import open_location
from trimtab.errors import TrimtabError
from trimtab.serving.errors import StartRefused

Out = pytest.CaptureFixture[str]


def put(folder: Path, slope: float, *, width: int = 2, **more: Any) -> Stored:
    rows = np.random.default_rng(5).normal(size=(100, width))
    estimator = LinearRegression().fit(rows, slope * rows[:, 0])
    score = numeric("score", rows[:, 0], 5)
    signature = Signature(
        task="regression",
        inputs=[Tensor(name="x", datatype="FP64", shape=[width])],
        outputs=[Tensor(name="value", datatype="FP64")],
    )
    baseline = Baseline(
        digest="",
        n=100,
        features=[numeric(f"x[{index}]", rows[:, index]) for index in range(min(width, 200))],
        score_edges=score.edges,
        score_counts=score.counts,
    )
    folder.mkdir(exist_ok=True)
    return store(folder, estimator, signature, with_digest(baseline), rows, **more)


def written_at(stored: Stored, seconds: int) -> None:
    os.utime(stored.folder / "manifest.json", (seconds, seconds))


class TestWhich:
    def test_a_folder_is_the_artifact_or_holds_it(self, tmp_path: Path) -> None:
        stored = put(tmp_path / "models", 1.0)
        for where in (
            stored.folder,
            stored.folder / "manifest.json",
            tmp_path / "models",
            stored.uri,
            (tmp_path / "models").as_uri(),
        ):
            found = find(str(where))
            assert (found.digest, found.uri, found.others) == (stored.digest, stored.uri, 0)
            assert found.title == f"digits v1 ({stored.digest[:19]})"

    def test_of_several_it_is_the_one_written_last(self, tmp_path: Path) -> None:
        first, second = put(tmp_path, 1.0), put(tmp_path, 2.0)
        (tmp_path / "notes").mkdir()
        written_at(first, 2_000)
        written_at(second, 1_000)
        found = find(str(tmp_path))
        assert (found.digest, found.others) == (first.digest, 1)
        assert found.place == f"{found.shown}, of 2 artifacts there the one written last"
        assert found.shown == f"{tmp_path}/{first.folder.name}/"
        assert find(str(tmp_path), digest=second.digest).digest == second.digest

    def test_another_digest_is_refused(self, tmp_path: Path) -> None:
        stored = put(tmp_path, 1.0)
        wanted = "sha256:" + "0" * 64
        with pytest.raises(TrimtabError, match=f"has the digest {stored.digest}, not {wanted}"):
            find(str(tmp_path), digest=wanted)

    def test_names_with_odd_characters(self, tmp_path: Path) -> None:
        stored = put(tmp_path, 1.0)
        odd = tmp_path / "above" / "a %20b#é"
        odd.parent.mkdir()
        shutil.move(stored.folder, odd)
        found = find(str(tmp_path / "above"))
        assert open_location(found.uri).get("manifest.json", 10_000)

    @pytest.mark.parametrize(
        ("where", "said"),
        [
            ("nowhere", "nowhere: no such folder"),
            (".", "has no manifest.json, nor has any folder in it"),
            ("ftp://x/y", "scheme must be one of"),
        ],
    )
    def test_nothing_there_is_wrong_input(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out, where: str, said: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert main(["serve", where]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1

    def test_a_manifest_that_is_none(self, tmp_path: Path, capsys: Out) -> None:
        (tmp_path / "manifest.json").write_text("{}")
        assert main(["serve", str(tmp_path)]) == 1
        error = capsys.readouterr().err
        assert "manifest.json" in error
        assert error.count("\n") == 1


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    with s3_server() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield server


def test_an_artifact_in_a_store_is_found_like_one_on_disk(s3: S3, tmp_path: Path) -> None:
    stored = put(tmp_path, 1.0)
    place = open_location("s3://models/digits")
    for file in stored.folder.iterdir():
        place.put(f"{stored.folder.name}/{file.name}", file.read_bytes())
    for where in ("s3://models/digits", f"s3://models/digits/{stored.folder.name}"):
        found = find(where)
        assert found.digest == stored.digest
        assert found.uri == f"s3://models/digits/{stored.folder.name}/"
    with pytest.raises(NothingThere, match=r"has no manifest\.json"):
        find("s3://models/other")


class TestRefusals:
    """One sentence each, and no traceback."""

    def serve(self, stored: Stored, *words: str) -> int:
        ports = ("--port", "0", "--metrics-port", "0")
        return main(["serve", str(stored.folder), *ports, *words])

    def said(self, capsys: Out) -> str:
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        assert line.startswith("error: ")
        return line

    @pytest.mark.parametrize("option", ["--port", "--metrics-port"])
    def test_a_port_in_use(self, tmp_path: Path, capsys: Out, option: str) -> None:
        stored = put(tmp_path, 1.0)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert self.serve(stored, option, str(port)) == 1
        assert self.said(capsys) == (
            f"error: 127.0.0.1:{port} is in use: name another port by {option}"
        )

    def test_an_address_of_another_machine(self, tmp_path: Path, capsys: Out) -> None:
        assert self.serve(put(tmp_path, 1.0), "--host", "192.0.2.1") == 1
        assert "192.0.2.1:0 cannot be listened on: " in self.said(capsys)

    def test_a_changed_model(self, tmp_path: Path, capsys: Out) -> None:
        stored = put(tmp_path, 1.0)
        (stored.folder / "model.skops").write_bytes(b"other")
        assert self.serve(stored) == 1
        line = self.said(capsys)
        assert "model.skops hashes to" in line
        assert line.endswith(": copy the version again, or publish it again")

    def test_a_model_that_is_none(self, tmp_path: Path, capsys: Out) -> None:
        assert self.serve(put(tmp_path, 1.0, files={"model.skops": b"no zip"})) == 1
        assert "model.skops: " in self.said(capsys)

    def test_onnx_without_its_runtime(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
        stored = put(
            tmp_path, 1.0, files={"m.onnx": b"x"}, model_file="m.onnx", model_format="onnx"
        )
        assert self.serve(stored) == 1
        line = self.said(capsys)
        assert line.endswith("pip install '.[serving,onnx]' in Trimtab's source tree")
        assert "onnx format" in line

    @pytest.mark.parametrize("library", ["xgboost", "pandas"])
    def test_tables_and_boosting_without_their_packages(
        self, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
    ) -> None:
        def refuse(*_: Any, **__: Any) -> Any:
            raise StartRefused("NeedsPandas" if library == "pandas" else "NeedsBoosting", "x")

        monkeypatch.setattr("trimtab.serving.lifecycle._warm", refuse)
        assert self.serve(put(tmp_path, 1.0)) == 1
        assert self.said(capsys).endswith(
            "is not installed: pip install '.[serving,tables]' in Trimtab's source tree"
        )

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("TRIMTAB_MAX_ROW", "5", "is no setting; TRIMTAB_MAX_ROWS is the nearest"),
            ("TRIMTAB_MAX_ROWS", "abc", "is 'abc'; a whole number is wanted"),
            ("TRIMTAB_ACCESS_LOG", "yes", "is 'yes'; off, errors or all is wanted"),
        ],
    )
    def test_a_variable_that_is_wrong(
        self, name: str, value: str, says: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, capsys: Out,
    ) -> None:  # fmt: skip
        monkeypatch.setenv(name, value)
        assert self.serve(put(tmp_path, 1.0)) == 1
        assert self.said(capsys) == f"error: {name} {says}"

    def test_a_pickle(self, tmp_path: Path, capsys: Out) -> None:
        more: dict[str, Any] = {"files": {"m.joblib": b"x"}, "model_file": "m.joblib"}
        assert self.serve(put(tmp_path, 1.0, **more)) == 1
        assert self.said(capsys).endswith(": --trust-pickle loads it all the same")
        assert self.serve(put(tmp_path, 2.0, **more), "--trust-pickle") == 1
        assert "m.joblib" in self.said(capsys)

    def test_packages_that_are_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
    ) -> None:
        monkeypatch.setattr("trimtab.cli.offline.serve.NEEDED", ("json", "no_such_package"))
        assert self.serve(put(tmp_path, 1.0)) == 1
        assert self.said(capsys) == (
            "error: serve needs packages that are not installed (no_such_package): "
            "pip install '.[serving]' in Trimtab's source tree"
        )

    def test_reload_of_one_digest(self, tmp_path: Path, capsys: Out) -> None:
        stored = put(tmp_path, 1.0)
        assert self.serve(stored, "--reload", "--digest", stored.digest) == 2
        assert "give one of them" in self.said(capsys)

    @pytest.mark.parametrize(
        "words", [["--port", "70000"], ["--port", "x"], ["--digest", "sha256:1"], []]
    )
    def test_wrong_usage(self, words: list[str], capsys: Out) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["serve", *(["x", *words] if words else [])])
        assert ended.value.code == 2
        assert "usage:" in capsys.readouterr().err


class TestSettings:
    """The runtime's own variables hold here as well."""

    def test_what_the_command_does_not_say_is_taken_from_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = find(str(put(tmp_path, 1.0).folder))
        monkeypatch.setenv("TRIMTAB_MAX_ROWS", "2")
        monkeypatch.setenv("TRIMTAB_ACCESS_LOG", "all")
        monkeypatch.setenv("TRIMTAB_INFERENCE_PORT", "1")
        monkeypatch.setenv("TRIMTAB_PROMETHEUS_TOKEN", "for another command")
        monkeypatch.setenv("TRIMTAB_GRAFANA_URL", "for another command")
        settings = settings_of(parser().parse_args(["serve", "x", "--port", "7"]), found, tmp_path)
        assert (settings.max_rows, settings.access_log) == (2, "all")
        assert settings.inference_port == 7


class TestWhatIsPrinted:
    def lines(self, tmp_path: Path, stored: Stored, host: str = "127.0.0.1") -> str:
        found = find(str(stored.folder))
        at = Addresses(host, 8080, 9090)
        return "\n".join(told(found, stored.signature, stored.baseline, at, tmp_path))

    def test_a_long_request_lies_in_a_file(self, tmp_path: Path) -> None:
        stored = put(tmp_path / "models", 1.0, width=1000)
        text = self.lines(tmp_path, stored)
        assert f"-d @{tmp_path}/request.json" in text
        request = json.loads((tmp_path / "request.json").read_text())
        assert request["inputs"][0]["shape"] == [1, 1000]
        assert len(text) < LONGEST_LINE

    @pytest.mark.parametrize(
        ("host", "shown"),
        [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]"), ("10.0.0.7", "10.0.0.7")],
    )
    def test_the_address_can_be_asked(self, tmp_path: Path, host: str, shown: str) -> None:
        text = self.lines(tmp_path, put(tmp_path / "models", 1.0), host)
        assert f"http://{shown}:8080/v2/models/digits/infer" in text
        assert f"http://{shown}:9090/metrics" in text

    def test_a_manifest_that_was_edited_is_said(self, tmp_path: Path) -> None:
        stored = put(tmp_path / "models", 1.0)
        assert "changed" not in self.lines(tmp_path, stored)
        manifest = stored.folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"v1"', '"v9"'))
        assert "changed     since it was published" in self.lines(tmp_path, stored)

    def test_a_name_is_quoted_for_the_shell(self, tmp_path: Path) -> None:
        stored = put(tmp_path / "models", 1.0)
        found = find(str(stored.folder))
        odd = found.manifest.model_copy(update={"model": "it's a $model"})
        signature = stored.signature.model_copy(
            update={"inputs": [Tensor(name="it's", datatype="BYTES", categories=["a'b $x"])]}
        )
        baseline = stored.baseline.model_copy(update={"features": []})
        named: Found = replace(found, manifest=odd)
        text = "\n".join(told(named, signature, baseline, Addresses("::1", 1, 2), tmp_path))
        assert "/v2/models/it%27s%20a%20%24model/infer" in text
        assert """'"'"'""" in text
