"""MLServer's own client and codecs against our runtime; run by a Python that has MLServer."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from mlserver.codecs import NumpyCodec, NumpyRequestCodec, StringCodec
from mlserver.types import (
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    RequestOutput,
)


def main() -> None:
    """Ask the server at ADDRESS (host:port) that serves MODEL."""
    address, model = sys.argv[1:]
    base = f"http://{address}"
    if model == "table":
        table(base)
        return
    pages(base)
    numbers(base)
    errors(base)
    batch(address)


def sent(url: str, request: InferenceRequest | None = None) -> tuple[int, Any]:
    """Return status and content; the packages of MLServer have no plain HTTP client."""
    body = None if request is None else request.model_dump_json(exclude_none=True).encode()
    headers = {"content-type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers), timeout=10
        ) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def ask(base: str, model: str, request: InferenceRequest) -> InferenceResponse:
    status, content = sent(f"{base}/v2/models/{model}/infer", request)
    assert status == 200, content
    return InferenceResponse.model_validate(content)


def pages(base: str) -> None:
    MetadataServerResponse.model_validate(sent(f"{base}/v2")[1])
    described = MetadataModelResponse.model_validate(sent(f"{base}/v2/models/vector")[1])
    assert [one.name for one in described.inputs or []] == ["input-1"]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/vector/ready"):
        assert sent(base + path)[0] == 200
    print("mlserver: pages of the protocol")


def numbers(base: str) -> None:
    rows = np.linspace(-2, 2, 20).reshape(5, 4)
    found = ask(base, "vector", NumpyRequestCodec.encode_request(rows))
    outputs = {one.name: NumpyCodec.decode_output(one) for one in found.outputs}
    assert outputs["class"].shape[0] == 5
    assert outputs["probabilities"].shape == (5, 2)
    assert np.allclose(outputs["probabilities"].sum(axis=1), 1)
    request = NumpyRequestCodec.encode_request(rows.astype(np.float32))
    request.outputs = [RequestOutput(name="class")]
    request.id = "a-1"
    found = ask(base, "vector", request)
    assert (found.id, [one.name for one in found.outputs]) == ("a-1", ["class"])
    print("mlserver: NumpyRequestCodec there and NumpyCodec back")


def table(base: str) -> None:
    request = InferenceRequest(
        inputs=[
            NumpyCodec.encode_input("size", np.array([[0.5], [2.0]])),
            StringCodec.encode_input("colour", ["red", "blue"], use_bytes=False),
        ]
    )
    named = {one.name: one for one in ask(base, "table", request).outputs}
    assert StringCodec.decode_output(named["class"]) == ["small", "large"]
    print("mlserver: a table by NumpyCodec and StringCodec, StringCodec back")


def errors(base: str) -> None:
    request = NumpyRequestCodec.encode_request(np.zeros((1, 5)))
    status, content = sent(f"{base}/v2/models/vector/infer", request)
    assert status == 400
    assert "shape" in str(InferenceErrorResponse.model_validate(content).error)
    print("mlserver: its error object")


def batch(address: str) -> None:
    """`mlserver infer` reads requests from a file and writes the answers to another."""
    with tempfile.TemporaryDirectory() as name:
        given, answers = Path(name) / "in.jsonl", Path(name) / "out.jsonl"
        rows = np.linspace(-2, 2, 400).reshape(100, 4)
        requests = [NumpyRequestCodec.encode_request(row.reshape(1, 4)) for row in rows]
        lines = [one.model_dump_json(exclude_none=True) for one in requests]
        given.write_text("\n".join(lines) + "\n")
        program = Path(sys.executable).parent / "mlserver"
        command: list[str | Path] = [program, "infer", "-u", address, "-m", "vector", "-s", "8"]
        command += ["-i", given, "-o", answers]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        found = [
            InferenceResponse.model_validate_json(line) for line in answers.read_text().splitlines()
        ]
        assert len(found) == 100
        assert all(one.outputs[0].shape[0] == 1 for one in found)
    print("mlserver: `mlserver infer` over 100 requests in batches of 8")


main()
