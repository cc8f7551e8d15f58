"""What one training run is asked for: environment from the operator, arguments from the user."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from trimtab.contract.training import (
    TERMINATION_LOG,
    Gate,
    OptionalVariable,
    ReportedCode,
    Variable,
)
from trimtab.training.errors import CodeBroken


@dataclass(frozen=True)
class Settings:
    """One run. Shares are of all rows; what is neither calibrated on nor held out trains."""

    model: str
    version: str
    data_uri: str
    output_uri: str
    since: datetime | None = None
    champion_uri: str = ""
    champion_digest: str = ""
    credentials: Path | None = None
    gate: Gate = field(default_factory=Gate)
    cause: Mapping[str, Any] = field(default_factory=dict)
    estimator: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ("label",)
    counted: str | None = None
    time_column: str | None = None
    inputs: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    task: str | None = None
    calibrate_share: float = 0.2
    held_out_share: float = 0.2
    seed: int = 0
    missing_limit: float = 0.02
    unseen_limit: float = 0.02
    out_of_range_limit: float = 0.02
    max_bytes: int = 4 << 30
    termination_log: Path = Path(TERMINATION_LOG)
    code: ReportedCode | None = None

    @property
    def needs_to_be_better(self) -> bool:
        """Whether the cause is harm: then a version no better than the champion mends nothing."""
        is_harm = self.cause.get("signal") in {"quality", "outcomes"}
        return is_harm or self.gate.must_beat is not None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CodeBroken(f"arguments: {message}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m trimtab.training",
        description="Train, judge and write one version of a model. The operator's part comes from "
        "the environment (TRIMTAB_*).",
    )
    parser.add_argument(
        "--estimator",
        default="",
        help="a class of scikit-learn by dotted path, or module:function that returns an "
        "estimator; default: histogram gradient boosting",
    )
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="VALUE is JSON or text"
    )
    parser.add_argument(
        "--label",
        action="append",
        metavar="COLUMN",
        help="column with the truth (default: label); once for each of several targets",
    )
    parser.add_argument(
        "--counted", metavar="COLUMN", help="of several targets the one that is judged"
    )
    parser.add_argument("--time-column", help="split by time: train on the oldest rows")
    parser.add_argument(
        "--input", action="append", default=[], help="column to learn from; default: all others"
    )
    parser.add_argument(
        "--ignore", action="append", default=[], help="column that is neither input nor label"
    )
    parser.add_argument("--task", choices=["classification", "regression"])
    parser.add_argument("--calibrate", type=float, default=0.2, metavar="SHARE")
    parser.add_argument("--held-out", type=float, default=0.2, metavar="SHARE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--missing-limit", type=float, default=0.02, metavar="SHARE")
    parser.add_argument("--unseen-limit", type=float, default=0.02, metavar="SHARE")
    parser.add_argument("--out-of-range-limit", type=float, default=0.02, metavar="SHARE")
    parser.add_argument("--max-bytes", type=int, default=4 << 30, help="of all data together")
    return parser


def read_settings(environment: Mapping[str, str], arguments: Sequence[str]) -> Settings:
    """Return the settings of this run; raise CodeBroken naming the variable or argument."""
    given = _parser().parse_args(arguments)
    train = 1 - given.calibrate - given.held_out
    if min(given.calibrate, given.held_out, train) <= 0:
        raise CodeBroken("arguments: --calibrate and --held-out must leave rows to train on")
    for name in (Variable.MODEL, Variable.VERSION, Variable.DATA_URI, Variable.OUTPUT_URI):
        if not environment.get(name):
            raise CodeBroken(f"the environment variable {name} is not set")
    champion = environment.get(Variable.CHAMPION_URI, "")
    if bool(champion) != bool(environment.get(Variable.CHAMPION_DIGEST)):
        raise CodeBroken(f"{Variable.CHAMPION_URI} and {Variable.CHAMPION_DIGEST} belong together")
    credentials = environment.get(Variable.CREDENTIALS)
    return Settings(
        model=environment[Variable.MODEL],
        version=environment[Variable.VERSION],
        data_uri=environment[Variable.DATA_URI],
        output_uri=environment[Variable.OUTPUT_URI],
        since=_time(environment.get(Variable.DATA_SINCE, "")),
        champion_uri=champion,
        champion_digest=environment.get(Variable.CHAMPION_DIGEST, ""),
        credentials=Path(credentials) if credentials else None,
        gate=_gate(environment.get(Variable.GATE) or "{}"),
        cause=_object(Variable.CAUSE, environment.get(Variable.CAUSE) or "{}"),
        estimator=given.estimator,
        parameters=dict(_parameter(text) for text in given.param),
        labels=tuple(given.label or ("label",)),
        counted=given.counted,
        time_column=given.time_column,
        inputs=tuple(given.input),
        ignored=tuple(given.ignore),
        task=given.task,
        calibrate_share=given.calibrate,
        held_out_share=given.held_out,
        seed=given.seed,
        missing_limit=given.missing_limit,
        unseen_limit=given.unseen_limit,
        out_of_range_limit=given.out_of_range_limit,
        max_bytes=given.max_bytes,
        code=_code(environment),
        termination_log=termination_log_of(environment),
    )


def termination_log_of(environment: Mapping[str, str]) -> Path:
    """Return where the termination message goes: the kubelet's file, or one named for this run."""
    return Path(environment.get(OptionalVariable.TERMINATION_LOG, TERMINATION_LOG))


def _code(environment: Mapping[str, str]) -> ReportedCode | None:
    """Which code trained, where the image or the job says so."""
    names = {
        "repository": OptionalVariable.CODE_REPOSITORY,
        "revision": OptionalVariable.CODE_REVISION,
        "image": OptionalVariable.CODE_IMAGE,
    }
    told = {part: environment[name] for part, name in names.items() if environment.get(name)}
    try:
        return ReportedCode(**told) if told else None
    except ValidationError as error:
        first = error.errors()[0]
        raise CodeBroken(f"{names[str(first['loc'][0])]}: {first['msg']}") from error


def _parameter(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise CodeBroken(f"arguments: --param {text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise CodeBroken(f"{Variable.DATA_SINCE}: {text!r} is not an RFC 3339 time") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _gate(text: str) -> Gate:
    try:
        return Gate.model_validate(_object(Variable.GATE, text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CodeBroken(f"{Variable.GATE}: {place}: {first['msg']}") from error


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise CodeBroken(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CodeBroken(f"{name} is not a JSON object")
    return value
