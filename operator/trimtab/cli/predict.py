"""`trimtab predict`: the rows of a file, predicted by a running model."""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO
from urllib.parse import urlsplit

from trimtab.cli.endpoint import Endpoint, Model, NotAnswered, RefusedByServer, Tensor
from trimtab.cli.interrupts import end_at_once
from trimtab.cli.rows import Row, RowsBroken, column_names, form_of, read_rows
from trimtab.contract.metrics import INFERENCE_PORT
from trimtab.errors import TrimtabError, plain, shown

WRONG_INPUT: Final = 2
BATCH_ROWS: Final = 256
BATCH_ELEMENTS: Final = 65_536
BATCH_CHARACTERS: Final = 1 << 20
"""A request has at most so many rows, values and characters of text, but always one row."""
_TOO_LARGE: Final = 413
_ELEMENT: Final = re.compile(r"inputs\[(\d+)\]\.data\[(\d+)\]: (.*)", re.DOTALL)
_VALUE: Final = "the model was not fitted on such a value"
"""Trimtab's own word for a row that the model refuses: which one, halves of the rows tell."""
_FORMS: Final = ("csv", "jsonl")


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    one.add_argument(
        "url",
        type=_url,
        metavar="URL",
        help=f"URL of the server, such as http://localhost:{INFERENCE_PORT}, or of one of its "
        "models: .../v2/models/NAME",
    )
    one.add_argument(
        "rows",
        type=Path,
        metavar="FILE",
        help="CSV with a column for each input (x[0], x[1], ... of a longer one), or JSON lines "
        "with an object in each; also with .gz behind; - reads the standard input",
    )
    one.add_argument(
        "--format", choices=_FORMS, help="form of the file (default: what its name says)"
    )
    one.add_argument(
        "--probabilities", action="store_true", help="print the probabilities of the classes, too"
    )
    one.add_argument(
        "--output",
        choices=("csv", "json"),
        default="csv",
        help="form of the predictions; json: an object in each line",
    )
    one.add_argument(
        "-o", dest="file", type=Path, metavar="FILE", help="write them there, once all are known"
    )
    one.set_defaults(run=run_predict)


async def run_predict(options: argparse.Namespace) -> int:
    """Print a prediction for each row; 0 all, 1 not to be had, 2 the file is wrong."""
    end_at_once()
    endpoint = Endpoint(options.url)
    try:
        form = form_of(options.rows, options.format)
        model = endpoint.model()
        rows = read_rows(options.rows, form, model.inputs)
        answers = predictions(endpoint, model, rows, options.rows, options.probabilities)
        write = _as_csv if options.output == "csv" else _as_json
        if options.file is None:
            count = write(model, answers, sys.stdout)
        else:
            count = _into(options.file, lambda file: write(model, answers, file))
        if not count:
            raise RowsBroken(f"{options.rows}: there are no rows")
    except RowsBroken as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        return WRONG_INPUT
    finally:
        endpoint.close()
    return 0


Answer = list[tuple[Tensor, list[Any]]]
"""The outputs for some rows, each with its values, row by row."""


def predictions(
    endpoint: Endpoint, model: Model, rows: Iterable[Row], place: Path, probabilities: bool
) -> Iterator[tuple[int, Answer]]:
    """Yield the number of rows and the outputs for each batch, in the order of the rows.

    Raise RowsBroken where the server does not take a row, and what `Endpoint` raises.
    """
    wanted = _Wanted(model, probabilities)
    for batch in batches(rows, sum(one.size for one in model.inputs)):
        yield from _answered(endpoint, wanted, batch, place)


def batches(rows: Iterable[Row], width: int) -> Iterator[list[Row]]:
    """Yield the rows in lists of bounded size; width: values of a row."""
    most = min(BATCH_ROWS, max(1, BATCH_ELEMENTS // width))
    batch: list[Row] = []
    characters = 0
    for row in rows:
        if batch and (len(batch) >= most or characters + row.characters > BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(row)
        characters += row.characters
    if batch:
        yield batch


class _Wanted:
    """Which outputs are asked for."""

    def __init__(self, model: Model, probabilities: bool) -> None:
        self.model = model
        probable = {one.name for one in model.outputs if _is_probable(one, model)}
        self._names = [
            one.name for one in model.outputs if probabilities or one.name not in probable
        ]
        self._parameters = {"probabilities": True} if probabilities and not probable else {}

    def request(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the infer request for some rows."""
        body: dict[str, Any] = {
            "inputs": [
                {
                    "name": one.name,
                    "datatype": one.datatype,
                    "shape": [len(rows), *one.shape],
                    "data": [value for row in rows for value in row.cells[index]],
                }
                for index, one in enumerate(self.model.inputs)
            ]
        }
        if self._names:
            body["outputs"] = [{"name": name} for name in self._names]
        if self._parameters:
            body["parameters"] = self._parameters
        return body


def _is_probable(one: Tensor, model: Model) -> bool:
    return one.name in model.classes or (
        bool(one.shape) and one.datatype.startswith("FP") and one.name.startswith("probabilit")
    )


def _answered(
    endpoint: Endpoint, wanted: _Wanted, rows: Sequence[Row], place: Path
) -> Iterator[tuple[int, Answer]]:
    try:
        answer = endpoint.infer(wanted.model, wanted.request(rows))
    except RefusedByServer as error:
        is_of_a_row = error.status < 500 and _VALUE in error.message
        if len(rows) > 1 and (error.status == _TOO_LARGE or is_of_a_row):
            half = len(rows) // 2
            yield from _answered(endpoint, wanted, rows[:half], place)
            yield from _answered(endpoint, wanted, rows[half:], place)
            return
        _refused(error, wanted.model, rows, place)
    yield len(rows), _outputs(endpoint, answer, len(rows))


def _refused(error: RefusedByServer, model: Model, rows: Sequence[Row], place: Path) -> NoReturn:
    """Raise an error that names the rows, and row and column where the server named an element."""
    found = _ELEMENT.fullmatch(error.message)
    if found and int(found[1]) < len(model.inputs):
        one = model.inputs[int(found[1])]
        row, element = divmod(int(found[2]), one.size)
        if row < len(rows):
            column = column_names(one)[element]
            raise RowsBroken(
                f"{place}: row {rows[row].number}, column {column!r}: {found[3]}"
            ) from error
    first, last = rows[0].number, rows[-1].number
    which = f"row {first}" if first == last else f"rows {first} to {last}"
    if error.status < 500:
        raise RowsBroken(f"{place}: {which}: {error.message}") from error
    raise TrimtabError(f"{place}: {which}: {error}") from error


def _outputs(endpoint: Endpoint, answer: dict[str, Any], count: int) -> Answer:
    try:
        found: Answer = []
        for item in answer["outputs"]:
            shape = tuple(int(size) for size in item["shape"])
            one = Tensor(str(item["name"]), str(item["datatype"]), shape[1:])
            values = list(item["data"])
            while values and isinstance(values[0], list):
                values = [inner for part in values for inner in part]
            if shape[:1] != (count,) or len(values) != count * one.size:
                raise ValueError(one.name)
            found.append((one, values))
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise NotAnswered(
            f"{endpoint.url}: the answer has no outputs for {count} rows ({plain(error)})"
        ) from error
    if not found:
        raise NotAnswered(f"{endpoint.url}: the answer has no outputs")
    return found


# --- output -------------------------------------------------------------------------------------


def _as_csv(model: Model, answers: Iterable[tuple[int, Answer]], file: TextIO) -> int:
    writer = csv.writer(file, lineterminator="\n")
    done = 0
    for count, answer in answers:
        if not done:
            writer.writerow([name for one, _ in answer for name in _headings(one, model)])
        for row in range(count):
            writer.writerow(
                [
                    _text(value)
                    for one, values in answer
                    for value in values[row * one.size : (row + 1) * one.size]
                ]
            )
        done += count
    return done


def _headings(one: Tensor, model: Model) -> list[str]:
    classes = _classes(one, model)
    return [f"{one.name}[{name}]" for name in classes] if classes else column_names(one)


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def _as_json(model: Model, answers: Iterable[tuple[int, Answer]], file: TextIO) -> int:
    done = 0
    for count, answer in answers:
        for row in range(count):
            line = {
                one.name: _value(one, values[row * one.size : (row + 1) * one.size], model)
                for one, values in answer
            }
            print(json.dumps(line, ensure_ascii=False), file=file)
        done += count
    return done


def _value(one: Tensor, values: list[Any], model: Model) -> Any:
    if not one.shape:
        return values[0]
    classes = _classes(one, model)
    return dict(zip(classes, values, strict=True)) if classes else values


def _classes(one: Tensor, model: Model) -> tuple[str, ...]:
    classes = model.classes.get(one.name, ())
    return classes if len(classes) == one.size else ()


def _into(path: Path, write: Callable[[TextIO], int]) -> int:
    """Write a file that is there whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    with ExitStack() as undo:
        try:
            file = undo.enter_context(part.open("w", encoding="utf-8", newline=""))
        except OSError as error:
            raise RowsBroken(f"{path}: cannot be written: {plain(error)}") from error
        undo.callback(part.unlink, missing_ok=True)
        count = write(file)
        file.flush()
        if count:
            part.replace(path)
    return count


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_usable = is_usable and (parts.port is None or parts.port > 0)
        is_usable = is_usable and text.isascii() and text.isprintable() and " " not in text
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment or parts.username:
        raise argparse.ArgumentTypeError(f"{text!r} is not http://HOST:PORT")
    return text.rstrip("/")
