"""From JSON tensors to the matrix a model takes; every refusal names the field at fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from typing import Any

import orjson

from trimtab.contract.artifact import Signature, Tensor
from trimtab.contract.rows import joined, row_type
from trimtab.serving.errors import RequestInvalid
from trimtab.serving.inference.binary import Tail, binary_size, read_binary
from trimtab.serving.inference.body_bounds import BodyBounds, bounds_of
from trimtab.serving.inference.elements import (
    Column,
    ElementInvalid,
    may_be_sent,
    read_elements,
    why_no_name,
)
from trimtab.serving.model.base import Matrix


def parse_json(body: bytes, bounds: BodyBounds) -> Any:
    """Return the body's content; NaN and Infinity, which are not JSON, are read as numbers.

    Clients written in Python send them for missing values; validation names the place then. Raises
    RequestInvalid, unread where the body may hold more than `bounds`.
    """
    bounds.check(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise RequestInvalid(f"the body is not JSON: {error}") from error
    try:
        content = json.loads(body.decode())
        orjson.dumps(content)  # what is echoed has to be writable
    except (ValueError, RecursionError, orjson.JSONEncodeError) as error:
        raise RequestInvalid(f"the body is not JSON: {error}") from error
    return content


ReadColumn = Callable[[str, Tensor, int, dict[str, Any], Tail | None], Column]
"""From the place, the tensor that is wanted, the number of rows, and the input as it was sent."""


class Inputs:
    """What a signature asks for.

    keeps_whole: INT64 beside other numbers makes a matrix of objects, in which it is exact.
    """

    def __init__(self, signature: Signature, max_rows: int, *, keeps_whole: bool = False) -> None:
        self._tensors = {tensor.name: tensor for tensor in signature.inputs}
        self._order = [tensor.name for tensor in signature.inputs]
        self.max_rows = max_rows
        self.bounds = bounds_of(signature, max_rows)
        self._type = row_type(signature.inputs, keeps_whole=keeps_whole)
        self.width = sum(prod(tensor.shape) for tensor in signature.inputs)

    @property
    def tensors(self) -> list[Tensor]:
        """The inputs in the order of the model's columns."""
        return list(self._tensors.values())

    def read(
        self, inputs: Any, tail: Tail | None = None, column: ReadColumn | None = None
    ) -> Matrix:
        """Return the rows of `inputs` of an infer request, shape (rows, features).

        `tail` holds the data of inputs that are not in the JSON. `column` reads the data of an
        input where it is not as in JSON.
        """
        read = column or _column
        if type(inputs) is not list or not inputs:
            raise RequestInvalid("inputs: a list of tensors is wanted")
        columns: dict[str, Column] = {}
        rows = 0
        for index, item in enumerate(inputs):
            place = f"inputs[{index}]"
            tensor = self._named(place, item)
            if tensor.name in columns:
                raise RequestInvalid(f"{place}.name: {tensor.name!r} is given twice")
            count = self._row_count(place, tensor, item)
            if index and count != rows:
                raise RequestInvalid(f"{place}.shape: {count} rows, the inputs before have {rows}")
            rows = count
            columns[tensor.name] = read(place, tensor, rows, item, tail)
        if tail is not None:
            tail.finish()
        return self._joined("inputs", columns, rows)

    def read_instances(self, instances: Any) -> Matrix:
        """Return the rows of `instances` of a KServe v1 request."""
        if type(instances) is not list or not instances:
            raise RequestInvalid("instances: a list of rows is wanted")
        rows = len(instances)
        self._check_rows("instances", rows)
        if len(self._order) == 1 and type(instances[0]) is not dict:
            tensor = self._tensors[self._order[0]]
            columns = {
                tensor.name: read_elements("instances", tensor, tensor.datatype, rows, instances)
            }
        else:
            columns = {name: self._cells(instances, name) for name in self._order}
        return self._joined("instances", columns, rows)

    def _cells(self, instances: list[Any], name: str) -> Column:
        tensor = self._tensors[name]
        cells = [self._cell(place, row, name) for place, row in enumerate(instances)]
        try:
            return read_elements(
                f"instances[*].{name}", tensor, tensor.datatype, len(instances), cells
            )
        except ElementInvalid as error:
            raise RequestInvalid(f"{_place_of(error, tensor)}: {error.what}") from error

    def _cell(self, index: int, row: Any, name: str) -> Any:
        if type(row) is dict:
            if name not in row:
                raise RequestInvalid(f"instances[{index}].{name}: is missing")
            if len(row) > len(self._order):
                unknown = next(key for key in row if key not in self._tensors)
                raise RequestInvalid(f"instances[{index}].{unknown}: no such input")
            return row[name]
        if type(row) is list and len(row) == len(self._order):
            return row[self._order.index(name)]
        raise RequestInvalid(
            f"instances[{index}]: an object or a list of {len(self._order)} is wanted"
        )

    def _named(self, place: str, item: Any) -> Tensor:
        if type(item) is not dict:
            raise RequestInvalid(f"{place}: an object is wanted")
        name = item.get("name")
        tensor = self._tensors.get(name) if type(name) is str else None
        if tensor is None:
            inputs = ", ".join(self._order[:20])
            what = why_no_name(name, "an input")
            raise RequestInvalid(f"{place}.name: {what}; there is {inputs}")
        datatype = item.get("datatype")
        if datatype in (None, ""):
            raise RequestInvalid(f"{place}.datatype: is missing; {tensor.datatype} is wanted")
        if datatype != tensor.datatype and (
            type(datatype) is not str or not may_be_sent(datatype, tensor.datatype)
        ):
            raise RequestInvalid(
                f"{place}.datatype: {datatype!r:.80} does not fit, {tensor.datatype} is wanted"
            )
        parameters = item.get("parameters")
        if parameters is not None and type(parameters) is not dict:
            raise RequestInvalid(f"{place}.parameters: an object is wanted")
        return tensor

    def _row_count(self, place: str, tensor: Tensor, item: dict[str, Any]) -> int:
        shape = item.get("shape")
        if type(shape) is not list or not shape or any(type(size) is not int for size in shape):
            raise RequestInvalid(f"{place}.shape: a list of whole numbers is wanted")
        rest = shape[1:]
        if rest != tensor.shape and not (rest == [1] and not tensor.shape):
            wanted = ", ".join(["rows", *map(str, tensor.shape)])
            raise RequestInvalid(f"{place}.shape: {shape[:8]} does not fit, [{wanted}] is wanted")
        rows: int = shape[0]
        self._check_rows(f"{place}.shape", rows)
        return rows

    def _check_rows(self, place: str, rows: int) -> None:
        if rows < 1:
            raise RequestInvalid(f"{place}: at least one row is wanted")
        if rows > self.max_rows:
            raise RequestInvalid(f"{place}: {rows} rows, at most {self.max_rows} are taken", 413)

    def _joined(self, place: str, columns: dict[str, Column], rows: int) -> Matrix:
        if len(columns) < len(self._order):
            missing = next(name for name in self._order if name not in columns)
            raise RequestInvalid(f"{place}: {missing!r} is missing")
        return joined([columns[name] for name in self._order], rows, self.width, self._type)


def _column(
    place: str, tensor: Tensor, rows: int, item: dict[str, Any], tail: Tail | None
) -> Column:
    size = binary_size(place, item)
    if size is not None:
        if tail is None:
            raise RequestInvalid(
                f"{place}.parameters.binary_data_size: the head says nothing of binary data"
            )
        return read_binary(place, tensor, item["datatype"], rows, tail.take(place, size))
    if "data" not in item:
        raise RequestInvalid(f"{place}.data: is missing")
    return read_elements(f"{place}.data", tensor, item["datatype"], rows, item["data"])


def _place_of(error: ElementInvalid, tensor: Tensor) -> str:
    """Return the place of an element of a column by its row."""
    if error.is_part:
        if len(tensor.shape) > 1:  # the depth, and so the row, is not known
            return f"instances[*].{tensor.name}[{error.index}]"
        return f"instances[{error.index}].{tensor.name}"
    row, element = divmod(error.index, prod(tensor.shape))
    return f"instances[{row}].{tensor.name}{f'[{element}]' if tensor.shape else ''}"
