"""What an infer request asks for, from its head and body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from trimtab.serving.errors import RequestInvalid
from trimtab.serving.http.messages import BYTES, JSON, Request, Response, error_response
from trimtab.serving.inference.binary import HEADER, Tail, raw_content
from trimtab.serving.inference.body_bounds import BodyBounds
from trimtab.serving.inference.coding import CODING, not_understood
from trimtab.serving.inference.outputs import Outputs, Wanted
from trimtab.serving.inference.validation import Inputs, parse_json
from trimtab.serving.model.base import Matrix

MAX_ID_CHARACTERS: Final = 1024
# What the request says about its own transport is not for the answer.
_NOT_ECHOED: Final = "binary_data_output"


class Asked(NamedTuple):
    """The rows of an infer request, and what it wants back."""

    id: str | None
    parameters: dict[str, Any]
    outputs: Sequence[Wanted]
    rows: Matrix


def unreadable(headers: dict[bytes, bytes], *, may_be_binary: bool) -> Response | None:
    """Return the refusal of a body that is neither JSON nor JSON followed by tensors."""
    length = headers.get(HEADER)
    if length is not None and not may_be_binary:
        return error_response(415, f"{HEADER.decode()}: only JSON is understood here")
    if length is not None and not (length.isdigit() and len(length) < 20):
        return error_response(400, f"{HEADER.decode()}: a whole number is wanted")
    kind = headers.get(b"content-type")
    if kind is not None and kind != JSON:
        bare = kind.partition(b";")[0].strip().lower()
        # Triton's client on asyncio says so of plain JSON, too.
        if bare != JSON and not (may_be_binary and bare == BYTES):
            shown = kind[:80].decode("latin-1")
            return error_response(415, f"content-type: {shown!r} is not application/json")
    coding = headers.get(CODING)
    return None if coding is None else not_understood(coding)


def read_infer(request: Request, inputs: Inputs, outputs: Outputs) -> Asked:
    """Return what `request` asks for; raise RequestInvalid."""
    content, tail = _content(request, inputs)
    given_id = content.get("id")
    if given_id is not None and (type(given_id) is not str or len(given_id) > MAX_ID_CHARACTERS):
        raise RequestInvalid(f"id: a string of at most {MAX_ID_CHARACTERS} is wanted")
    parameters = content.get("parameters")
    if parameters is None:
        parameters = {}
    elif type(parameters) is not dict:
        raise RequestInvalid("parameters: an object is wanted")
    wanted = outputs.chosen(content.get("outputs"), parameters)
    if parameters:
        parameters.pop(_NOT_ECHOED, None)
        _check_writable(parameters)
    if "inputs" not in content:
        raise RequestInvalid("inputs: is missing")
    rows = inputs.read(content["inputs"], tail)
    return Asked(given_id, parameters, wanted, rows)


def json_object(body: bytes, bounds: BodyBounds) -> dict[str, Any]:
    """Return the object that a body is; raise RequestInvalid."""
    content = parse_json(body, bounds)
    if type(content) is not dict:
        raise RequestInvalid("the body is not a JSON object")
    return content


def _content(request: Request, inputs: Inputs) -> tuple[dict[str, Any], Tail | None]:
    body = request.body
    length = request.headers.get(HEADER)
    if length is None:
        return json_object(body, inputs.bounds), None
    size = int(length)
    if size > len(body):
        raise RequestInvalid(f"{HEADER.decode()}: {size}, the body has {len(body)} bytes")
    if size == 0:
        return raw_content(inputs.tensors, len(body)), Tail(body, 0)
    return json_object(body[:size], inputs.bounds), Tail(body, size)


def _check_writable(parameters: dict[str, Any]) -> None:
    """Parameters are echoed, so they have to be writable: JSON is read deeper than written."""
    try:
        orjson.dumps(parameters)
    except orjson.JSONEncodeError as error:
        raise RequestInvalid(f"parameters: {error}") from error
