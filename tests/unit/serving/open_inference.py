"""The HTTP half of the Open Inference Protocol, version 2, as a table: operations and contents.

In our own words, after `inference_rest.md` of github.com/kserve/open-inference-protocol. Stricter
than the protocol where it leaves room: a field that it does not name is not sent by us, but for
`parameters` of a model, which MLServer has too.
"""

from __future__ import annotations

from typing import Any, Final

MODEL: Final = "/v2/models/${MODEL_NAME}/versions/${MODEL_VERSION}"
INFER: Final = f"{MODEL}/infer"


def _text(least: int = 0) -> dict[str, Any]:
    return {"type": "string", "minLength": least}


def _list_of(item: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": least}


def _object(wanted: dict[str, Any], allowed: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": wanted | (allowed or {}),
        "required": list(wanted),
        "additionalProperties": False,
    }


_DATATYPE: Final = {
    "enum": [
        "BOOL", "BYTES", "FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64",
        "UINT8", "UINT16", "UINT32", "UINT64",
    ]
}  # fmt: skip
_ANY_OBJECT: Final = {"type": "object"}
_WHOLE: Final = {"type": "integer", "minimum": 0}
_DESCRIBED: Final = _object(
    {
        "name": _text(1),
        "datatype": _DATATYPE,
        "shape": _list_of({"type": "integer", "minimum": -1}),
    }
)
_DATA: Final = {
    "type": "array",
    "items": {"anyOf": [{"type": ["number", "string", "boolean", "null"]}, {"type": "array"}]},
}
_TENSOR: Final = _object(
    {"name": _text(1), "shape": _list_of(_WHOLE, 1), "datatype": _DATATYPE, "data": _DATA},
    {"parameters": _ANY_OBJECT},
)

CONTENTS: Final[dict[str, dict[str, Any]]] = {
    "error": _object({"error": _text(1)}),
    "server": _object({"name": _text(1), "version": _text(1), "extensions": _list_of(_text(1))}),
    "model": _object(
        {"name": _text(1), "platform": _text(1)},
        {
            "versions": _list_of(_text(1)),
            "inputs": _list_of(_DESCRIBED, 1),
            "outputs": _list_of(_DESCRIBED, 1),
            "properties": {"type": "object", "additionalProperties": _text()},
            "parameters": _ANY_OBJECT,
        },
    ),
    "request": _object(
        {"inputs": _list_of(_TENSOR, 1)},
        {
            "id": _text(),
            "parameters": _ANY_OBJECT,
            "outputs": _list_of(_object({"name": _text(1)}, {"parameters": _ANY_OBJECT})),
        },
    ),
    "response": _object(
        {"model_name": _text(1), "outputs": _list_of(_TENSOR, 1)},
        {"model_version": _text(1), "id": _text(), "parameters": _ANY_OBJECT},
    ),
}

OPERATIONS: Final[dict[tuple[str, str], dict[int, str]]] = {
    ("/v2/health/live", "get"): {200: ""},
    ("/v2/health/ready", "get"): {200: ""},
    ("/v2/", "get"): {200: "server", 400: "error"},
    (f"{MODEL}/ready", "get"): {200: ""},
    (MODEL, "get"): {200: "model", 404: "error"},
    (INFER, "post"): {200: "response", 400: "error", 404: "error"},
}
"""Path and method: the content of each status; nothing where the protocol leaves it open."""
