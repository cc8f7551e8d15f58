"""Why a stored estimator is not loaded."""

from __future__ import annotations


class ModelRefused(ValueError):
    """The model is not loaded; `reason` is one word, the message says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UnsafeModel(ModelRefused):
    """What the file says would make predict leave its memory or its time: never run it."""

    def __init__(self, message: str) -> None:
        super().__init__("UnsafeModel", message)


class UntrustedTypes(ModelRefused):
    """The file names `types` that are not loaded."""

    def __init__(self, types: list[str]) -> None:
        said = "the model holds types that are not loaded: " + ", ".join(types)
        super().__init__("UntrustedType", said)
        self.types = types


class RowsRefused(ValueError):
    """The rows hold what the estimator cannot be given; the message names column and value."""
