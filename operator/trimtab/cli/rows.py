"""Rows of a file of CSV or JSON lines, as the values of a model's inputs."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from math import isfinite, isnan
from pathlib import Path
from typing import Any, Final, TextIO

from trimtab.cli.endpoint import Tensor
from trimtab.errors import SpecError, plain

STDIN: Final = Path("-")
LONGEST_CELL: Final = 16 << 20
FORMS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_MISSING: Final = {"", "nan", "na", "n/a", "null", "none"}
"""Of numbers and truths, in any case; in a column of texts only an empty cell is missing."""
_TRUTHS: Final = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_OTHERS: Final = {".parquet": "Parquet", ".xlsx": "Excel", ".xls": "Excel", ".ods": "a sheet"}
_ARRAY: Final = (
    "a JSON array is not read here; write JSON lines: "
    "frame.to_json('rows.jsonl', orient='records', lines=True)"
)
_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
_NAMED: Final = 20


class RowsBroken(SpecError):
    """The file does not hold rows of the model; the message names row and column."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file, counted from 1 without the header; a list of values for each input."""

    number: int
    cells: tuple[list[Any], ...]
    characters: int
    """Of its texts."""


def form_of(path: Path, form: str | None) -> str:
    """Return `csv` or `jsonl`: what was said, or what the name says; CSV on standard input."""
    suffixes = [one.lower() for one in path.suffixes if one.lower() != ".gz"]
    found = form or (FORMS.get(suffixes[-1]) if suffixes else None)
    if found is not None:
        return found
    if path == STDIN:
        return "csv"
    if path.is_dir():
        raise RowsBroken(f"{path}: is a folder; name a file")
    kind = _OTHERS.get(suffixes[-1]) if suffixes else None
    if kind is not None:
        raise RowsBroken(
            f"{path}: {kind} is not read here; write CSV: frame.to_csv('rows.csv', index=False)"
        )
    if suffixes[-1:] == [".json"]:
        raise RowsBroken(f"{path}: {_ARRAY}, or --format jsonl if it has an object in each line")
    raise RowsBroken(f"{path}: is it CSV or JSON lines? say --format csv or --format jsonl")


def read_rows(path: Path, form: str, inputs: Sequence[Tensor]) -> Iterator[Row]:
    """Yield the rows of a file; raise RowsBroken."""
    try:
        with _opened(path) as lines:
            yield from (_of_csv if form == "csv" else _of_json)(path, lines, inputs)
    except (OSError, EOFError) as error:
        raise RowsBroken(f"{path}: cannot be read: {plain(error)}") from error
    except UnicodeDecodeError as error:
        raise RowsBroken(f"{path}: is not UTF-8 text") from error


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path == STDIN:
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8-sig", newline="")
        yield sys.stdin
    elif path.suffix.lower() == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as packed:
            yield packed
    else:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield lines


# --- CSV ----------------------------------------------------------------------------------------


def _of_csv(path: Path, lines: TextIO, inputs: Sequence[Tensor]) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(lines, strict=True)
    number = 0
    try:
        header = next(reader, None)
        if not header:
            raise RowsBroken(f"{path}: is empty; a first line with the names of columns is wanted")
        places = _places(path, header, inputs)
        for cells in reader:
            if not cells:
                continue  # an empty line
            number += 1
            if len(cells) != len(header):
                raise RowsBroken(
                    f"{path}: row {number} has {len(cells)} cells, the header names {len(header)}"
                )
            yield Row(
                number,
                tuple(
                    [_read(path, number, header[at], one, cells[at]) for at in columns]
                    for one, columns in zip(inputs, places, strict=True)
                ),
                sum(map(len, cells)),
            )
    except csv.Error as error:
        raise RowsBroken(f"{path}: line {reader.line_num}: {error}") from error


def _places(path: Path, header: Sequence[str], inputs: Sequence[Tensor]) -> list[list[int]]:
    """Return for each input the places of its elements in a line."""
    names = [name.strip() for name in header]
    counted = Counter(names)
    where = {name: at for at, name in enumerate(names)}
    found = []
    for one in inputs:
        wanted = column_names(one)
        if one.size == 1 and wanted[0] not in where:
            wanted = [one.name] if one.shape else [f"{one.name}[0]"]
        for name in wanted:
            if name not in where:
                first = column_names(one)[0] if one.size == 1 else name
                raise RowsBroken(
                    f"{path}: the column {first!r} is missing; the model takes {_all(inputs)}; "
                    f"the file has {_in_short(names)}{_guess(names)}"
                )
            if counted[name] > 1:
                raise RowsBroken(f"{path}: the column {name!r} is there {counted[name]} times")
        found.append([where[name] for name in wanted])
    return found


def _in_short(names: Sequence[str]) -> str:
    some = ", ".join(repr(name[:40]) for name in names[:_NAMED])
    return some + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")


def _guess(names: Sequence[str]) -> str:
    """Return what may be wrong with a file of these names, if they show it."""
    if len(names) == 1:
        between = next((one for one in _SEPARATORS if one in names[0]), None)
        if between is not None:
            return f": is it separated by {_SEPARATORS[between]}? Commas are wanted"
    if all(not name or _number("FP64", name) is not None for name in names):
        return ": is its first line a row? The names of the columns are wanted there"
    return ""


def column_names(one: Tensor) -> list[str]:
    """Return `x` for a single value, `x[0]`, `x[1]`, ... for a longer input (row-major)."""
    if not one.shape:
        return [one.name]
    return [f"{one.name}[{index}]" for index in range(one.size)]


def _all(inputs: Sequence[Tensor]) -> str:
    names = [
        one.name if one.size == 1 else f"{one.name}[0] to {one.name}[{one.size - 1}]"
        for one in inputs[:_NAMED]
    ]
    more = f" and {len(inputs) - _NAMED:,} more" if len(inputs) > _NAMED else ""
    return ", ".join(names) + more


def _read(path: Path, number: int, column: str, one: Tensor, text: str) -> Any:
    if one.datatype == "BYTES":
        return text or None
    bare = text.strip()
    if bare.lower() in _MISSING:
        return None
    value = _number(one.datatype, bare)
    if value is None:
        wanted = _words(one.datatype)
        raise RowsBroken(
            f"{path}: row {number}, column {column.strip()!r}: {text[:80]!r} is not {wanted}"
        )
    return value


def _number(datatype: str, text: str) -> bool | int | float | None:
    if datatype == "BOOL":
        return _TRUTHS.get(text.lower())
    if "_" in text:
        return None  # Python would read it
    try:
        if not datatype.startswith("FP"):
            try:
                return int(text)
            except ValueError:
                number = float(text)
                return int(number) if number.is_integer() else None
        number = float(text)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _words(datatype: str) -> str:
    if datatype == "BOOL":
        return "true or false"
    return "a finite number" if datatype.startswith("FP") else f"a whole number ({datatype})"


# --- JSON lines ---------------------------------------------------------------------------------


def _of_json(path: Path, lines: TextIO, inputs: Sequence[Tensor]) -> Iterator[Row]:
    number = 0
    while line := lines.readline(LONGEST_CELL + 1):
        if not line.strip():
            continue
        number += 1
        place = f"{path}: row {number}"
        if len(line) > LONGEST_CELL:
            raise RowsBroken(f"{place} has more than {LONGEST_CELL:,} characters")
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            is_array = number == 1 and line.lstrip().startswith("[")
            why = _ARRAY if is_array else f"row {number} is not JSON: {error}"
            raise RowsBroken(f"{path}: {why}") from error
        if not isinstance(content, dict):
            if len(inputs) != 1:
                is_array = isinstance(content, list) and any(
                    isinstance(one, dict) for one in content
                )
                more = f" ({_ARRAY})" if is_array else ""
                raise RowsBroken(f"{place}: an object with {_all(inputs)} is wanted{more}")
            content = {inputs[0].name: content}
        cells = tuple(_of_object(f"{place}, column", content, one) for one in inputs)
        yield Row(number, cells, len(line))


def _of_object(place: str, content: Mapping[str, Any], one: Tensor) -> list[Any]:
    names = column_names(one)
    if one.name in content:
        values = _flat(content[one.name])
    elif all(name in content for name in names):
        values = [content[name] for name in names]
    else:
        raise RowsBroken(f"{place} {one.name!r} is missing")
    if len(values) != one.size:
        raise RowsBroken(f"{place} {one.name!r}: {len(values)} values, the model takes {one.size}")
    for index, value in enumerate(values):
        if not _fits(one.datatype, value):
            wanted = "a string" if one.datatype == "BYTES" else _words(one.datatype)
            shown = json.dumps(value)[:80]
            raise RowsBroken(f"{place} {names[index]!r}: {shown} is not {wanted}")
    return [None if isinstance(value, float) and isnan(value) else value for value in values]


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    found = value
    while any(isinstance(part, list) for part in found):
        found = [inner for part in found for inner in (part if isinstance(part, list) else [part])]
    return found


def _fits(datatype: str, value: Any) -> bool:
    if value is None:
        return True
    if datatype == "BYTES":
        return isinstance(value, str)
    if datatype == "BOOL" or isinstance(value, bool):
        return datatype == "BOOL" and isinstance(value, bool)
    if isinstance(value, float):
        return datatype.startswith("FP") and value not in (float("inf"), float("-inf"))
    return isinstance(value, int)
