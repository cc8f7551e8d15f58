"""One request as a format makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sent:
    """What is posted; what depends on the destination's secrets is added by who sends it."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    """To be added to the destination's URL where that does not end with it."""


def json_sent(value: Any, *, content_type: str = "application/json", path: str = "") -> Sent:
    """Return a request with this JSON, in ASCII: no receiver has to guess its encoding."""
    body = json.dumps(value, separators=(",", ":"), default=str, allow_nan=False).encode("ascii")
    return Sent(body, {"content-type": content_type}, path)
