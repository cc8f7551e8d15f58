"""KServe's own client against our runtime; run by a Python that has KServe."""

from __future__ import annotations

import asyncio
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferOutput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


def numbers(values: np.ndarray, *, binary: bool, outputs: list[str] | None = None) -> InferRequest:
    """Return a request of the protocol's version 2, as KServe's data types make it."""
    tensor = InferInput("input-1", list(values.shape), "FP64")
    tensor.set_data_from_numpy(values, binary_data=binary)
    wanted = [RequestedOutput(name) for name in outputs or []] or None
    return InferRequest("vector", [tensor], request_id="a-1", request_outputs=wanted)


async def refusal(
    client: InferenceRESTClient, base: str, request: InferRequest
) -> httpx.HTTPStatusError | None:
    """Return what the client makes of a refused request, or nothing where it is answered."""
    try:
        await client.infer(base, request, model_name="vector")
    except httpx.HTTPStatusError as error:
        return error
    return None


async def main() -> None:
    """Ask the server at ADDRESS (host:port)."""
    base = f"http://{sys.argv[1]}"
    rows = np.linspace(-2, 2, 20).reshape(5, 4)
    two = InferenceRESTClient(RESTConfig(protocol="v2", timeout=10))
    assert await two.is_server_live(base)
    assert await two.is_server_ready(base)
    assert await two.is_model_ready(base, "vector")
    print("kserve: live, ready, model ready")
    answers: list[list[InferOutput]] = []
    for binary in (False, True):
        found = await two.infer(base, numbers(rows, binary=binary), model_name="vector")
        assert found.id == "a-1"
        answers.append(found.outputs)
    for plain, packed in zip(*answers, strict=True):
        assert plain.name == packed.name
        assert np.array_equal(plain.as_numpy(), packed.as_numpy())
    chosen = await two.infer(
        base, numbers(rows, binary=False, outputs=["class"]), model_name="vector"
    )
    assert [one.name for one in chosen.outputs] == ["class"]
    print("kserve: infer by JSON and by binary tensors, outputs by name")
    refused = await refusal(two, base, numbers(rows[:, :3], binary=False))
    assert refused is not None, "a wrong shape was taken"
    assert (refused.response.status_code, "shape" in str(refused)) == (400, True)
    print("kserve: its error names the field")
    one = InferenceRESTClient(RESTConfig(protocol="v1", timeout=10))
    assert await one.is_model_ready(base, "vector")
    content = await one.infer(base, {"instances": rows.tolist()}, model_name="vector")
    assert len(content["predictions"]) == 5
    print("kserve: the protocol's version 1")


asyncio.run(main())
