"""`trimtab serve` and `trimtab predict` as a person runs them, on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from tests.patience import stretched

from trimtab.training import publish

ROWS = np.random.default_rng(7).normal(size=(400, 3))
TRUTH = np.where(ROWS[:, 0] > 0, "good", "it's bad")
INTERRUPTED, ENDED = 130, 143


def published(folder: Path, version: str, regularised: float = 1.0) -> str:
    """Write a version; return its digest."""
    frame = pd.DataFrame(ROWS, columns=["a", "b's", "c"])
    model = LogisticRegression(C=regularised)
    made = publish(model, frame, TRUTH, uri=folder.as_uri(), model_name="my-model", version=version)
    return made.digest


def _heed_ctrl_c() -> None:
    """Who runs tests in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Laptop:
    """The command as a process, and the lines that it has printed."""

    def __init__(self, *words: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trimtab.cli.main", "serve", *words,
             "--port", "0", "--metrics-port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
            preexec_fn=_heed_ctrl_c,  # noqa: PLW1509
        )  # fmt: skip
        self._coming: Queue[str] = Queue()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._coming.put(line.rstrip("\n"))

    def until(self, text: str) -> list[str]:
        """Return the lines up to the first that holds the text."""
        seen: list[str] = []
        while not seen or text not in seen[-1]:
            try:
                seen.append(self._coming.get(timeout=stretched(60)))
            except Empty:
                raise AssertionError("\n".join(seen)) from None
        return seen

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(stretched(20))
        self._reading.join()
        return code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    published(tmp_path / "models", "v1")
    return tmp_path


@pytest.fixture
def laptop(folder: Path) -> Iterator[Laptop]:
    one = Laptop("models", "--reload", folder=folder)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.wait()


def pasted(line: str) -> Any:
    """Run a printed line in a shell; return the JSON that it prints."""
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def after(lines: list[str], head: str) -> str:
    """Return the line below the first that begins so."""
    return lines[next(at for at, line in enumerate(lines) if line.startswith(head)) + 1].strip()


def predict(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trimtab.cli.main", "predict", *words],
        capture_output=True, text=True, timeout=stretched(60), check=False,
    )  # fmt: skip


def test_an_artifact_is_served_asked_exchanged_and_ended(laptop: Laptop, folder: Path) -> None:
    lines = laptop.until("Ctrl-C ends it.")
    assert re.match(r"my-model v1 \(sha256:[0-9a-f]{12}\) from models/[0-9a-f]{16}/$", lines[0])

    answer = pasted(after(lines, "Try it:"))
    assert answer["model_version"] == "v1"
    assert answer["outputs"][0]["data"][0] in ("good", "it's bad")
    truth = after(lines, "A truth").replace("TOKEN", answer["parameters"]["trimtab_token"])
    assert pasted(truth)["counted"] == 1
    (metrics,) = (line.split()[1] for line in lines if "/metrics" in line)
    assert "trimtab_outcomes_total" in httpx.get(metrics).text
    (document,) = (line.split()[1] for line in lines if "/openapi.json" in line)
    assert httpx.get(document).json()["info"]["title"] == "my-model"

    url = after(lines, "A file of rows").split()[2]
    frame = pd.DataFrame(ROWS, columns=["a", "b's", "c"])
    frame.to_csv(folder / "rows.csv", index=False)
    done = predict(url, str(folder / "rows.csv"), "--probabilities")
    assert done.returncode == 0, done.stderr
    (folder / "answers.csv").write_text(done.stdout)
    answers = pd.read_csv(folder / "answers.csv")
    assert list(answers) == ["class", "probabilities[good]", "probabilities[it's bad]"]
    assert (answers["class"] == TRUTH).mean() > 0.95

    exchanged(laptop, folder, url)
    assert laptop.end(signal.SIGINT) == INTERRUPTED


def exchanged(laptop: Laptop, folder: Path, url: str) -> None:
    """See artifacts come: one that is broken, one that is good."""
    (name,) = [path.name for path in (folder / "models").iterdir()]
    broken = folder / "models" / "broken"
    shutil.copytree(folder / "models" / name, broken)
    manifest = (broken / "manifest.json").read_text().replace('"v1"', '"v1b"')
    (broken / "manifest.json").write_text(manifest)
    (broken / "signature.json").unlink()
    said = laptop.until("not loaded: ")[-1]
    assert "signature.json is in the manifest but not in the store" in said
    assert "my-model v1 (sha256:" in said
    shutil.rmtree(broken)

    path = f"{url}/v2/models/my-model/infer"
    is_over = threading.Event()
    statuses: list[int] = []

    def asks() -> None:
        inputs = [
            {"name": name, "datatype": "FP64", "shape": [1], "data": [0.5]}
            for name in ("a", "b's", "c")
        ]
        with httpx.Client() as client:
            while not is_over.is_set():
                statuses.append(client.post(path, json={"inputs": inputs}).status_code)

    asking = threading.Thread(target=asks)
    asking.start()
    digest = published(folder / "models", "v2", regularised=0.01)
    lines = laptop.until("Ctrl-C ends it.")
    assert any(line.startswith("From now on another artifact is served:") for line in lines)
    assert any(line.startswith(f"my-model v2 ({digest[:19]}) from models/") for line in lines)
    assert pasted(after(lines, "Try it:"))["model_version"] == "v2"
    is_over.set()
    asking.join()
    assert set(statuses) == {200}


def test_it_ends_by_sigterm_and_while_it_loads(folder: Path) -> None:
    laptop = Laptop("models", folder=folder)
    laptop.until("Ctrl-C ends it.")
    assert laptop.end(signal.SIGTERM) == ENDED
    early = Laptop("models", folder=folder)
    assert early.end(signal.SIGINT) in (INTERRUPTED, -signal.SIGINT), "whenever it comes"


def test_nothing_is_left_behind(folder: Path) -> None:
    scratch = folder / "scratch"
    scratch.mkdir()
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(scratch)
    try:
        laptop = Laptop("models", folder=folder)
    finally:
        os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
    laptop.until("Ctrl-C ends it.")
    (key,) = scratch.glob("*/key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert laptop.end(signal.SIGINT) == INTERRUPTED
    assert list(scratch.iterdir()) == []
