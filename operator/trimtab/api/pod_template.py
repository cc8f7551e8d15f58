"""The merge patch on the pod template: what the operator itself reads of it has its type.

All other fields are free: the API server judges them when the workload is applied. One schema is
both in the CustomResourceDefinition and what is checked here, since objects may have been stored
before it. Null removes a field (RFC 7386), but for those that a pod cannot be without: there the
API server drops it, and what was stored with it is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

Schema = dict[str, Any]

_TYPES = {
    "object": (dict, "an object", "maxProperties"),
    "array": (list, "a list", "maxItems"),
    "string": (str, "a string", "maxLength"),
}
"""By the type of a schema: what it is here, in words, and the name of its bound."""
_WORDS: dict[type, str] = {
    **{kind: words for kind, words, _ in _TYPES.values()},
    bool: "a boolean",
    type(None): "null",
}


def _free(description: str = "", /, **properties: Schema) -> Schema:
    """Return the schema of an object of which only these fields are looked at."""
    described = {"description": description} if description else {}
    return {
        "type": "object",
        "maxProperties": 64,
        "x-kubernetes-preserve-unknown-fields": True,
        **described,
        "properties": properties,
    }


def _text(description: str, most: int) -> Schema:
    return {"type": "string", "maxLength": most, "description": description}


def _texts(description: str, most: int, longest: int) -> Schema:
    return {
        "type": "object",
        "maxProperties": most,
        "description": description,
        "additionalProperties": _nullable({"type": "string", "maxLength": longest}),
    }


def _list(description: str, most: int, item: Schema) -> Schema:
    return {"type": "array", "maxItems": most, "description": description, "items": item}


def _nullable(schema: Schema) -> Schema:
    return {**schema, "nullable": True}


_CONTAINER = _free(
    name=_text("Name of the container; model is the one that serves.", 253),
    image=_nullable(_text("Image of the container.", 1024)),
    env=_nullable(
        _list("Variables, merged by name.", 1024, _free(name=_text("Name of the variable.", 1024)))
    ),
    volumeMounts=_nullable(
        _list(
            "Mounts, merged by mountPath.",
            256,
            _free(
                mountPath=_text("Where the volume is mounted.", 4096),
                name=_text("Name of the volume.", 253),
            ),
        )
    ),
)
_PATCH = _free(
    metadata=_nullable(
        _free(
            "Labels and annotations of the pods.",
            labels=_nullable(_texts("Labels of the pods, beside those of the operator.", 64, 63)),
            annotations=_nullable(_texts("Annotations of the pods.", 256, 262_144)),
        )
    ),
    spec=_free(
        "Fields of the pod.",
        containers=_list("Containers, merged by name.", 64, _CONTAINER),
        initContainers=_nullable(_list("Containers that run first.", 64, _CONTAINER)),
        volumes=_nullable(
            _list("Volumes, merged by name.", 256, _free(name=_text("Name of the volume.", 253)))
        ),
    ),
)


def _checked(patch: dict[str, Any]) -> dict[str, Any]:
    """Return the patch; ValueError with the first field that is of another type or too large."""
    for problem in _problems(patch, _PATCH, ""):
        raise ValueError(problem)
    return patch


def _problems(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if value is None and schema.get("nullable"):
        return
    expected, words, bound = _TYPES[schema["type"]]
    if not isinstance(value, expected):
        found = _WORDS.get(type(value), "a number")
        yield f"{path} must be {words} and not {found}"
        return
    most: int = schema[bound]
    if len(value) > most:
        what = "characters" if isinstance(value, str) else "entries"
        yield f"{path or 'it'} must have at most {most} {what}"
    elif isinstance(value, dict):
        others = schema.get("additionalProperties")
        for name, inner in value.items():
            of_field = schema.get("properties", {}).get(name, others)
            if of_field is not None:
                yield from _problems(inner, of_field, f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _problems(inner, schema["items"], f"{path}[{index}]")


PodTemplatePatch = Annotated[dict[str, Any], AfterValidator(_checked), WithJsonSchema(_PATCH)]
"""A merge patch on a pod template."""
