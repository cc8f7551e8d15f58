"""Why a training cannot go on: each error knows its exit code."""

from __future__ import annotations

from typing import ClassVar

from trimtab.contract.training import ExitCode


class TrainingError(Exception):
    """The training cannot go on; `exit_code` tells the operator what to do next."""

    exit_code: ClassVar[ExitCode]


class DataBroken(TrainingError):
    """The rows break the contract of the serving version: mend the data; never trained on."""

    exit_code = ExitCode.DATA_BROKEN


class CodeBroken(TrainingError):
    """Estimator, parameters or arguments are wrong: change the job."""

    exit_code = ExitCode.CODE_BROKEN


class InsufficientRows(TrainingError):
    """Nothing is wrong but the number of rows; `needed` would do."""

    exit_code = ExitCode.TOO_FEW_ROWS

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


class Unavailable(TrainingError):
    """The store did not answer: worth another try."""

    exit_code = ExitCode.UNAVAILABLE
