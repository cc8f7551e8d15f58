"""The protocol as an OpenAPI document, for `schemathesis`: made from the tests' own table of it.

With what the server offers beside the protocol: its first version, the repository, statistics.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tests.unit.serving.open_inference import CONTENTS, INFER, MODEL, OPERATIONS

_WITHOUT_VERSION: Final = "/versions/${MODEL_VERSION}"
_ANY: Final = {"type": "array", "items": {}}
_MORE: Final[dict[tuple[str, str], dict[str, Any] | None]] = {
    ("/v2/models", "get"): None,
    ("/v2/models/stats", "get"): None,
    (f"{MODEL}/stats", "get"): None,
    (f"{MODEL}/config", "get"): None,
    ("/v2/repository/index", "post"): {
        "type": "object",
        "properties": {"ready": {"type": "boolean"}},
    },
    ("/v2/repository/models/${MODEL_NAME}/load", "post"): {"type": "object"},
    ("/v1/models", "get"): None,
    ("/v1/models/${MODEL_NAME}", "get"): None,
    ("/v1/models/${MODEL_NAME}:predict", "post"): {
        "type": "object",
        "properties": {"instances": _ANY},
        "required": ["instances"],
    },
}


def document(model: str, version: str, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the document for a server with this model; `inputs` as its metadata has them."""
    values = {"MODEL_NAME": model, "MODEL_VERSION": version}
    paths: dict[str, dict[str, Any]] = {}

    def add(path: str, method: str, operation: dict[str, Any]) -> None:
        for one in {path, path.replace(_WITHOUT_VERSION, "")}:
            names = re.findall(r"\$\{(\w+)\}", one)
            told = operation | {
                "parameters": [
                    {
                        "name": name,
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string", "enum": [values[name], "other"]},
                    }
                    for name in names
                ]
            }
            paths.setdefault(one.replace("${", "{"), {})[method] = told

    for (path, method), answers in OPERATIONS.items():
        body = _body(_request(inputs)) if path == INFER else {}
        add(path, method, body | {"responses": {str(code): _said() for code in answers}})
    for (path, method), content in _MORE.items():
        add(path, method, (_body(content) if content else {}) | {"responses": {"200": _said()}})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Open Inference Protocol", "version": "2"},
        "paths": paths,
    }


def _request(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return requests of the protocol, among them such that name this model's own inputs."""
    whole = CONTENTS["request"]
    tensor = whole["properties"]["inputs"]["items"]
    near = [
        tensor | {"properties": tensor["properties"] | {"name": {"const": one["name"]}}}
        for one in inputs
    ]
    good = [
        {
            "type": "object",
            "properties": {
                "name": {"const": one["name"]},
                "datatype": {"const": one["datatype"]},
                "shape": {"const": [1, *one["shape"][1:]]},
                "data": _DATA[one["datatype"] == "BYTES"] | _length(one["shape"][1:]),
            },
            "required": ["name", "datatype", "shape", "data"],
            "additionalProperties": False,
        }
        for one in inputs
    ]
    every = {"prefixItems": good, "minItems": len(good), "maxItems": len(good), "type": "array"}
    some = whole["properties"]["inputs"] | {"items": {"anyOf": [tensor, *near, *good]}}
    return whole | {"properties": whole["properties"] | {"inputs": {"anyOf": [every, some]}}}


_DATA: Final = {
    True: {"type": "array", "items": {"type": "string"}},
    False: {"type": "array", "items": {"type": "number"}},
}


def _length(shape: list[int]) -> dict[str, int]:
    size = 1
    for one in shape:
        size *= one
    return {"minItems": size, "maxItems": size}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": content}}}}


def _said() -> dict[str, Any]:
    return {"description": "as the protocol has it"}
