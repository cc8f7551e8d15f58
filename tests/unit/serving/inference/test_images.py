"""Pictures as tensors: [8,8] a row, by JSON flat and nested, by binary, by KServe v1."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from tests.unit.serving.loopback import Client, served_as, serving
from tests.unit.serving.stored import Stored, store, with_digest

from trimtab.contract.artifact import Baseline, Signature, Tensor
from trimtab.serving.settings import ServingSettings

DIGITS = load_digits()
PICTURES = DIGITS.images[:5]
INFER = "/v2/models/digits/infer"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Ten classes of pictures of 8 by 8 grey values."""
    estimator = LogisticRegression(max_iter=60, tol=1.0).fit(DIGITS.data[:300], DIGITS.target[:300])
    classes = [str(digit) for digit in range(10)]
    signature = Signature(
        task="classification",
        inputs=[
            Tensor(
                name="image", datatype="FP32", shape=[8, 8], minimum=0, maximum=16, watched=False
            )
        ],
        outputs=[
            Tensor(name="class", datatype="INT64"),
            Tensor(name="probabilities", datatype="FP32", shape=[10]),
        ],
        classes=classes,
    )
    baseline = with_digest(Baseline(digest="", n=0, features=[], score_edges=[], score_counts=[0]))
    folder = tmp_path_factory.mktemp("pictures")
    return store(folder, estimator, signature, baseline, DIGITS.data[:5])


def tensor(data: Any, datatype: str = "FP32", shape: Any = (5, 8, 8)) -> dict[str, Any]:
    return {"name": "image", "datatype": datatype, "shape": list(shape), "data": data}


async def binary(client: Client, block: bytes, datatype: str) -> httpx.Response:
    described = {
        "name": "image",
        "datatype": datatype,
        "shape": [5, 8, 8],
        "parameters": {"binary_data_size": len(block)},
    }
    head = json.dumps({"inputs": [described]}).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }
    return await client.front.post(INFER, content=head + block, headers=headers)


async def test_a_picture_may_come_in_any_form(settings: ServingSettings, pictures: Stored) -> None:
    expected = pictures.estimator.predict(DIGITS.data[:5]).tolist()
    grey = PICTURES.astype(np.uint8)
    async with serving(served_as(settings, pictures)) as client:
        page = (await client.front.get("/v2/models/digits")).json()
        answers = [
            await client.infer([tensor(PICTURES.tolist())]),
            await client.infer([tensor(PICTURES.ravel().tolist())]),
            await client.infer([tensor(grey.ravel().tolist(), "UINT8")]),
            await binary(client, PICTURES.astype(np.float32).tobytes(), "FP32"),
            await binary(client, PICTURES.tobytes(), "FP64"),
            await binary(client, grey.tobytes(), "UINT8"),
        ]
        old = await client.front.post(
            "/v1/models/digits:predict", json={"instances": PICTURES.tolist()}
        )
    assert page["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}]
    for place, answer in enumerate(answers):
        assert answer.status_code == 200, (place, answer.text)
        named = {one["name"]: one for one in answer.json()["outputs"]}
        assert named["class"]["data"] == expected, place
        assert named["probabilities"]["shape"] == [5, 10]
    assert old.json()["predictions"] == expected


async def test_a_picture_of_another_shape_is_refused(
    settings: ServingSettings, pictures: Stored
) -> None:
    flat = PICTURES.ravel().tolist()
    wrong = {
        "shape": [
            tensor(flat, shape=(5, 64)),
            tensor(flat, shape=(5, 8, 8, 1)),
            tensor(flat, shape=(5, 1, 8, 8)),
            tensor(flat, shape=(5, 4, 16)),
            tensor(flat, shape=(320,)),
        ],
        "data": [
            tensor(flat[:-1]),
            tensor(PICTURES.reshape(5, 64).tolist()),
            tensor([*flat, 0]),
            tensor(PICTURES[:4].tolist()),
            tensor([[[*row, 0] for row in picture] for picture in PICTURES.tolist()]),
            tensor([300.0, *flat[1:]], "UINT8"),
        ],
    }
    async with serving(served_as(settings, pictures)) as client:
        for field, tensors in wrong.items():
            for place, one in enumerate(tensors):
                answer = await client.infer([one])
                assert answer.status_code == 400, (field, place, answer.text)
                assert f"inputs[0].{field}" in answer.json()["error"], (field, place)
