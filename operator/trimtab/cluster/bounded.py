"""Answers of the API server, without what is nested too deep to be anybody's intent.

A tenant may nest a free-form field such as `podTemplate` as deep as the API server takes it, some
ten thousand levels. The parser, and most of what walks an object after it, gives up before a
thousand, and would end the process on every start. What is deeper than `MOST_LEVELS` becomes a
sentence in place of the whole `spec`, which its own object then reports as unreadable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

MOST_LEVELS = 100
"""Of one answer. A pod with managedFields has about 20."""
TOO_DEEP = f"it is nested deeper than {MOST_LEVELS} levels"

_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_MARK = json.dumps(TOO_DEEP).encode()


def read_answer(data: bytes) -> Any:
    """Return the JSON of an object, a list of them or a watch event; ValueError if it is none."""
    return _read(data)[0]


def shallow(line: bytes) -> bytes:
    """Return a line of a watch as it is, or without what is too deep."""
    if _brackets(line) <= MOST_LEVELS:
        return line
    answer, was_cut = _read(line)
    return json.dumps(answer).encode() if was_cut else line


def _read(data: bytes) -> tuple[Any, bool]:
    """Return the JSON, and whether something was left out of it."""
    try:
        answer = json.loads(data)
        if _brackets(data) <= MOST_LEVELS or not _is_deep(answer):
            return answer, False
    except RecursionError:
        pass
    answer = json.loads(_cut(data))
    for obj in _objects(answer):
        _leave_out_what_was_cut(obj)
    return answer, True


def _brackets(data: bytes) -> int:
    """Return what no depth exceeds."""
    return data.count(b"{") + data.count(b"[")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [inner for outer in level for inner in _containers(outer)]
        if not level:
            return False
    return True


def _containers(value: Any) -> Iterator[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return (entry for entry in inner if isinstance(entry, (dict, list)))


def _cut(data: bytes) -> bytes:
    """Return the JSON with a sentence in place of each value that lies too deep."""
    kept: list[bytes] = []
    depth = begin = 0
    for token in _TOKENS.finditer(data):
        first = data[token.start()]
        if first in b"[{":
            depth += 1
            if depth == MOST_LEVELS + 1:
                kept += [data[begin : token.start()], _MARK]
        elif first in b"]}":
            depth -= 1
            if depth == MOST_LEVELS:
                begin = token.end()
    return b"".join([*kept, data[begin:]])


def _objects(answer: Any) -> list[Any]:
    """Return the objects of an answer: of a list, of a watch event, or itself."""
    if not isinstance(answer, dict):
        return []
    if isinstance(answer.get("items"), list):
        return [item for item in answer["items"] if isinstance(item, dict)]
    inner = answer.get("object")
    return [inner if "type" in answer and isinstance(inner, dict) else answer]


def _leave_out_what_was_cut(obj: dict[str, Any]) -> None:
    if isinstance(obj.get("metadata"), dict):
        # It mirrors the spec, level by level, and nobody here reads it.
        obj["metadata"].pop("managedFields", None)
    for part in ("spec", "status"):
        if part in obj and _is_cut(obj[part]):
            obj[part] = TOO_DEEP if part == "spec" else {}


def _is_cut(value: Any) -> bool:
    level = [value]
    while level:
        if any(TOO_DEEP in (c.values() if isinstance(c, dict) else c) for c in level):
            return True
        level = [inner for outer in level for inner in _containers(outer)]
    return False
