"""Bad input gets a 4xx with the error object: a 5xx would be counted against the version."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from functools import partial
from math import prod
from typing import Any, Final

import httpx

from trimtab.conform.container import Container, json_of, shown
from trimtab.conform.rows import Check, Failed, optional, required
from trimtab.conform.tensors import Body

MANY_ROWS: Final = 20_000
_UNKNOWN: Final = "conform-no-such-thing"
Change = Callable[[Body], Body | bytes]


def not_json(_body: Body) -> bytes:
    """Return what is no JSON."""
    return b'{"inputs": [{'


def not_an_object(_body: Body) -> bytes:
    """Return JSON that is no object."""
    return b"[1, 2, 3]"


def without_inputs(body: Body) -> Body:
    """Return the request without any inputs."""
    return {key: value for key, value in body.items() if key != "inputs"}


def without_an_input(body: Body) -> Body:
    """Return the request without its last input."""
    return body | {"inputs": body["inputs"][:-1]}


def with_unknown_input(body: Body) -> Body:
    """Return the request with its first input under another name."""
    return _changed(body, name=_UNKNOWN)


def with_wrong_shape(body: Body) -> Body:
    """Return the request with one dimension too many, though data has as many elements."""
    return _changed(body, shape=[*body["inputs"][0]["shape"], 1, 1])


def with_missing_data(body: Body) -> Body:
    """Return the request with no data for the shape that it states."""
    return _changed(body, data=[])


def with_wrong_datatype(body: Body) -> Body:
    """Return the request with text for numbers, or numbers for text."""
    tensor = body["inputs"][0]
    count = prod(tensor["shape"])
    if tensor.get("datatype") == "BYTES":
        return _changed(body, datatype="FP64", data=[0.5] * count)
    return _changed(body, datatype="BYTES", data=["a"] * count)


def _changed(body: Body, **changes: Any) -> Body:
    changed = copy.deepcopy(body)
    changed["inputs"][0] |= changes
    return changed


async def _refused(container: Container, change: Change) -> str:
    response = await container.infer(change(container.request()))
    return refusal(response)


async def _unknown_model(container: Container) -> str:
    path = f"/v2/models/{_UNKNOWN}/infer"
    return refusal(await container.infer(container.request(), path))


async def _unknown_version(container: Container) -> str:
    path = f"{container.model_path}/versions/{_UNKNOWN}/infer"
    return refusal(await container.infer(container.request(), path))


async def _unknown_path(container: Container) -> str:
    return refusal(await container.front.get(f"/v2/{_UNKNOWN}"))


async def _wrong_method(container: Container) -> str:
    return refusal(await container.front.delete(f"{container.model_path}/infer"))


async def _named_field(container: Container) -> str:
    body = container.request()
    name = str(body["inputs"][0].get("name"))
    for change in (with_wrong_shape, with_wrong_datatype, with_missing_data):
        response = await container.infer(change(body))
        refusal(response)
        if name not in response.text and "inputs[0]" not in response.text:
            raise Failed(shown(response), f"name the field at fault: {name} or inputs[0]")
    return f"{name} or inputs[0] is named"


async def _many_rows(container: Container) -> str:
    body = container.request(MANY_ROWS)
    response = await container.infer(body)
    if response.status_code == 200:
        return f"{MANY_ROWS} rows are answered"
    return f"{MANY_ROWS} rows: {refusal(response)}"


async def _alive(container: Container) -> str:
    await container.answered(container.request())
    return "a good request is answered after them"


def refusal(response: httpx.Response) -> str:
    """Return what was seen; raise Failed unless it is a 4xx with `{"error": text}`."""
    if not 400 <= response.status_code < 500:
        raise Failed(shown(response), "answer 4xx")
    content = json_of(response)
    error = content.get("error") if isinstance(content, dict) else None
    if not isinstance(error, str) or not error:
        raise Failed(shown(response), 'answer with {"error": "what is wrong"}')
    return shown(response)


def _check(name: str, change: Change) -> Check[Container]:
    run: Callable[[Container], Awaitable[str]] = partial(_refused, change=change)
    return required(name, run)


CHECKS: Final[tuple[Check[Container], ...]] = (
    _check("bad JSON", not_json),
    _check("body is no object", not_an_object),
    _check("no inputs", without_inputs),
    _check("missing input", without_an_input),
    _check("unknown input", with_unknown_input),
    _check("wrong shape", with_wrong_shape),
    _check("missing data", with_missing_data),
    _check("wrong datatype", with_wrong_datatype),
    required("unknown model", _unknown_model),
    optional("unknown version", _unknown_version),
    optional("unknown path", _unknown_path),
    optional("wrong method", _wrong_method),
    optional("field at fault is named", _named_field),
    required("many rows", _many_rows),
    required("alive after bad input", _alive),
)
