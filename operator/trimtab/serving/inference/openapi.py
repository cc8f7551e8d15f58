"""The OpenAPI document of one model: what may be sent to it, and what it answers.

Only what is true of every request is a constraint here. The range of an input and the categories
that the training knew are said beside it (`x-trained-range`, `x-trained-categories`), since other
values are answered, too. They are those of the signature; nothing of the baseline is told but the
row of the example, which lies in the middle of each feature.

Source: OpenAPI Specification 3.1; JSON Schema 2020-12.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, Final
from urllib.parse import quote

import orjson

from trimtab.contract.artifact import Baseline, Signature, Tensor
from trimtab.serving.inference.examples import example_instance, example_tensors
from trimtab.serving.inference.served import Served

MOST_INPUTS: Final = 200
"""That are described one by one; of more their names are described by patterns."""
MOST_PATTERNS: Final = 20
MOST_CATEGORIES: Final = 50
LONGEST_CATEGORY: Final = 100
LONGEST_CLASSES: Final = 32_768
"""Characters of the names of all classes, which are not named beyond."""
LARGEST_EXAMPLE_BYTES: Final = 256 << 10
_JSON: Final = "application/json"
_DIGITS: Final = re.compile("([0-9]+)")
_SPECIAL: Final = re.compile(r"[\^$\\.*+?()\[\]{}|/]")
_VALUES: Final[dict[str, dict[str, Any]]] = {
    "BOOL": {"type": "boolean"},
    "INT32": {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    "INT64": {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    "FP32": {"type": "number", "format": "float"},
    "FP64": {"type": "number", "format": "double"},
    "BYTES": {"type": "string"},
}
_ERRORS: Final = {
    "400": "The request does not fit the protocol or the signature; the message names the field.",
    "413": "The request is too large.",
    "415": "The body is not JSON.",
    "500": "The model failed.",
    "503": "Too many requests are waiting, or the model is being loaded.",
    "504": "There was no answer in time.",
}

Schema = dict[str, Any]


def document(served: Served) -> bytes:
    """Return the document as JSON; its size is bounded whatever the signature holds."""
    signature, identity = served.signature, served.identity
    model = f"/models/{quote(identity.model, safe='')}"
    exact = f"/v2{model}/versions/{quote(identity.version, safe='')}/infer"
    examples = _examples(signature, served.baseline)
    content = {
        "openapi": "3.1.0",
        "info": {
            "title": identity.model,
            "version": identity.version,
            "description": f"Predictions of {identity.model} {identity.version} by the Open "
            "Inference Protocol (KServe v2) and by KServe v1.",
            "x-digest": identity.digest,
        },
        "paths": {
            f"/v2{model}/infer": {"post": _operation("infer", "Infer", examples)},
            exact: {"post": _operation("inferVersion", "Infer", examples)},
            f"/v1{model}:predict": {"post": _operation("predict", "Predict", examples)},
        },
        "components": {
            "schemas": {
                "InferRequest": _infer_request(signature, served.inputs.max_rows),
                "InferAnswer": _infer_answer(served),
                "PredictRequest": _predict_request(signature, served.inputs.max_rows),
                "PredictAnswer": _predict_answer(signature),
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                },
            },
            "examples": examples,
            "responses": {code: _error(code, text) for code, text in _ERRORS.items()},
        },
    }
    return orjson.dumps(content)


def _operation(name: str, schema: str, examples: Schema) -> Schema:
    body: Schema = {"schema": _ref("schemas", f"{schema}Request")}
    if schema in examples:
        body["examples"] = {"row": _ref("examples", schema)}
    return {
        "operationId": name,
        "summary": "Predict rows" if name != "inferVersion" else "Predict rows with this version",
        "requestBody": {"required": True, "content": {_JSON: body}},
        "responses": {
            "200": {
                "description": "The answers, one for each row.",
                "content": {_JSON: {"schema": _ref("schemas", f"{schema}Answer")}},
            }
        }
        | {code: _ref("responses", code) for code in _ERRORS},
    }


def _error(code: str, text: str) -> Schema:
    found: Schema = {
        "description": text,
        "content": {_JSON: {"schema": _ref("schemas", "Error")}},
    }
    if code == "503":
        found["headers"] = {
            "Retry-After": {
                "description": "Seconds after which to try again.",
                "schema": {"type": "integer"},
            }
        }
    return found


def _examples(signature: Signature, baseline: Baseline) -> Schema:
    """Return a request for each form, unless it is too long to be read by anybody."""
    if sum(prod(one.shape) for one in signature.inputs) > LARGEST_EXAMPLE_BYTES // 2:
        return {}
    requests = {
        "Infer": {"inputs": example_tensors(signature, baseline)},
        "Predict": {"instances": [example_instance(signature, baseline)]},
    }
    return {
        name: {"summary": "One row", "value": request}
        for name, request in requests.items()
        if len(orjson.dumps(request)) <= LARGEST_EXAMPLE_BYTES
    }


# --- requests -----------------------------------------------------------------------------------


def _infer_request(signature: Signature, max_rows: int) -> Schema:
    count = len(signature.inputs)
    outputs = [one.name for one in signature.outputs]
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "maxLength": 1024},
            "inputs": {
                "type": "array",
                "description": "All inputs of the model, each once"
                + (f"; `GET /v2/models/...` lists all {count:,}" if count > MOST_INPUTS else ""),
                "minItems": count,
                "maxItems": count,
                "items": _one_of(_input_kinds(signature.inputs, max_rows)),
            },
            "outputs": {
                "type": "array",
                "description": f"What is wanted back (default: {', '.join(outputs[:20])}).",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}},
                },
            },
            "parameters": {
                "type": "object",
                "properties": {
                    "probabilities": {
                        "type": "boolean",
                        "description": "Add the probabilities of all classes, if there are any.",
                    }
                },
            },
        },
    }


def _input_kinds(tensors: Sequence[Tensor], max_rows: int) -> list[Schema]:
    if len(tensors) <= MOST_INPUTS:
        return [_input({"const": one.name}, one, max_rows) for one in tensors]
    kinds = _by_kind(tensors)
    if len(kinds) > MOST_PATTERNS:
        return [{"type": "object", "required": ["name", "datatype", "shape", "data"]}]
    return [
        _input({"type": "string"} | _patterned(one.name for one in alike), alike[0], max_rows)
        for alike in kinds
    ]


def _input(name: Schema, tensor: Tensor, max_rows: int) -> Schema:
    return {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": name,
            "datatype": {"const": tensor.datatype},
            "shape": _shape(tensor, max_rows),
            "data": {
                "description": "Row by row, flat or nested as the shape says.",
                "anyOf": _data(tensor),
            },
        },
        **(_trained(tensor) if "const" in name else {}),
    }


def _shape(tensor: Tensor, max_rows: int | None) -> Schema:
    rows: Schema = {"type": "integer", "minimum": 1, "description": "Rows."}
    if max_rows is not None:
        rows["maximum"] = max_rows
    sizes = [rows, *({"const": size} for size in tensor.shape)]
    return {
        "type": "array",
        "prefixItems": sizes,
        "minItems": len(sizes),
        "maxItems": len(sizes),
    }


def _data(tensor: Tensor) -> list[Schema]:
    value = _value(tensor)
    flat: Schema = {"type": "array", "minItems": 1, "items": value}
    if not tensor.shape:
        return [flat]
    return [flat, {"type": "array", "minItems": 1, "items": _nested(value, tensor.shape)}]


def _value(tensor: Tensor) -> Schema:
    value = _VALUES[tensor.datatype]
    if tensor.unit is not None:
        value = value | {"description": "A time (ISO 8601); UTC where it says no offset."}
    return value | {"type": [value["type"], "null"]} if tensor.missing_allowed else value


def _nested(value: Schema, shape: Sequence[int]) -> Schema:
    for size in reversed(shape):
        value = {"type": "array", "minItems": size, "maxItems": size, "items": value}
    return value


def _trained(tensor: Tensor) -> Schema:
    """Return what the training saw of an input, as far as the signature says it."""
    told: Schema = {}
    texts = ["A missing value is null." if tensor.missing_allowed else ""]
    limits = {"minimum": tensor.minimum, "maximum": tensor.maximum}
    known = {name: limit for name, limit in limits.items() if limit is not None}
    if known and tensor.unit is None:
        told["x-trained-range"] = known
        said = " and ".join(f"{name} {limit:g}" for name, limit in known.items())
        texts.append(f"Trained on values with {said}; others are answered, and counted apart.")
    if tensor.categories is not None:
        short = [one for one in tensor.categories if len(one) <= LONGEST_CATEGORY]
        told["x-trained-categories"] = short[:MOST_CATEGORIES]
        left = len(tensor.categories) - len(short[:MOST_CATEGORIES])
        more = f", of which {left:,} are not named here" if left else ""
        texts.append(
            f"Trained on {len(tensor.categories):,} categories{more}; others are answered, and "
            "counted apart."
        )
    said = " ".join(filter(None, texts))
    return told | ({"description": said} if said else {})


def _predict_request(signature: Signature, max_rows: int) -> Schema:
    return {
        "type": "object",
        "required": ["instances"],
        "properties": {
            "instances": {
                "type": "array",
                "minItems": 1,
                "maxItems": max_rows,
                "items": _instance(signature.inputs),
            }
        },
    }


def _instance(tensors: Sequence[Tensor]) -> Schema:
    by_name: Schema = {"type": "object", "description": "All inputs by name."}
    if len(tensors) <= MOST_INPUTS:
        by_name["properties"] = {one.name: _cell(one) | _trained(one) for one in tensors}
        by_name["required"] = [one.name for one in tensors]
        by_name["additionalProperties"] = False
    else:
        by_name["minProperties"] = by_name["maxProperties"] = len(tensors)
        kinds = _by_kind(tensors)
        if len(kinds) <= MOST_PATTERNS:
            by_name["patternProperties"] = {
                _patterned(one.name for one in alike).get("pattern", ".*"): _cell(alike[0])
                for alike in kinds
                if len(kinds) == 1 or "pattern" in _patterned(one.name for one in alike)
            }
    if len(tensors) == 1:
        return {"anyOf": [_cell(tensors[0]), by_name]}
    in_order: Schema = {
        "type": "array",
        "description": "All inputs in their order.",
        "minItems": len(tensors),
        "maxItems": len(tensors),
    }
    if len(tensors) <= MOST_INPUTS:
        in_order["prefixItems"] = [_cell(one) for one in tensors]
    return {"anyOf": [by_name, in_order]}


def _cell(tensor: Tensor) -> Schema:
    return _nested(_value(tensor), tensor.shape)


# --- answers ------------------------------------------------------------------------------------


def _infer_answer(served: Served) -> Schema:
    signature, identity = served.signature, served.identity
    return {
        "type": "object",
        "required": ["model_name", "model_version", "outputs", "parameters"],
        "properties": {
            "model_name": {"const": identity.model},
            "model_version": {"const": identity.version},
            "id": {"type": "string"},
            "parameters": _ANSWER_PARAMETERS,
            "outputs": {
                "type": "array",
                "minItems": 1,
                "items": _one_of([_output(one, signature) for one in served.outputs.tensors_known]),
            },
        },
    }


_ANSWER_PARAMETERS: Final = {
    "type": "object",
    "properties": {
        "trimtab_token": {
            "type": "string",
            "description": "To be posted with the truth to /outcomes of the metrics port.",
        },
        "trimtab_token_rows": {
            "type": "integer",
            "description": "How many of the rows, the first ones, the token covers, if not all.",
        },
    },
}


def _output(tensor: Tensor, signature: Signature) -> Schema:
    value = dict(_VALUES[tensor.datatype])
    named = signature.classes
    for target in signature.targets:
        if tensor.name in (target.output, target.probabilities):
            named = target.classes
    is_class = bool(named) and not tensor.shape
    classes = named if sum(map(len, named)) <= LONGEST_CLASSES else []
    if is_class and classes and tensor.datatype == "BYTES":
        value["enum"] = classes
    found: Schema = {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": tensor.name},
            "datatype": {"const": tensor.datatype},
            "shape": _shape(tensor, None),
            "data": {"type": "array", "items": value},
        },
    }
    if classes and tensor.shape == [len(classes)]:
        found["description"] = "One number for each class, in the order of `x-classes`."
        found["x-classes"] = classes
    return found


def _predict_answer(signature: Signature) -> Schema:
    told, item = _prediction(signature)
    return {
        "type": "object",
        "required": ["predictions"],
        "properties": {
            "predictions": {
                "type": "array",
                "description": f"One for each row{told}.",
                "items": item,
            },
            "parameters": _ANSWER_PARAMETERS,
        },
    }


def _prediction(signature: Signature) -> tuple[str, Schema]:
    """Return what one of the predictions is, in words and as a schema."""
    scalars = [one for one in signature.outputs if not one.shape]
    if signature.targets:
        names = {target.output for target in signature.targets}
        scalars = [one for one in scalars if one.name in names]
    elif signature.classes:
        scalars = scalars[:1]
    columns = len(scalars)
    if signature.task == "regression":
        columns = sum(prod(tensor.shape) for tensor in signature.outputs)
        scalars = list(signature.outputs)
    if not scalars:
        return "", {}
    types = sorted({_VALUES[one.datatype]["type"] for one in scalars})
    item: Schema = {"type": types[0] if len(types) == 1 else types}
    if columns == 1:
        return f": the output `{scalars[0].name}`", item
    several = {"type": "array", "minItems": columns, "maxItems": columns, "items": item}
    return ", each of all targets in their order", several


# --- many names ---------------------------------------------------------------------------------


def _by_kind(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    kinds: dict[tuple[str, tuple[int, ...], bool], list[Tensor]] = {}
    for one in tensors:
        kind = one.datatype, tuple(one.shape), one.missing_allowed
        kinds.setdefault(kind, []).append(one)
    return list(kinds.values())


def _patterned(names: Iterable[str]) -> Schema:
    """Return a pattern of names whose digits may be others; nothing where they are too different.

    Only what every dialect of patterns knows is written.
    """
    patterns = {
        "".join(
            "[0-9]+" if _DIGITS.fullmatch(part) else _SPECIAL.sub(r"\\\g<0>", part)
            for part in _DIGITS.split(name)
        )
        for name in names
    }
    if len(patterns) > MOST_PATTERNS:
        return {}
    return {"pattern": f"^(?:{'|'.join(sorted(patterns))})$"}


def _one_of(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _ref(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}
