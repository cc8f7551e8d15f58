"""What `publish` is told beside rows and truths: where to, and under which names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trimtab.contract.location import Location, open_location
from trimtab.training.errors import CodeBroken

_PART: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
MODEL_NAME: Final = re.compile(f"^{_PART}$")
LONGEST_MODEL_NAME: Final = 40
VERSION_NAME: Final = re.compile(rf"^{_PART}(\.{_PART})*$")
LONGEST_VERSION_NAME: Final = 20
"""What a ModelVersion takes as `spec.model` and `spec.version`."""


@dataclass(frozen=True)
class Destination:
    """The folder to write below, and which version of which model that will be."""

    location: Location
    model: str
    version: str


def destination(uri: Any, credentials: Path | None, model_name: Any, version: Any) -> Destination:
    """Return where to write; nothing is written or contacted yet.

    Raise CodeBroken where no ModelVersion can have these names or the uri is no text, BadLocation
    where nothing can be written there.
    """
    _check_name("model_name", model_name, MODEL_NAME, LONGEST_MODEL_NAME, " and dashes")
    _check_name("version", version, VERSION_NAME, LONGEST_VERSION_NAME, ", dashes and dots")
    if isinstance(uri, Path):
        raise CodeBroken(f"uri is a path; give its URI: {uri.expanduser().absolute().as_uri()!r}")
    _check_text("uri", uri)
    location = open_location(uri, credentials)
    location.require_writable()
    return Destination(location, model_name, version)


def check_input_name(name: Any) -> None:
    """Raise CodeBroken unless an input can be called so, or is not named at all."""
    if name is None:
        return
    _check_text("input_name", name)
    if not name:
        raise CodeBroken("input_name is empty; leave it out, or name the input that is a whole row")


def _check_name(
    argument: str, name: Any, pattern: re.Pattern[str], longest: int, more: str
) -> None:
    _check_text(argument, name)
    if len(name) > longest or not pattern.fullmatch(name):
        raise CodeBroken(
            f"{argument}={name[:80]!r} can be no ModelVersion's: 1 to {longest} small letters, "
            f"digits{more}, with a letter or digit at both ends, are wanted"
        )


def _check_text(argument: str, given: Any) -> None:
    if not isinstance(given, str):
        raise CodeBroken(f"{argument} is {given!r}; a text is wanted")
