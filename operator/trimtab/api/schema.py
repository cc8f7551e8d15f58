"""From pydantic's JSON schema to the structural OpenAPI v3 schema of a CustomResourceDefinition.

Structural means: one type per node, no references, no unions, and every list, map and string with
a bound, which is also what keeps CEL rules within their cost
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/).
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from trimtab.api.fields import format_duration, format_share

Schema = dict[str, Any]

UNSEEN = {"observedGeneration": 0}
"""Status of an object that no operator has looked at."""

_TESTED = re.compile(r"has\(self\.(\w+)\)")
_SCALARS = (str, int, float, bool)
_DROPPED = ("title", "default", "$defs", "const", "anyOf", "$ref")
_CHILDREN = ("properties", "items", "additionalProperties")


class _DurationsAsText(GenerateJsonSchema):
    """Pydantic's generator, with the defaults of durations in our notation."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def structural_schema(model: type[BaseModel]) -> Schema:
    """Return the schema of a kind: `spec` with defaults, `status` with one, no `metadata`.

    An object that no operator has seen has `observedGeneration: 0` and nothing else, so that tools
    which compare it with the generation know that it is not done (kstatus takes an object without
    status for current).

    Raises ValueError where the model uses what a structural schema cannot express.
    """
    source = model.model_json_schema(by_alias=True, schema_generator=_DurationsAsText)
    definitions = source.get("$defs", {})
    properties = source["properties"]
    root = _converted(
        {**source, "properties": {"spec": properties["spec"]}, "required": ["spec"]},
        definitions,
        defaults=True,
    )
    status = _converted(properties["status"], definitions, defaults=False)
    if "observedGeneration" in status["properties"]:
        status["default"] = UNSEEN
    return {**root, "properties": {**root["properties"], "status": _with_whole_maps(status)}}


def _with_whole_maps(status: Schema) -> Schema:
    """Make maps of free keys one value each: a status is applied whole by one manager.

    Merged key by key, a map from which server-side apply removes the last key becomes null, which
    the schema refuses, and with it every later status.
    """
    for _, node in fields_of(status):
        if "additionalProperties" in node or "x-kubernetes-preserve-unknown-fields" in node:
            node["x-kubernetes-map-type"] = "atomic"
    return status


def _converted(node: Schema, definitions: dict[str, Schema], *, defaults: bool) -> Schema:
    node = _resolved(node, definitions)
    result = {key: value for key, value in node.items() if key not in (*_DROPPED, *_CHILDREN)}
    if "const" in node:
        result["enum"] = [node["const"]]
    if "exclusiveMinimum" in node:
        result.update(minimum=node["exclusiveMinimum"], exclusiveMinimum=True)
    if node.get("type") == "integer":
        result["format"] = "int64"
    if "description" in node:
        result["description"] = " ".join(node["description"].split())
    if defaults and isinstance(node.get("default"), _SCALARS):
        result["default"] = _default(node)
    if "properties" in node:
        result["properties"] = {
            name: _converted(child, definitions, defaults=defaults)
            for name, child in node["properties"].items()
        }
        for name in _tested_fields(node):
            result["properties"].get(name, {}).pop("default", None)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            result[key] = _converted(node[key], definitions, defaults=defaults)
    return dict(sorted(result.items(), key=lambda entry: entry[0] in _CHILDREN))


def _resolved(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Return `node` without reference and without `or null`; its own keywords win."""
    target: Schema = {}
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
    elif "anyOf" in node:
        choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        if len(choices) != 1:
            raise ValueError(f"a field has one type, not {len(choices)}: {node}")
        target = choices[0]
    if not target:
        if "type" not in node:
            raise ValueError(f"a field needs a type: {node}")
        return node
    own = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    return _resolved({**target, **own}, definitions)


def _default(node: Schema) -> object:
    """Return the default as a user would write it; a share is a float in pydantic's schema."""
    value = node["default"]
    return format_share(value) if node["type"] == "string" and type(value) is float else value


def _tested_fields(node: Schema) -> set[str]:
    """Return the fields that a rule asks for with `has`, which a default would make always true."""
    found = {
        name
        for rule in node.get("x-kubernetes-validations", ())
        for name in _TESTED.findall(rule["rule"])
    }
    return {name.removeprefix("__").removesuffix("__") for name in found}


def fields_of(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every field with its path, such as `.spec.rollout.steps[].weight`, parents first."""
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from fields_of(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from fields_of(schema[key], path + mark)


def unbounded(schema: Schema, path: str = "") -> Iterator[str]:
    """Yield the paths of lists, maps and strings that may grow without limit."""
    kind = schema["type"]
    bound = {"string": "maxLength", "array": "maxItems"}.get(kind)
    if "additionalProperties" in schema or "x-kubernetes-preserve-unknown-fields" in schema:
        bound = "maxProperties"
    if bound is not None and bound not in schema and "enum" not in schema:
        yield path
    for name, child in schema.get("properties", {}).items():
        yield from unbounded(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from unbounded(schema[key], path + mark)
