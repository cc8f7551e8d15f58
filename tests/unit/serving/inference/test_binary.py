"""The binary tensor data extension gives what JSON gives, and names what is wrong."""

from __future__ import annotations

import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.unit.serving.loopback import Client, served_as, serving
from tests.unit.serving.stored import KEY, Stored

from trimtab.contract.artifact import Signature, Tensor
from trimtab.contract.token import read_token
from trimtab.serving.errors import RequestInvalid
from trimtab.serving.inference.binary import Tail, read_binary, written
from trimtab.serving.inference.validation import Inputs
from trimtab.serving.settings import ServingSettings

KINDS = {
    "BOOL": "u1",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def packed(datatype: str, values: Any) -> bytes:
    """Written by hand, not by the code under test."""
    if datatype != "BYTES":
        return np.array(np.ravel(values).tolist(), dtype=KINDS[datatype]).tobytes()
    texts = [str(value).encode() for value in np.ravel(values)]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def unpacked(datatype: str, data: bytes) -> list[Any]:
    if datatype != "BYTES":
        return np.frombuffer(data, KINDS[datatype]).tolist()
    found = []
    while data:
        (size,) = struct.unpack("<I", data[:4])
        found.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return found


def behind(name: str, datatype: str, shape: list[int], size: int) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": size},
    }


async def post(
    client: Client, content: Any, tail: bytes = b"", length: str | None = None, path: str = ""
) -> httpx.Response:
    head = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await client.front.post(
        path or "/v2/models/digits/infer",
        content=head + tail,
        headers={
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(head)) if length is None else length,
        },
    )


def parts(answer: httpx.Response) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the JSON of an answer and the data of every output by name."""
    size = int(answer.headers["inference-header-content-length"])
    content, rest = json.loads(answer.content[:size]), answer.content[size:]
    data = {}
    for output in content["outputs"]:
        if "data" in output:
            data[output["name"]] = output["data"]
            continue
        taken = output["parameters"]["binary_data_size"]
        data[output["name"]] = unpacked(output["datatype"], rest[:taken])
        rest = rest[taken:]
    assert rest == b""
    return content, data


def number(datatype: str) -> Any:
    """Values of one datatype, those that fit into others among them."""
    if datatype == "BYTES":
        return some.text(some.characters(codec="utf-8"), max_size=20)
    if datatype == "BOOL":
        return some.booleans()
    if datatype.startswith("FP"):
        return {"FP16": some.floats(width=16), "FP32": some.floats(width=32)}.get(
            datatype, some.floats()
        )
    limits = np.iinfo(KINDS[datatype])
    return some.integers(int(limits.min), int(limits.max)) | some.integers(
        max(int(limits.min), -100), 100
    )


SENT = {
    "FP32": [kind for kind in KINDS if kind != "BOOL"],
    "FP64": [kind for kind in KINDS if kind != "BOOL"],
    "INT32": [kind for kind in KINDS if "INT" in kind],
    "INT64": [kind for kind in KINDS if "INT" in kind],
    "BOOL": ["BOOL"],
    "BYTES": ["BYTES"],
}


@given(some.data())
def test_any_inputs_are_the_same_rows_by_json_and_binary(data: Any) -> None:
    rows = data.draw(some.integers(1, 3))
    kinds = data.draw(some.lists(some.sampled_from(list(SENT)), min_size=1, max_size=4))
    tensors, as_json, mixed, tail = [], [], [], b""
    for index, kind in enumerate(kinds):
        shape = data.draw(some.sampled_from([[], [2], [2, 2]]))
        missing = data.draw(some.booleans()) and kind.startswith("FP")
        tensors.append(
            Tensor(name=f"i{index}", datatype=kind, shape=shape, missing_allowed=missing)
        )
        sent = data.draw(some.sampled_from(SENT[kind]))
        count = rows * int(np.prod(shape))
        values = data.draw(some.lists(number(sent), min_size=count, max_size=count))
        item = {"name": f"i{index}", "datatype": sent, "shape": [rows, *shape]}
        as_json.append(item | {"data": list(values)})
        if data.draw(some.booleans()):
            block = packed(sent, np.array(values, dtype=object))
            mixed.append(item | {"parameters": {"binary_data_size": len(block)}})
            tail += block
        else:
            mixed.append(item | {"data": list(values)})
    inputs = Inputs(Signature(task="regression", inputs=tensors, outputs=[tensors[0]]), 10)
    assert outcome(inputs, mixed, Tail(b"{}" + tail, 2)) == outcome(inputs, as_json, None)


def outcome(inputs: Inputs, content: Any, tail: Tail | None) -> Any:
    try:
        rows = inputs.read(content, tail)
    except RequestInvalid as error:
        # A value that does not fit is named alike; other words differ by what is sent.
        return str(error).partition(":")[0]
    return str(rows.dtype), rows.shape, repr(rows.tolist())


@given(some.sampled_from([*KINDS, "BYTES"]), some.data())
def test_outputs_are_written_as_they_are_read(datatype: str, data: Any) -> None:
    values = data.draw(some.lists(number(datatype), min_size=1, max_size=5))
    kind = object if datatype == "BYTES" else bool if datatype == "BOOL" else KINDS[datatype]
    array = np.array(values, dtype=kind)
    assert written(datatype, array) == packed(datatype, array)


@given(some.binary(max_size=64), some.sampled_from([*KINDS, "BYTES"]), some.integers(1, 4))
def test_any_bytes_are_read_or_refused(block: bytes, sent: str, rows: int) -> None:
    wanted = next(kind for kind, kinds in SENT.items() if sent in kinds)
    tensor = Tensor(name="x", datatype=wanted, shape=[2])
    try:
        found = read_binary("inputs[0]", tensor, sent, rows, memoryview(block))
    except RequestInvalid as error:
        assert str(error).startswith("inputs[0].")  # noqa: PT017 - either is right
    else:
        assert found.shape == (2 * rows,)


async def test_binary_and_json_are_answered_alike(
    settings: ServingSettings, binary: Stored
) -> None:
    rows = binary.rows[:5]
    block = packed("FP64", rows)
    plain = {"name": "x", "datatype": "FP64", "shape": [5, 4], "data": rows.ravel().tolist()}
    item = behind("x", "FP64", [5, 4], len(block))
    as_asked = [
        {"name": "probabilities", "parameters": {"binary_data": True}},
        {"name": "class"},
    ]
    async with serving(settings) as client:
        by_json = (await client.infer([plain])).json()
        back_json = await post(client, {"inputs": [item]}, block)
        both = await post(
            client,
            {"id": "7", "inputs": [item], "parameters": {"binary_data_output": True, "a": 1}},
            block,
        )
        only_back = await client.infer([plain], parameters={"binary_data_output": True})
        mixed = await client.infer([plain], outputs=as_asked)
        exact = await post(
            client, {"inputs": [item]}, block, path="/v2/models/digits/versions/v1/infer"
        )
        counted = await client.metrics()
    wanted = {output["name"]: output["data"] for output in by_json["outputs"]}
    assert {output["name"]: output["data"] for output in back_json.json()["outputs"]} == wanted
    assert back_json.headers["content-type"] == "application/json"
    assert exact.json()["outputs"] == by_json["outputs"]
    content, data = parts(both)
    assert data == wanted
    assert content["id"] == "7"
    assert content["parameters"]["a"] == 1
    assert "binary_data_output" not in content["parameters"]
    assert both.headers["content-type"] == "application/octet-stream"
    token = read_token(content["parameters"]["trimtab_token"], KEY)
    assert token.predicted == tuple(str(value) for value in wanted["class"])
    assert parts(only_back)[1] == wanted
    content, data = parts(mixed)
    assert [output["name"] for output in content["outputs"]] == ["probabilities", "class"]
    assert "data" in content["outputs"][1]
    assert data == wanted
    assert sum(v for k, v in counted.items() if k.startswith("trimtab_score_bin_total")) == 30


async def test_a_table_is_read_from_both(settings: ServingSettings, table: Stored) -> None:
    rows = table.rows[:6]
    colours, members = packed("BYTES", rows[:, 1]), packed("BOOL", rows[:, 2])
    inputs = [
        behind("colour", "BYTES", [6], len(colours)),
        {"name": "z", "datatype": "FP32", "shape": [6], "data": rows[:, 3].tolist()},
        behind("member", "BOOL", [6, 1], len(members)),
        {"name": "age", "datatype": "INT64", "shape": [6], "data": [int(v) for v in rows[:, 0]]},
    ]
    async with serving(served_as(settings, table)) as client:
        answer = await post(
            client,
            {"inputs": inputs, "parameters": {"binary_data_output": True}},
            colours + members,
        )
    assert parts(answer)[1]["class"] == table.estimator.predict(rows).tolist()


async def test_a_body_without_json_is_the_only_input(
    settings: ServingSettings, binary: Stored
) -> None:
    rows = binary.rows[:3]
    async with serving(settings) as client:
        answer = await post(client, b"", packed("FP64", rows))
        odd = await post(client, b"", packed("FP64", rows)[:-1])
        empty = await post(client, b"", b"")
    assert parts(answer)[1]["class"] == binary.estimator.predict(rows).tolist()
    assert (odd.status_code, empty.status_code) == (400, 400)
    assert "95 bytes" in odd.json()["error"]


ITEM = behind("x", "FP64", [1, 4], 32)
BLOCK = packed("FP64", [0.1, 0.2, 0.3, 0.4])
# id: (JSON, tail, header or the right one, what the message names)
BAD: dict[str, tuple[Any, bytes, str | None, str]] = {
    "short": ({"inputs": [ITEM]}, BLOCK[:-1], None, "inputs[0].parameters.binary_data_size: 32"),
    "long": ({"inputs": [ITEM]}, BLOCK + b"x", None, "the body: 1 bytes"),
    "no_tail": ({"inputs": [ITEM]}, b"", None, "inputs[0].parameters.binary_data_size"),
    "size_of_another_type": (
        {"inputs": [behind("x", "FP32", [1, 4], 32)]},
        BLOCK,
        None,
        "inputs[0].parameters.binary_data_size: 32 bytes, 4 elements of FP32 are 16",
    ),
    "size_of_another_shape": (
        {"inputs": [behind("x", "FP64", [2, 4], 32)]},
        BLOCK,
        None,
        "inputs[0].parameters.binary_data_size: 32 bytes, 8 elements of FP64 are 64",
    ),
    "size_negative": ({"inputs": [behind("x", "FP64", [1, 4], -1)]}, BLOCK, None, "whole number"),
    "size_is_bool": ({"inputs": [behind("x", "FP64", [1, 4], True)]}, BLOCK, None, "whole number"),
    "size_is_text": (
        {"inputs": [ITEM | {"parameters": {"binary_data_size": "32"}}]},
        BLOCK,
        None,
        "inputs[0].parameters.binary_data_size: a whole number",
    ),
    "size_huge": ({"inputs": [behind("x", "FP64", [1, 4], 2**62)]}, BLOCK, None, "are left"),
    "both": ({"inputs": [ITEM | {"data": [1, 2, 3, 4]}]}, BLOCK, None, "inputs[0].data"),
    "neither": ({"inputs": [{**ITEM, "parameters": {}}]}, BLOCK, None, "inputs[0].data"),
    "bf16": ({"inputs": [behind("x", "BF16", [1, 4], 8)]}, BLOCK[:8], None, "inputs[0].datatype"),
    "nan": (
        {"inputs": [ITEM]},
        packed("FP64", [1, 2, float("nan"), 4]),
        None,
        "inputs[0].data[2]: NaN",
    ),
    "infinity": (
        {"inputs": [behind("x", "FP16", [1, 4], 8)]},
        packed("FP16", [1, 2, 3, float("inf")]),
        None,
        "inputs[0].data[3]: infinity",
    ),
    "unknown": ({"inputs": [ITEM | {"name": "y"}]}, BLOCK, None, "inputs[0].name"),
    "twice": ({"inputs": [ITEM, ITEM]}, BLOCK * 2, None, "inputs[1].name"),
    "header_too_long": ({"inputs": [ITEM]}, BLOCK, "100000", "inference-header-content-length"),
    "header_cuts_json": ({"inputs": [ITEM]}, BLOCK, "10", "not JSON"),
    "header_text": ({"inputs": [ITEM]}, BLOCK, "ten", "inference-header-content-length"),
    "header_negative": ({"inputs": [ITEM]}, BLOCK, "-1", "inference-header-content-length"),
    "header_huge": ({"inputs": [ITEM]}, BLOCK, "9" * 5000, "inference-header-content-length"),
    "output_flag": (
        {"inputs": [ITEM], "parameters": {"binary_data_output": 1}},
        BLOCK,
        None,
        "parameters.binary_data_output: true or false",
    ),
    "one_output_flag": (
        {"inputs": [ITEM], "outputs": [{"name": "class", "parameters": {"binary_data": "yes"}}]},
        BLOCK,
        None,
        "outputs[0].parameters.binary_data: true or false",
    ),
}


async def test_wrong_binary_data_is_refused_with_the_input_named(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        for name, (content, tail, length, named) in BAD.items():
            answer = await post(client, content, tail, length)
            assert answer.status_code == 400, (name, answer.text)
            assert named in answer.json()["error"], (name, answer.text)
        without = await client.infer([ITEM])
        old = await post(client, {"instances": [[1, 2, 3, 4]]}, path="/v1/models/digits:predict")
        plain = await client.front.post(
            "/v2/models/digits/infer",
            content=b"{}",
            headers={"content-type": "application/octet-stream"},
        )
        good = await post(client, {"inputs": [ITEM]}, BLOCK)
    assert without.status_code == 400
    assert "binary_data_size: the head says nothing" in without.json()["error"]
    assert (old.status_code, plain.status_code, good.status_code) == (415, 400, 200)
    assert plain.json()["error"] == "inputs: is missing"


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (packed("BYTES", ["red"]), "cannot hold"),
        (packed("BYTES", ["red", "blue"])[:-1], "end within element 1"),
        (packed("BYTES", ["red", "blue", "red"]), "2 elements are 15"),
        (struct.pack("<I", 2**32 - 1) + b"red!!", "end within element 0"),
        (packed("BYTES", ["red", "b"])[:-1] + b"\xff", "data[1]: is not UTF-8"),
    ],
    ids=["one", "cut", "three", "length_huge", "not_utf8"],
)
def test_broken_texts_are_refused(block: bytes, named: str) -> None:
    tensor = Tensor(name="colour", datatype="BYTES")
    with pytest.raises(RequestInvalid) as caught:
        read_binary("inputs[0]", tensor, "BYTES", 2, memoryview(block))
    assert named in str(caught.value)
    assert str(caught.value).startswith("inputs[0].")


@pytest.mark.parametrize("block", [b"\x01\x7c", b"\x01\x00\x80\x7f"], ids=["half", "single"])
def test_a_signalling_nan_is_a_missing_value(block: bytes) -> None:
    tensor = Tensor(name="x", datatype="FP64", missing_allowed=True)
    sent = {2: "FP16", 4: "FP32"}[len(block)]
    assert np.isnan(read_binary("inputs[0]", tensor, sent, 1, memoryview(block))).all()


def test_truths_are_zero_or_one() -> None:
    tensor = Tensor(name="member", datatype="BOOL")
    with pytest.raises(RequestInvalid, match=r"inputs\[0\].data\[1\]: a byte of 0 or 1"):
        read_binary("inputs[0]", tensor, "BOOL", 3, memoryview(b"\x01\x02\x00"))
