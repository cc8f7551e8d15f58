"""The model repository extension, for a server that has one model: it is told, not changed.

Source: Triton Inference Server, `extension_model_repository.md`; MLServer answers in the same form.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from trimtab.serving.errors import RequestInvalid
from trimtab.serving.inference.body_bounds import BodyBounds
from trimtab.serving.inference.reading import json_object

State = Literal["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]

_BOUNDS: Final = BodyBounds(containers=100, commas=100, names=100)


def index(body: bytes, model: str, version: str, state: State, reason: str) -> list[dict[str, Any]]:
    """Return the entry of the model, or nothing where only ready models are asked for."""
    if _only_ready(body) and state != "READY":
        return []
    return [{"name": model, "version": version, "state": state, "reason": reason}]


def _only_ready(body: bytes) -> bool:
    if not body:
        return False
    ready = json_object(body, _BOUNDS).get("ready", False)
    if type(ready) is not bool:
        raise RequestInvalid("ready: true or false is wanted")
    return ready
