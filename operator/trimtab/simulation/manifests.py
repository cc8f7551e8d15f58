"""Manifests from files, for a play without a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import ValidationError

from trimtab.cluster.port import OWN_KINDS, Json
from trimtab.errors import SpecError, plain
from trimtab.simulation.scenario import Scenario

DEEPEST = 100
MOST_VALUES = 500_000
"""Of one document; the largest objects that an API server stores have a few ten thousand."""
SCENARIO_FILE = "simulation.yaml"


class _JsonLoader(yaml.SafeLoader):
    """Reads YAML as kubectl does: a date is a text, y and n are truth values, 1e3 is a number.

    No key may stand twice. Source: sigs.k8s.io/yaml, whose scalars are those of YAML 1.1.
    """

    bool_values: ClassVar[dict[str, bool]] = {**yaml.SafeLoader.bool_values, "y": True, "n": False}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value} stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_TAG = "tag:yaml.org,2002:"
_OTHERWISE = {f"{_TAG}{kind}" for kind in ("bool", "int", "float", "timestamp")}
_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _OTHERWISE]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, _pattern, _first in (
    ("bool", r"(?:[yYnN]|yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE"
     r"|on|On|ON|off|Off|OFF)$", "yYnNtTfFoO"),
    ("int", r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$", "-+0123456789"),
    ("float", r"(?:[-+]?(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
     r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+.0123456789"),
):  # fmt: skip
    _JsonLoader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(_pattern), list(_first))


@dataclass(frozen=True)
class Folder:
    """What was found: manifests of ours by file, in order, and what is to be played."""

    files: dict[str, list[Json]]
    left_out: tuple[str, ...]
    """Objects of other kinds, with their file."""
    scenario: Scenario | None


def read_folder(paths: Iterable[Path], namespace: str) -> Folder:
    """Read folders (their YAML files by name) and files; SpecError says what cannot be read."""
    files: dict[str, list[Json]] = {}
    left_out: list[str] = []
    scenario: Scenario | None = None
    for path in yaml_files(paths):
        documents = documents_of(path)
        if path.name == SCENARIO_FILE:
            scenario = read_scenario(path, documents)
            continue
        own: list[Json] = []
        for document in documents:
            if _is_own(document):
                document["metadata"].setdefault("namespace", namespace)
                own.append(document)
            else:
                left_out.append(f"{path.name}: {_name_of(document)}")
        files[path.name] = files.get(path.name, []) + own
    if not any(files.values()):
        raise SpecError("nothing to simulate: no object of trimtab.dev/v1alpha1 in the files")
    return Folder(files, tuple(left_out), scenario)


def read_scenario(path: Path, documents: Sequence[Json]) -> Scenario:
    """Return the scenario of one file."""
    if len(documents) != 1:
        raise SpecError(f"{path}: one document is expected, there are {len(documents)}")
    try:
        return Scenario.model_validate(documents[0], context={"stored": True})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        is_unknown = first["type"] == "extra_forbidden"
        what = "there is no such field" if is_unknown else first["msg"]
        raise SpecError(f"{path}: {where}: {what}") from error


def yaml_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files, and the YAML files of each folder by name; SpecError for what is not."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(f for f in path.iterdir() if f.suffix in (".yaml", ".yml"))
        elif path.exists():
            found.append(path)
        else:
            raise SpecError(f"{path}: no such file or folder")
    return found


def documents_of(path: Path) -> list[Json]:
    """Return the objects of one YAML file; SpecError if it cannot be read as such."""
    try:
        text = path.read_text()
    except (UnicodeDecodeError, OSError) as error:
        raise SpecError(f"{path}: cannot be read: {plain(error)}") from error
    return documents_in(text, path)


def documents_in(text: str, path: Path) -> list[Json]:
    """Return the objects of YAML; SpecError, which names `path`, if it is none."""
    try:
        documents = list(yaml.load_all(text, _JsonLoader))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number that is none after all
        raise SpecError(f"{path}: cannot be read: {_fault(error)}") from error
    except RecursionError as error:
        raise SpecError(f"{path}: it is nested too deeply to be read") from error
    documents = [one for document in documents for one in _items(document)]
    for document in documents:
        if document is not None and not isinstance(document, dict):
            raise SpecError(f"{path}: a document is not an object")
        _refuse_strange_values(path, document, DEEPEST, [MOST_VALUES])
        for field in ("apiVersion", "kind"):
            if not isinstance((document or {}).get(field, ""), str):
                raise SpecError(f"{path}: {field} must be text")
    return [document for document in documents if document is not None]


def _items(document: object) -> list[Any]:
    """Return the objects of a `kind: List`, as kubectl applies them, or the document itself."""
    if isinstance(document, dict) and (document.get("apiVersion"), document.get("kind")) == (
        "v1", "List",
    ):  # fmt: skip
        items = document.get("items")
        return items if isinstance(items, list) else [document]
    return [document]


def _fault(error: Exception) -> str:
    """Return in one line where YAML is wrong, and how."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}"
    return " ".join(str(getattr(error, "reason", error)).split())


def _refuse_strange_values(path: Path, value: object, deeper: int, room: list[int]) -> None:
    """Raise SpecError for keys that are no text, more than `deeper` levels or `room` values.

    In YAML the words on, off, yes and no are truth values, also as keys; an alias can stand for
    itself, and a few of them for billions of values.
    """
    if deeper == 0:
        raise SpecError(f"{path}: values are nested deeper than {DEEPEST} levels, or in themselves")
    room[0] -= 1
    if room[0] < 0:
        raise SpecError(f"{path}: too many values: above {MOST_VALUES}, aliases counted each time")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise SpecError(f"{path}: YAML reads a key as {key!r}; write it in quotes")
            _refuse_strange_values(path, inner, deeper - 1, room)
    elif isinstance(value, list):
        for inner in value:
            _refuse_strange_values(path, inner, deeper - 1, room)


def _is_own(document: Json) -> bool:
    kind = document.get("apiVersion"), document.get("kind")
    if kind not in {(own.api_version, own.kind) for own in OWN_KINDS}:
        return False
    metadata, spec = document.get("metadata"), document.get("spec")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise SpecError(f"{document['kind']}: metadata.name is missing")
    if not isinstance(spec, dict):
        raise SpecError(f"{document['kind']} {metadata['name']}: spec is missing")
    return True


def _name_of(document: Json) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return f"{document.get('apiVersion', '')} {document.get('kind', 'without kind')} {name}".strip()
