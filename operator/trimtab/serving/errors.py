"""Everything that can go wrong, by what happens next."""

from __future__ import annotations

from trimtab.contract.last_words import ARTIFACT_UNAVAILABLE


class StartRefused(Exception):
    """The container cannot serve: it writes `reason` and message and exits with `exit_code`."""

    exit_code = 3

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SettingsInvalid(StartRefused):
    """An environment variable is missing or not understood."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__("SettingsInvalid", message)


class ArtifactRefused(StartRefused):
    """The artifact is not the one named, or holds what may not be loaded: trying again is vain."""


class ArtifactUnavailable(StartRefused):
    """The store did not give the artifact: trying again may help."""

    exit_code = 4

    def __init__(self, message: str) -> None:
        super().__init__(ARTIFACT_UNAVAILABLE, message)


class WarmUpFailed(StartRefused):
    """The model failed on rows made from its own signature."""

    exit_code = 5

    def __init__(self, message: str) -> None:
        super().__init__("WarmUpFailed", message)


class RequestInvalid(Exception):
    """The request does not fit the protocol or the signature; the message names the field."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ModelFailed(Exception):
    """The model raised, or gave something that is not an answer: counted as 500."""


class ValueUnknown(ModelFailed):
    """A value of the rows is none that the model was fitted on or can take: counted as 400."""
