"""The single file: nothing but the standard library, the same bytes each time, and its manifest."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.kubectl import FakeKubectl
from tests.unit.cli.test_get import pod

from trimtab import __version__
from trimtab.generate import single_file

DIGITS = {"metadata": {"name": "digits", "namespace": "shop"}, "spec": {"version": "v1"}}
LOADED = """\
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as left:
    code = left.code
print(sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""
"""Runs the file as its first line does, and says what was imported."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the file."""
    folder = tmp_path_factory.mktemp("dist")
    single_file.main([str(folder)])
    return folder / "trimtab"


def run(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the file by an interpreter that has no packages."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(file), *words],
        capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ),
    )  # fmt: skip


def test_it_is_a_program_of_its_own(file: Path) -> None:
    assert file.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert file.stat().st_mode & 0o111
    assert run(file, "--version").stdout == f"trimtab {__version__}\n"


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["get"], ["completion", "bash"]])
def test_nothing_of_others_is_imported(file: Path, kubectl: FakeKubectl, words: list[str]) -> None:
    kubectl.list("modeldeployments", DIGITS)
    kubectl.list("driftpolicies")
    kubectl.list("retrainjobs")
    kubectl.list("pods", pod("digits-1"), path="/api/v1/namespaces/shop/")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOADED, str(file), *words],
        capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = set(re.findall(r"'(\w+)'", done.stderr.splitlines()[-1]))
    assert loaded - sys.stdlib_module_names - {"trimtab", "__main__", "__mp_main__"} == set()
    if words == ["--version"]:
        assert "asyncio" not in loaded


def test_every_command_on_a_cluster_is_there(file: Path, kubectl: FakeKubectl) -> None:
    from trimtab.cli.completion import _commands
    from trimtab.cli.main import parser

    offline = {"simulate", "replay", "lint", "conform"}
    for name in {*_commands(parser())} - offline - {"serve"}:
        assert run(file, name, "--help").returncode == 0
    for name in offline:
        done = run(file, name, "x")
        assert done.returncode == 1
        assert re.fullmatch(rf"error: {name} judges .*`make setup`\n", done.stderr)


def test_serve_says_what_to_install(file: Path) -> None:
    done = run(file, "serve", "x")
    assert done.returncode == 1
    assert done.stderr == (
        "error: serve runs models, and what that needs is not in this file: "
        "pip install '.[serving]' in Trimtab's source tree\n"
    )


def test_predict_needs_nothing_else(file: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n")
    done = run(file, "predict", "http://127.0.0.1:1", str(tmp_path / "rows.csv"))
    assert (done.returncode, done.stderr) == (
        1,
        "error: http://127.0.0.1:1: nothing listens there\n",
    )


def test_a_tree_is_shown_by_it(file: Path, kubectl: FakeKubectl) -> None:
    kubectl.get("modeldeployments", DIGITS)
    kubectl.list("modeldeployments", DIGITS)
    kubectl.list("driftpolicies")
    kubectl.list("retrainjobs")
    kubectl.list("pods", pod("digits-1"), path="/api/v1/namespaces/shop/")
    done = run(file, "get", "digits")
    assert done.stdout.startswith("Deployment digits  serves nothing  wants v1\n")
    assert "pod digits-1  Ready" in done.stdout


def test_two_builds_are_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        single_file.main([str(tmp_path / folder)])
    for name in ("trimtab", f"trimtab-{__version__}.zip", "trimtab.yaml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_nothing_in_it_is_dated_compressed_or_compiled() -> None:
    with zipfile.ZipFile(io.BytesIO(single_file.program())) as packed:
        names = packed.namelist()
        assert names == sorted(names)
        assert {info.date_time for info in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in packed.infolist()} == {zipfile.ZIP_STORED}
        assert not [name for name in names if name.endswith(".pyc") or "offline" in name]


def test_an_interpreter_that_is_too_old_says_so() -> None:
    with zipfile.ZipFile(io.BytesIO(single_file.program())) as packed:
        text = packed.read("__main__.py").decode()
    old = text.replace("import sys\n", "import sys\nsys.version_info = (3, 9, 1)\n", 1)
    done = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True, check=False)
    assert done.stderr == "error: trimtab needs Python 3.11 or newer; this is 3.9\n"


def test_the_manifest_names_what_the_archive_has(file: Path) -> None:
    packed = (file.parent / f"trimtab-{__version__}.zip").read_bytes()
    manifest = yaml.safe_load((file.parent / "trimtab.yaml").read_text())
    assert manifest["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert manifest["metadata"]["name"] == "trimtab"
    spec = manifest["spec"]
    assert spec["version"] == f"v{__version__}"
    assert len(spec["shortDescription"]) <= 50
    (platform,) = spec["platforms"]
    assert platform["sha256"] == hashlib.sha256(packed).hexdigest()
    assert platform["uri"].startswith("https://trimtab.dev/")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert {one["from"] for one in platform["files"]} == set(archive.namelist())
        info = archive.getinfo(platform["bin"])
        assert info.external_attr >> 16 & 0o111, "krew keeps the mode"
        assert archive.read(info) == file.read_bytes()
        assert "Apache License" in archive.read("LICENSE").decode()


def test_what_it_calls_is_only_kubectl(file: Path, kubectl: FakeKubectl) -> None:
    kubectl.fail("get --raw .*", "error: refused\n")
    done = run(file, "why", "digits")
    assert done.stderr == "error: refused\n"
    assert [words for words, _ in kubectl.calls] == [
        ["config", "view", "--minify", "-o", "json"],
        ["get", "--raw", "/apis/trimtab.dev/v1alpha1/namespaces/shop/modeldeployments/digits"],
    ]
    assert json.dumps(DIGITS)
