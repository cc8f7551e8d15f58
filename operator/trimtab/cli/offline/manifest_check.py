"""Manifests as the API server would read them: wrong values, and fields that there are not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from trimtab.api.fields import Kind
from trimtab.api.kinds import KINDS
from trimtab.api.schema import Schema, structural_schema
from trimtab.cluster.port import Json
from trimtab.lint.remarks import Remark

MODELS: dict[str, type[Kind]] = {info.kind: info.model for info in KINDS}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_METADATA = {"name", "namespace", "labels", "annotations", "generateName", "finalizers"}
_BY_SERVER = {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}


def read_object(document: Json) -> tuple[Kind | None, list[Remark]]:
    """Return the object, None where it cannot be one, and what is wrong with it.

    document: of our API and a kind of MODELS.
    """
    model = MODELS[document["kind"]]
    remarks = [*_unknown_fields(document), *_bad_name(document)]
    spec_only = {key: value for key, value in document.items() if key != "status"}
    metadata = spec_only.get("metadata")
    if isinstance(metadata, dict):
        spec_only["metadata"] = {"namespace": "default", **metadata}
    try:
        return model.model_validate(spec_only), remarks
    except ValidationError as error:
        return None, [*remarks, *(_refusal(one) for one in error.errors())]


def _bad_name(document: Json) -> Iterator[Remark]:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(name, str) and not _NAME.fullmatch(name):
        message = f"{name!r}: lower case letters, digits, '-' and '.', as the API server demands"
        yield Remark("error", "schema", "metadata.name", message)


def _refusal(error: Any) -> Remark:
    message = str(error["msg"]).removeprefix("Value error, ")
    return Remark("error", "schema", _path(error["loc"]), message)


def _path(location: tuple[str | int, ...]) -> str:
    """Return a path such as `spec.signals[0].floor`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


# --- fields that there are not ------------------------------------------------------------------


@lru_cache(maxsize=len(MODELS))
def _schema(kind: str) -> Schema:
    return structural_schema(MODELS[kind])


def _unknown_fields(document: Json) -> Iterator[Remark]:
    known = {"apiVersion", "kind", "metadata", "spec", "status"}
    for name in document:
        if name not in known:
            yield _unknown(name, name, known)
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        allowed = _METADATA | _BY_SERVER | {"ownerReferences", "selfLink"}
        for name in metadata:
            if name not in allowed:
                yield _unknown(f"metadata.{name}", name, _METADATA)
    schema = _schema(document["kind"])["properties"]["spec"]
    yield from _unknown_below(document.get("spec"), schema, "spec")


def _unknown_below(value: object, schema: Schema, path: str) -> Iterator[Remark]:
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _unknown_below(item, schema["items"], f"{path}[{index}]")
    if not isinstance(value, dict) or "x-kubernetes-preserve-unknown-fields" in schema:
        return
    properties: dict[str, Schema] = schema.get("properties", {})
    anything: Schema | None = schema.get("additionalProperties")
    for name, inner in value.items():
        if name in properties:
            yield from _unknown_below(inner, properties[name], f"{path}.{name}")
        elif anything is not None:
            yield from _unknown_below(inner, anything, f"{path}.{name}")
        elif properties:
            yield _unknown(f"{path}.{name}", name, set(properties))


def _unknown(path: str, name: str, known: set[str]) -> Remark:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"
    return Remark("error", "schema", path, f"there is no such field{hint}"[:300])
