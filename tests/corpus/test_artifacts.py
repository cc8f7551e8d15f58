"""No bad artifact becomes Ready; each says why in the log and in the termination message."""

from __future__ import annotations

import json
import random
import socket
import threading
from pathlib import Path
from time import monotonic

import pytest
from sklearn.ensemble import RandomForestClassifier
from tests.corpus.artifacts import BAD, Bad, part_of_the_model
from tests.corpus.conftest import Start
from tests.corpus.drafts import Draft, model, other_baseline
from tests.corpus.sent import spoiled
from tests.patience import slowest
from tests.unit.serving.stored import KEY, Stored

CODES = {"SettingsInvalid": 2, "ArtifactUnavailable": 4, "WarmUpFailed": 5}
REFUSED = 3


def environment(draft: Draft, folder: Path) -> dict[str, str]:
    key = folder / "key"
    key.write_bytes(KEY)
    return {
        "TRIMTAB_MODEL": "digits",
        "TRIMTAB_VERSION": "v1",
        "TRIMTAB_ARTIFACT_URI": draft.folder.as_uri(),
        "TRIMTAB_ARTIFACT_DIGEST": draft.seal(),
        "TRIMTAB_ARTIFACT_FORMAT": "sklearn",
        "TRIMTAB_TOKEN_KEY_FILE": str(key),
        "TRIMTAB_SCRATCH": str(folder),
        "TRIMTAB_TERMINATION_LOG": str(folder / "termination-log"),
        "TRIMTAB_FETCH_SECONDS": "10",
        "TRIMTAB_HOST": "127.0.0.1",
        "TRIMTAB_INFERENCE_PORT": "0",
        "TRIMTAB_METRICS_PORT": "0",
    } | draft.environment


def check_refused(start: Start, told: dict[str, str], reason: str, said: str) -> None:
    """Start the program; it ends with one logged line and a termination message, no traceback."""
    ended = start(told)
    lines = [json.loads(line) for line in ended["log"].splitlines()]
    assert ended["code"] == CODES.get(reason, REFUSED), ended
    assert not [line for line in lines if "error" in line], "a traceback was logged"
    errors = [line["message"] for line in lines if line["level"] == "error"]
    assert len(errors) == 1
    assert errors[0].startswith(f"{reason}: ")
    assert len(errors[0]) < 2000
    content = Path(told["TRIMTAB_TERMINATION_LOG"]).read_bytes()
    assert len(content) <= 4096
    message = json.loads(content)
    assert message["reason"] == reason
    assert said in message["message"]
    assert said in errors[0]


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_artifact_is_refused(start: Start, binary: Stored, tmp_path: Path, bad: Bad) -> None:
    draft = Draft(binary, tmp_path / "artifact")
    bad.edit(draft)
    check_refused(start, environment(draft, tmp_path), bad.reason, bad.said)


def test_the_artifact_that_is_spoiled_is_good(start: Start, binary: Stored, tmp_path: Path) -> None:
    ended = start(environment(Draft(binary, tmp_path / "artifact"), tmp_path))
    assert ended["code"] is None
    assert '"message":"ready' in ended["log"]


@pytest.mark.parametrize("seed", range(24))
def test_a_model_spoiled_at_random_is_refused_or_works(
    start: Start, binary: Stored, tmp_path: Path, seed: int
) -> None:
    """The hashes fit, so the loader has to notice; what it takes has passed the warm-up."""
    draft = Draft(binary, tmp_path / "artifact")
    if seed % 2:
        forest = RandomForestClassifier(3, max_depth=3, random_state=0)
        model(forest.fit(binary.rows, (binary.rows[:, 0] > 0).astype(int)))(draft)
    part = "" if seed % 3 else "schema.json"
    part_of_the_model(part, lambda data: spoiled(data, random.Random(seed)))(draft)
    ended = start(environment(draft, tmp_path))
    assert ended["code"] in (3, 5) or '"message":"ready' in ended["log"], ended
    assert "Traceback" not in ended["log"]
    assert max(map(len, ended["log"].splitlines())) < 2000


@pytest.mark.parametrize("other", ["table", "regression"])
def test_the_baseline_of_another_model_is_refused(
    start: Start, binary: Stored, tmp_path: Path, request: pytest.FixtureRequest, other: str
) -> None:
    draft = Draft(binary, tmp_path / "artifact")
    other_baseline(draft, request.getfixturevalue(other))
    told = environment(draft, tmp_path)
    check_refused(start, told, "BaselineMismatch", "the signature has no such input")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\netag: "a"\r\n'
        b"last-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n",
    ],
    ids=["mute", "dripping"],
)
def test_a_slow_store_is_given_up_in_time(
    start: Start, binary: Stored, tmp_path: Path, answer: bytes
) -> None:
    """The store keeps the connection alive for ever: with nothing, or with a byte now and then."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        listener.settimeout(20)
        peer, _ = listener.accept()
        with peer:
            peer.recv(9999)
            peer.sendall(answer)
            while not stop.wait(0.1):
                try:
                    peer.sendall(answer and b"{")
                except ConnectionError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        (credentials / "AWS_ENDPOINT_URL").write_text(url)
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        draft = Draft(binary, tmp_path / "artifact")
        told = environment(draft, tmp_path) | {
            "TRIMTAB_ARTIFACT_URI": "s3://bucket/x",
            "TRIMTAB_ARTIFACT_CREDENTIALS": str(credentials),
            "TRIMTAB_FETCH_SECONDS": "0.5",
        }
        began = monotonic()
        try:
            check_refused(start, told, "ArtifactUnavailable", "TRIMTAB_FETCH_SECONDS")
        finally:
            stop.set()
            thread.join()
    took = monotonic() - began
    assert took < 5 * slowest(took)


def test_a_port_in_use_is_said(start: Start, binary: Stored, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = environment(Draft(binary, tmp_path / "artifact"), tmp_path)
        told["TRIMTAB_METRICS_PORT"] = str(taken.getsockname()[1])
        check_refused(start, told, "SettingsInvalid", "TRIMTAB_METRICS_PORT")
