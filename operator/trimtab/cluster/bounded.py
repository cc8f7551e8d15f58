"""Answers of the API server, without what is too deep or too large to be anybody's intent.

A tenant may nest a free-form field such as `podTemplate` some ten thousand levels deep, or put half
a million lists into it; the API server takes both. The first ends a parser, and most of what walks
an object after it; the second makes fifty bytes of memory of each of its own. What an object has
too much of becomes a sentence in place of its `spec`, before anything is parsed, and its own object
then reports that as unreadable.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST_LEVELS = 100
"""Of one object. A pod with managedFields has about 20."""
MOST_CONTAINERS = 20_000
"""Lists and maps in one field of an object; the status of a thousand replicas has 2,000."""
MOST_VALUES = 100_000
"""In one field of an object."""
TOO_DEEP = f"it is nested deeper than {MOST_LEVELS} levels"
TOO_LARGE = f"it has more than {MOST_CONTAINERS:,} lists and maps, or {MOST_VALUES:,} values"

_TOKENS = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(?:\{\}|\[\]|,){1,4096}+|[\[\]{}]',
    re.DOTALL,
)
_BEGINNING = re.compile(
    rb'\{"apiVersion":"trimtab\.dev/[^"]{1,20}","kind":"[^"]{1,20}","metadata":\{'
    rb'|\{"metadata":\{"name":"[^"]{1,253}","(?:generateName|namespace)":"'
)
"""Of an object in a list, as the API server writes it: ours, and those that it knows itself."""


OFF_LOOP_BYTES = 256 * 1024
"""What is longer is read in a thread, so that others have their turn."""


async def read_answer(data: bytes) -> Any:
    """Return the JSON of an object, a list of them or a watch event; ValueError if it is none."""
    if len(data) < OFF_LOOP_BYTES:
        return _read(data)[0]
    return (await asyncio.to_thread(_read, data))[0]


async def bounded(line: bytes) -> bytes:
    """Return a line of a watch as it is, or without what is too much of it."""
    if len(line) < OFF_LOOP_BYTES:
        return _bounded(line)
    return await asyncio.to_thread(_bounded, line)


def _bounded(line: bytes) -> bytes:
    if _brackets(line) <= MOST_LEVELS and line.count(b",") <= MOST_VALUES:
        return line
    answer, was_cut = _read(line)
    return json.dumps(answer).encode() if was_cut else line


def _read(data: bytes) -> tuple[Any, bool]:
    """Return the JSON, and whether something was left out of it."""
    if not _may_be_large(data):
        try:
            answer = json.loads(data)
            if _brackets(data) <= MOST_LEVELS or not any(map(_is_too_much, _objects(answer))):
                return answer, False
            del answer
        except RecursionError:
            pass
    kept = _without_excess(data)
    try:
        return json.loads(kept), len(kept) != len(data)
    except RecursionError as error:
        raise ValueError("it is nested too deep to be an object") from error


def _may_be_large(data: bytes) -> bool:
    """Return whether a part of the answer, one object or less, has more than one may have."""
    ends = [match.start() for match in _BEGINNING.finditer(data)]
    for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
        brackets = data.count(b"{", start, end) + data.count(b"[", start, end)
        if brackets > MOST_CONTAINERS or data.count(b",", start, end) > MOST_VALUES:
            return True
    return False


def _brackets(data: bytes) -> int:
    """Return what no depth exceeds."""
    return data.count(b"{") + data.count(b"[")


def _objects(answer: Any) -> list[Any]:
    """Return the objects of an answer: of a list, of a watch event, or itself."""
    if not isinstance(answer, dict):
        return [answer]
    if isinstance(answer.get("items"), list):
        return list(answer["items"])
    return [answer["object"] if "type" in answer and "object" in answer else answer]


def _is_too_much(value: Any) -> bool:
    """Return whether an object is too deep, or so large that a field of it may be."""
    level = [value] if isinstance(value, (dict, list)) else []
    containers = 0
    for _ in range(MOST_LEVELS):
        if not level:
            return False
        containers += len(level)
        if containers > MOST_CONTAINERS:
            return True
        level = [inner for outer in level for inner in _containers(outer)]
    return bool(level)


def _containers(value: Any) -> Iterator[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return (entry for entry in inner if isinstance(entry, (dict, list)))


@dataclass
class _Field:
    """A field of an object whose value is a list or a map; of `metadata`, one of its fields."""

    name: bytes
    start: int
    depth: int
    deepest: int
    containers: int = 1
    values: int = 1

    def excess(self, of_object: int) -> str | None:
        """Return what there is too much of, or None; `of_object`: the depth of the object."""
        if self.deepest - of_object + 1 > MOST_LEVELS:
            return TOO_DEEP
        if self.containers > MOST_CONTAINERS or self.values > MOST_VALUES:
            return TOO_LARGE
        return None


def _without_excess(data: bytes) -> bytes:
    """Return the JSON with a sentence, or nothing, in place of each field that is too much."""
    kept: list[bytes] = []
    begin = 0
    for field, end, why in _excessive_fields(data):
        kept += [data[begin : field.start], _in_place_of(field, data, why)]
        begin = end
    return b"".join([*kept, data[begin:]])


def _in_place_of(field: _Field, data: bytes, why: str) -> bytes:
    if field.name == b'"spec"':
        return json.dumps(why).encode()
    return b"[]" if data[field.start : field.start + 1] == b"[" else b"{}"


def _excessive_fields(data: bytes) -> Iterator[tuple[_Field, int, str]]:
    """Yield the fields of objects that are too much, where they end, and why."""
    depth, of_object = 0, 1
    name = b""
    has_type = in_metadata = False
    field: _Field | None = None
    for token in _TOKENS.finditer(data):
        text = token[0]
        if text in _CLOSING:
            depth -= 1
            in_metadata = in_metadata and depth > of_object
            if field is not None and depth < field.depth:
                why = field.excess(of_object)
                if why is not None:
                    yield field, token.end(), why
                field = None
        elif text in _OPENING:
            depth += 1
            if field is not None:
                field.containers += 1
                field.deepest = max(field.deepest, depth)
            elif depth == 2 and name in _WRAPPED and (has_type or text == b"["):
                of_object = _WRAPPED[name]
            elif depth == of_object + 1 and name == b'"metadata"':
                in_metadata = True
            elif depth == of_object + (2 if in_metadata else 1):
                field = _Field(name, token.start(), depth, depth)
        elif text[0] == _QUOTE:
            name = text
            has_type = has_type or (depth == 1 and text == b'"type"')
        elif field is not None:
            field.containers += text.count(b"{") + text.count(b"[")
            field.values += text.count(b",")


_QUOTE = ord('"')
_OPENING, _CLOSING = frozenset({b"[", b"{"}), frozenset({b"]", b"}"})
_WRAPPED = {b'"items"': 3, b'"object"': 2}
"""At which depth objects begin: in a list, and in an event of a watch."""
