"""What is sent, what has to come back, and the JSON that most of it is made of."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

INFER = "/v2/models/digits/infer"
PREDICT = "/v1/models/digits:predict"

VECTOR = {"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [0.1, 0.2, 0.3, 0.4]}
TABLE: dict[str, tuple[str, Any]] = {
    "age": ("INT64", [30, 40]),
    "colour": ("BYTES", ["red", "blue"]),
    "member": ("BOOL", [True, False]),
    "z": ("FP32", [0.5, 1.5]),
}
WORDS = (b"NaN", b"null", b"[", b"]", b"{}", b'"', b"\\u", b"\xff", b"1e999", b"-", b"\0", b",,")
MAX_BODY_BYTES = 200_000
MAX_ROWS = 64


class Sent(NamedTuple):
    """Bytes for a connection, the status, and words of the error that name the field."""

    wire: bytes
    status: int
    named: str
    table: bool = False  # to the model with a table of four inputs, not to that with one vector


def request(body: bytes, path: str = INFER, method: str = "POST", **headers: str) -> bytes:
    """Return a whole request."""
    lines = {"host": "a", "content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    start = f"{method} {path} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n"
    return start.encode("latin-1") + body


def body(content: Any) -> bytes:
    return json.dumps(content).encode()


def tensor(**changes: Any) -> bytes:
    """Return a body with one tensor; a change to `...` leaves the field out."""
    fields = {key: value for key, value in (VECTOR | changes).items() if value is not ...}
    return body({"inputs": [fields]})


def top(**more: Any) -> bytes:
    """Return a good body with further fields at the top."""
    return body({"inputs": [VECTOR], **more})


def raw(**texts: str) -> bytes:
    """Return a body in which fields of the tensor are written as given, JSON or not."""
    fields = {key: json.dumps(value) for key, value in VECTOR.items()} | texts
    inside = ", ".join(f'"{key}": {text}' for key, text in fields.items())
    return f'{{"inputs": [{{{inside}}}]}}'.encode()


def columns(**changes: tuple[str, Any]) -> bytes:
    """Return a body with the columns of the table; data of None leaves a column out."""
    found = [
        {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}
        for name, (datatype, data) in (TABLE | changes).items()
        if data is not None
    ]
    return body({"inputs": found})


def spoiled(good: bytes, chance: random.Random) -> bytes:
    """Return `good` with one to three bytes cut, doubled, flipped or replaced by a word."""
    found = bytearray(good)
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(found))
        stop = start + chance.choice((0, 1, 1, 4, 40))
        match chance.randrange(4):
            case 0:
                del found[start:stop]
            case 1:
                found[start:start] = found[start:stop]
            case 2:
                found[start] ^= 1 << chance.randrange(8)
            case _:
                found[start:stop] = chance.choice(WORDS)
        if not found:
            return b"{"
    return bytes(found)
