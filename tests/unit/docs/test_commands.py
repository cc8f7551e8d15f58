"""Every command of a page is run: here, on the real cluster, or by a test that is named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.demo.play import AFTERWARDS, LOOK
from tests.e2e.docs.story import STORY
from tests.pages.blocks import ROOT, all_commands, of_language
from tests.unit.conform.test_runtime import process
from tests.unit.replay.recorded import T0, baseline, scrape

from trimtab.serving.settings import ServingSettings

HERE = {
    ".venv/bin/trimtab simulate manifests/quickstart/",
    "trimtab simulate manifests/quickstart",
    "trimtab lint manifests/examples --requests-per-second 0.01",
    "trimtab replay policy.yaml --rows analysis.parquet --reference reference.parquet "
    "--rows-per-window 5000 --probability predicted_probability --label employed",
    'curl -s $POD:9090/metrics | sed "/^#/!s/$/ $(date +%s)/" >> pod.txt',
    "trimtab replay policy.yaml --openmetrics pod.txt --baseline baseline.json",
    "trimtab conform http://localhost:8080 --metrics-url http://localhost:9090",
    "kubectl -n trimtab-system port-forward service/trimtab-store 9000 > forward.log &",
    "key() { kubectl -n trimtab-system get secret trimtab-artifacts "
    '-o jsonpath="{.data.$1}" | base64 -d; }',
    'export AWS_ENDPOINT_URL=http://localhost:9000 AWS_ACCESS_KEY_ID="$(key AWS_ACCESS_KEY_ID)"',
    'export AWS_SECRET_ACCESS_KEY="$(key AWS_SECRET_ACCESS_KEY)"',
    "kubectl port-forward service/digits 8080 > forward.log &",
    "curl -s http://localhost:8080/v2/models/digits/infer --json "
    '\'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 4], '
    '"data": [0.1, 0.2, 0.3, 0.4]}]}\'',
    "kubectl port-forward service/digits-metrics 9090 > forward.log &",
    'curl -s http://localhost:9090/outcomes --json \'[{"token": "TOKEN", "actual": ["1"]}]\'',
}
"""Run below."""
CLUSTER = {step.command for step in STORY}
"""Run by tests/e2e/docs."""
LAPTOP = (
    "tests/wiring/test_laptop.py",
    "def test_an_artifact_is_served_asked_exchanged_and_ended",
)
ELSEWHERE = {
    "trimtab serve models/digits": LAPTOP,
    "trimtab predict http://localhost:8080 rows.csv": LAPTOP,
    "make setup": ("Makefile", "\n$(VENV)/.develop: $(VENV)/.installed\n"),
    "make demo": (
        "tests/e2e/loop/test_loop.py",
        "def test_act_ends_well_though_the_operator_is_killed_in_it",
    ),
    "kubectl patch configmap argocd-cm --namespace argocd --type merge "
    "--patch-file argocd-cm.yaml": (
        "tests/e2e/rollouts/test_standing.py",
        "def test_the_patch_of_argocd_gives_each_kind_the_script",
    ),
    LOOK: ("tests/e2e/docs/test_documented_commands.py", "def test_what_the_demo_left_is_shown"),
    "trimtab replay policy.yaml --prometheus http://localhost:9090 --from 2026-01-01 "
    "--baseline baseline.json": (
        "tests/unit/cli/test_replay_prometheus.py",
        "def test_a_stretch_of_time_is_judged",
    ),
}
"""Run by something that stands in a file."""

POLICY = """\
apiVersion: trimtab.dev/v1alpha1
kind: DriftPolicy
metadata: {name: digits}
spec:
  selector: {deployments: [digits]}
  window: 1h
  season: 1h
  signals:
  - {kind: predictions, tolerance: 0.02}
  - {kind: quality, floor: {dropBy: 5%}}
"""
PAGE = '# TYPE trimtab_predicted_total counter\ntrimtab_predicted_total{class="yes"} 7\n'


class TestEveryCommandHasOneTest:
    def test_none_is_left_out_or_run_twice(self) -> None:
        counted = list(chain(HERE, CLUSTER, ELSEWHERE))
        assert sorted(all_commands() - set(counted)) == [], "no test runs them"
        assert len(counted) == len(set(counted)), "two lists have the same command"

    def test_none_is_tested_that_no_page_has(self) -> None:
        assert sorted({*HERE, *CLUSTER, *ELSEWHERE} - all_commands()) == []

    def test_a_story_plays_a_command_once(self) -> None:
        assert len(CLUSTER) == len(STORY)

    @pytest.mark.parametrize("command", ELSEWHERE)
    def test_what_runs_it_elsewhere_is_there(self, command: str) -> None:
        file, text = ELSEWHERE[command]
        assert text in (ROOT / file).read_text()


def test_the_demo_ends_with_how_to_look_and_how_to_remove_it() -> None:
    lines = [line.strip() for line in AFTERWARDS.splitlines()]
    assert LOOK in lines
    assert "make demo-clean" in lines[-1]
    assert "make cluster-down" in lines[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the tree's manifests, and the files that the pages name."""
    (tmp_path / "manifests").symlink_to(ROOT / "manifests")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "baseline.json").write_text(baseline().model_dump_json(by_alias=True))
    return tmp_path


def run(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in the folder, with the programs of this Python."""
    programs = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), "PATH": programs, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def ours(verb: str) -> str:
    """Return the one command of the pages that is tested here and has these words."""
    (command,) = (one for one in HERE if verb in one)
    return command


# --- consoles: the command is run, and prints what the page shows ---------------------------------

_VARIES = re.compile(r"[0-9a-f]*\d[0-9a-f]*(\.\d+)?")
"""Numbers and hashes; what a page shows of them is from one run."""


def shape(line: str) -> str:
    """Return a line without its numbers and hashes."""
    return " ".join(_VARIES.sub("0", line).split())


def as_it_is(line: str) -> str:
    """Return a line with its numbers."""
    return " ".join(line.split())


REPEATED = ("trimtab simulate ", "trimtab lint ")
"""Print the same each time: what a page shows of them, it shows to the digit."""


@pytest.mark.parametrize("block", of_language("console"), ids=lambda block: block.place)
def test_a_console_prints_what_the_page_shows(block, folder: Path) -> None:
    (command,) = block.commands()
    done = run(folder, command)
    assert done.returncode == 0, done.stderr
    read = as_it_is if command.startswith(REPEATED) else shape
    printed = iter([read(line) for line in done.stdout.splitlines()])
    for line in block.printed():
        if line == "..." or not line:
            continue
        wanted = read(line.removesuffix("..."))
        is_cut = line.endswith("...")
        assert any(one.startswith(wanted) if is_cut else one == wanted for one in printed), (
            f"{block.place}: {line}"
        )


# --- the other commands ---------------------------------------------------------------------------


def test_simulate_of_the_front_page(folder: Path) -> None:
    done = run(folder, ours(".venv/bin/trimtab simulate"))
    assert done.returncode == 0, done.stderr
    assert "no cluster was touched" in done.stdout


def test_replay_of_rows(folder: Path) -> None:
    draws = np.random.default_rng(1)
    for name, count in (("reference", 5000), ("analysis", 10_000)):
        probability = draws.random(count)
        rows = pd.DataFrame(
            {
                "predicted_probability": probability,
                "prediction": (probability > 0.5).astype(int),
                "employed": (draws.random(count) < probability).astype(int),
            }
        )
        rows.to_parquet(folder / f"{name}.parquet")
    done = run(folder, ours("--rows"))
    assert done.returncode == 0, done.stderr
    header = next(line for line in done.stdout.splitlines() if line.startswith("START"))
    assert header.split() == ["START", "SIGNAL", "N", "VALUE", "THRESHOLD", "VERDICT", "ACTION"]


def test_what_is_appended_from_a_pod_is_a_recording(folder: Path) -> None:
    (folder / "page.txt").write_text(PAGE)
    stub = folder / "curl"
    stub.write_text('#!/bin/sh\n[ "$2" = pod:9090/metrics ] && cat page.txt\n')
    stub.chmod(0o755)
    began = time.time()
    for _ in range(2):
        done = run(folder, ours("$POD"), POD="pod")
        assert done.returncode == 0, done.stderr
    lines = [line for line in (folder / "pod.txt").read_text().splitlines() if line[0] != "#"]
    assert len(lines) == 2
    assert all(float(line.split()[-1]) >= began - 1 for line in lines)


@pytest.fixture
def kubectl(folder: Path) -> Path:
    """A kubectl that knows one Secret; `port-forward` only says so, `apply` keeps what it gets."""
    stub = folder / "kubectl"
    stub.write_text(KUBECTL)
    stub.chmod(0o755)
    return stub


KUBECTL = """\
#!/bin/sh
case "$*" in
  *jsonpath={.data.AWS_ACCESS_KEY_ID}) printf dHJpbXRhYg== ;;
  *jsonpath={.data.AWS_SECRET_ACCESS_KEY}) printf aGlkZGVu ;;
  *jsonpath={.data}) printf '{"AWS_ACCESS_KEY_ID":"dHJpbXRhYg=="}' ;;
  *port-forward*) echo forwarding ;;
  "apply --namespace shop -f -") cat > applied.yaml ;;
  *) exit 1 ;;
esac
"""


@pytest.mark.usefixtures("kubectl")
def test_keys_of_the_trial_store_reach_the_environment(folder: Path) -> None:
    (block,) = (
        block for block in of_language("sh") if "port-forward service/trimtab-store" in block.text
    )
    done = run(
        folder,
        f"{block.text}env | grep -E '^AWS_(E|A|S)[A-Z_]*(URL|ID|KEY)='; wait; cat forward.log",
    )
    assert sorted(done.stdout.split()) == [
        "AWS_ACCESS_KEY_ID=trimtab",
        "AWS_ENDPOINT_URL=http://localhost:9000",
        "AWS_SECRET_ACCESS_KEY=hidden",
        "forwarding",
    ]


@pytest.mark.usefixtures("kubectl")
def test_a_copied_secret_has_nothing_of_the_one_object_that_it_was(folder: Path) -> None:
    (copy,) = (command for command in CLUSTER if "jsonpath='{.data}'" in command)
    done = run(folder, copy)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((folder / "applied.yaml").read_text()) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "trimtab-artifacts"},
        "data": {"AWS_ACCESS_KEY_ID": "dHJpbXRhYg=="},
    }


def test_replay_of_a_recording(folder: Path) -> None:
    low = high = 0
    text = ""
    for minute in range(0, 2 * 60 + 2, 2):
        text += scrape(T0 + 60 * minute, low, high, start=T0 - 60)
        low, high = low + 20, high + 20
    (folder / "pod.txt").write_text(text)
    done = run(folder, ours("--openmetrics"))
    assert done.returncode == 0, done.stderr
    assert "predictions" in done.stdout


def test_conform_against_our_runtime(folder: Path, settings: ServingSettings) -> None:
    command = ours("conform")
    with process(settings) as (_, url, metrics_url):
        command = command.replace("http://localhost:8080", url)
        done = run(folder, command.replace("http://localhost:9090", metrics_url))
    assert done.returncode == 0, done.stdout
    assert "no required checks failed" in done.stdout


@pytest.mark.usefixtures("kubectl")
def test_curl_asks_and_sends_the_truth_back(folder: Path, settings: ServingSettings) -> None:
    asks, answers = (b.text for b in of_language("sh") if "port-forward service/digits" in b.text)
    with process(settings) as (_, url, metrics_url):
        done = run(folder, asks.replace("http://localhost:8080", url))
        answer = json.loads(done.stdout.partition("forwarding")[0])
        assert answer["outputs"][0]["shape"] == [1]
        told = answers.replace("TOKEN", answer["parameters"]["trimtab_token"])
        done = run(folder, told.replace("http://localhost:9090", metrics_url))
    told_back = json.loads(done.stdout.partition("forwarding")[0])
    assert told_back["results"] == [{"status": "counted", "rows": 1}]
