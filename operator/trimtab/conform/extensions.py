"""Binary tensors and KServe v1: not every container has them."""

from __future__ import annotations

import json
import struct
from math import isnan, prod
from typing import Any, Final
from urllib.parse import quote

from trimtab.conform.container import JSON_TYPE, Container, object_of, shown
from trimtab.conform.rows import Check, Failed, Skipped, optional
from trimtab.conform.tensors import Body, flat, packed, rows_of, unpacked, values_of

EXTENSION: Final = "binary_tensor_data"
HEADER: Final = "inference-header-content-length"


async def _binary_request(container: Container) -> str:
    body = _with_extension(container)
    plain = values_of(await container.answered(body))
    response = await _posted(container, *as_binary(body))
    if response.status_code != 200:
        raise Failed(shown(response), "answer binary inputs as the same in JSON")
    if values_of(object_of(response)) != plain:
        raise Failed("other outputs than for the same in JSON", "read little-endian, row-major")
    return "the same outputs as for JSON"


async def _binary_answer(container: Container) -> str:
    body = _with_extension(container)
    plain = values_of(await container.answered(body))
    wanted = body | {"parameters": {"binary_data_output": True}}
    response = await container.infer(wanted)
    if response.status_code != 200:
        raise Failed(shown(response), "answer binary_data_output with 200")
    found = read_binary(response)
    for name, values in found.items():
        if not _same(values, plain.get(name, [])):
            raise Failed(f"{name} is not what JSON gives", "write little-endian, row-major")
    return f"{', '.join(found)} as for JSON"


def _same(values: list[Any], plain: list[Any]) -> bool:
    """Whether values are equal, of numbers up to what a decimal text of 32 bits may lose."""
    if len(values) != len(plain):
        return False
    return all(
        one == other
        or (
            isinstance(one, float)
            and isinstance(other, int | float)
            and abs(one - other) <= 1e-6 * max(1.0, abs(one))
        )
        or (other is None and isinstance(one, float) and isnan(one))
        for one, other in zip(values, plain, strict=True)
    )


def as_binary(body: Body) -> tuple[bytes, int]:
    """Return the same request with its data behind the JSON, and the length of the JSON.

    Raises Skipped where the values cannot be packed.
    """
    inputs, tail = [], b""
    for tensor in body["inputs"]:
        try:
            raw = packed(tensor["datatype"], flat(tensor["data"]))
        except struct.error as error:
            raise Skipped(f"{tensor['name']} cannot be packed: {error}") from error
        parameters = {"binary_data_size": len(raw)}
        plain = {key: value for key, value in tensor.items() if key != "data"}
        inputs.append(plain | {"parameters": parameters})
        tail += raw
    # Outputs in JSON, whatever the server's default for a binary request is.
    head = json.dumps({"parameters": {"binary_data_output": False}} | body | {"inputs": inputs})
    return head.encode() + tail, len(head.encode())


def read_binary(response: Any) -> dict[str, list[Any]]:
    """Return the values of binary outputs by name; raise Failed where the bytes do not fit."""
    length = response.headers.get(HEADER, "")
    if not (length.isascii() and length.isdigit() and 0 < int(length) <= len(response.content)):
        raise Failed(f"{HEADER} is {length!r}", "tell the length of the JSON by this header")
    head, rest = response.content[: int(length)], response.content[int(length) :]
    found: dict[str, list[Any]] = {}
    try:
        for output in json.loads(head)["outputs"]:
            size = output["parameters"]["binary_data_size"]
            raw, rest = rest[:size], rest[size:]
            found[output["name"]] = unpacked(output["datatype"], raw, prod(output["shape"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        do = "give binary_data_size of each output and its bytes in order"
        raise Failed(f"cannot be read: {error!r}"[:160], do) from error
    if rest or not found:
        raise Failed(f"{len(rest)} bytes are left, {len(found)} outputs", "write what is described")
    return found


def _with_extension(container: Container) -> Body:
    if EXTENSION not in container.extensions:
        raise Skipped(f"the server metadata do not list {EXTENSION}")
    return container.request()


async def _posted(container: Container, body: bytes, head: int) -> Any:
    return await container.front.post(
        f"{container.model_path}/infer",
        content=body,
        headers={"content-type": "application/octet-stream", HEADER: str(head)},
    )


async def _v1(container: Container) -> str:
    body = container.request()
    path = f"/v1/models/{quote(container.model, safe='')}:predict"
    instances = as_instances(body)
    response = await container.front.post(
        path, content=json.dumps({"instances": instances}), headers=JSON_TYPE
    )
    if response.status_code != 200:
        raise Failed(shown(response), "answer {instances} with {predictions}")
    predictions = object_of(response).get("predictions")
    if not isinstance(predictions, list) or len(predictions) != len(instances):
        seen = f"predictions is {str(predictions)[:60]} for {len(instances)} instances"
        raise Failed(seen, "answer one prediction an instance")
    return f"{len(predictions)} predictions"


def as_instances(body: Body) -> list[Any]:
    """Return the rows of a request as KServe v1 wants them: plain of one input, else objects."""
    rows = rows_of(body)
    columns = {
        tensor["name"]: _nested(flat(tensor["data"]), [rows, *tensor["shape"][1:]])
        for tensor in body["inputs"]
    }
    if len(columns) == 1:
        return list(next(iter(columns.values())))
    return [{name: values[row] for name, values in columns.items()} for row in range(rows)]


def _nested(data: list[Any], shape: list[int]) -> list[Any]:
    if len(shape) <= 1:
        return data
    size = max(len(data) // max(shape[0], 1), 1)
    return [_nested(data[at : at + size], shape[1:]) for at in range(0, len(data), size)]


CHECKS: Final[tuple[Check[Container], ...]] = (
    optional("binary tensors in", _binary_request),
    optional("binary tensors out", _binary_answer),
    optional("KServe v1 predict", _v1),
)
