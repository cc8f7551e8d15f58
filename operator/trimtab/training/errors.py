"""Why a training ends: each error knows its exit code and whose turn it is.

0 accepted · 10 data broken · 11 challenger worse · 12 code · 13 too few rows · 1 infrastructure
"""

from __future__ import annotations

from typing import ClassVar, Final

ACCEPTED_EXIT: Final = 0
REJECTED_EXIT: Final = 11


class TrainingError(Exception):
    """The training cannot go on. `exit_code` and `failure` tell the operator what to do next."""

    exit_code: ClassVar[int]
    failure: ClassVar[str | None]


class DataBroken(TrainingError):
    """The rows break the contract of the serving version: mend the data; never trained on."""

    exit_code = 10
    failure = "data"


class CodeBroken(TrainingError):
    """Estimator, parameters or arguments are wrong: change the job."""

    exit_code = 12
    failure = "code"


class InsufficientRows(TrainingError):
    """Nothing is wrong but the number of rows; `needed` would do."""

    exit_code = 13
    failure = None

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


class Unavailable(TrainingError):
    """The store did not answer: worth another try."""

    exit_code = 1
    failure = "infrastructure"
