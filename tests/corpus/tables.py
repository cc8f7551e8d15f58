"""Requests to a model with a table, and calls of the older protocol."""

from __future__ import annotations

from typing import Any

from tests.corpus.sent import MAX_ROWS, PREDICT, TABLE, Sent, body, columns, request

_NAN = float("nan")

_COLUMNS: dict[str, tuple[dict[str, tuple[str, Any]], str]] = {
    "column_missing": ({"age": ("INT64", None)}, "'age' is missing"),
    "column_last_missing": ({"z": ("FP32", None)}, "'z' is missing"),
    "column_unknown": ({"q": ("FP32", [1, 0])}, "inputs[4].name"),
    "rows_differ": ({"age": ("INT64", [1, 2, 3])}, "inputs[1].shape"),
    "rows_differ_last": ({"z": ("FP32", [1.0])}, "inputs[3].shape"),
    "age_float_type": ({"age": ("FP64", [1.0, 2.0])}, "inputs[0].datatype"),
    "age_text_type": ({"age": ("BYTES", ["1", "2"])}, "inputs[0].datatype"),
    "age_half": ({"age": ("INT64", [1.5, 2.0])}, "inputs[0].data[0]"),
    "age_null": ({"age": ("INT64", [1, None])}, "inputs[0].data[1]: null"),
    "age_nan": ({"age": ("INT64", [1, _NAN])}, "inputs[0].data[1]"),
    "age_beyond": ({"age": ("INT64", [2**63, 1])}, "inputs[0].data[0]"),
    "age_far_beyond": ({"age": ("INT64", [2**64, 1])}, "inputs[0].data[0]"),
    "age_unsigned_beyond": ({"age": ("UINT64", [2**63 + 5, 1])}, "inputs[0].data[0]"),
    "age_unsigned_negative": ({"age": ("UINT8", [-1, 1])}, "inputs[0].data[0]"),
    "age_string": ({"age": ("INT64", ["30", 40])}, "inputs[0].data[0]"),
    "age_true": ({"age": ("INT64", [True, 40])}, "inputs[0].data[0]"),
    "colour_number": ({"colour": ("BYTES", ["red", 3])}, "inputs[1].data[1]"),
    "colour_null": ({"colour": ("BYTES", ["red", None])}, "inputs[1].data[1]: null"),
    "colour_list": ({"colour": ("BYTES", ["red", ["blue"]])}, "inputs[1].data[1]"),
    "colour_nan": ({"colour": ("BYTES", ["red", _NAN])}, "inputs[1].data[1]"),
    "colour_number_type": ({"colour": ("INT64", [1, 2])}, "inputs[1].datatype"),
    "member_numbers": ({"member": ("BOOL", [1, 0])}, "inputs[2].data[0]"),
    "member_string": ({"member": ("BOOL", ["true", False])}, "inputs[2].data[0]"),
    "member_null": ({"member": ("BOOL", [True, None])}, "inputs[2].data[1]: null"),
    "member_number_type": ({"member": ("UINT8", [1, 0])}, "inputs[2].datatype"),
    "z_beyond": ({"z": ("FP32", [1e39, 0])}, "inputs[3].data[0]"),
    "z_beyond_as_double": ({"z": ("FP64", [0, -1e39])}, "inputs[3].data[1]"),
    "z_nan": ({"z": ("FP32", [_NAN, 0])}, "inputs[3].data[0]: NaN"),
    "z_string": ({"z": ("FP32", ["0.5", 0])}, "inputs[3].data[0]"),
}

_SHAPES: dict[str, list[int]] = {"two_columns": [2, 2], "turned": [1, 2], "no_rows": [0]}

_VECTORS: dict[str, tuple[Any, str]] = {
    "nothing": ({}, "instances: is missing"),
    "inputs": ({"inputs": [[1, 2, 3, 4]]}, "instances: is missing"),
    "null": ({"instances": None}, "instances"),
    "empty": ({"instances": []}, "instances"),
    "number": ({"instances": 3}, "instances"),
    "string": ({"instances": "abcd"}, "instances"),
    "object": ({"instances": {"x": [1, 2, 3, 4]}}, "instances"),
    "narrow": ({"instances": [[1, 2, 3]]}, "instances[0]"),
    "wide": ({"instances": [[1, 2, 3, 4, 5]]}, "instances[0]"),
    "flat": ({"instances": [1, 2, 3, 4, 5]}, "instances[0]"),
    "ragged": ({"instances": [[1, 2, 3, 4], [1, 2]]}, "instances[1]"),
    "mixed": ({"instances": [[1, 2, 3, 4], {"x": [1, 2, 3, 4]}]}, "instances[1]"),
    "mixed_other": ({"instances": [{"x": [1, 2, 3, 4]}, [1, 2, 3, 4]]}, "instances[1]"),
    "text": ({"instances": [[1, 2, "3", 4]]}, "instances[2]"),
    "null_within": ({"instances": [[1, None, 3, 4]]}, "instances[1]: null"),
    "nan": ({"instances": [[1, 2, 3, _NAN]]}, "instances[3]: NaN"),
    "null_row": ({"instances": [None]}, "instances"),
    "deeper": ({"instances": [[[1, 2, 3, 4]]]}, "instances[0]"),
    "other_name": ({"instances": [{"y": 1}]}, "instances[0].x: is missing"),
    "further_name": ({"instances": [{"x": [1, 2, 3, 4], "y": 1}]}, "instances[0].y"),
    "element_number": ({"instances": [{"x": 1}]}, "instances"),
}

_ROWS: dict[str, tuple[Any, str]] = {
    "row_number": ([7], "instances[0]"),
    "row_short": ([[30, "red", True]], "instances[0]"),
    "row_null": ([None], "instances[0]"),
    "row_object_short": ([{"age": 30}], "instances[0].colour: is missing"),
    "row_object_wrong": (
        [{"age": 30, "colour": "red", "member": True, "z": "a"}],
        "instances[0].z",
    ),
    "row_second_wrong": (
        [[30, "red", True, 0.5], [30, "red", 1, 0.5]],
        "instances[1].member",
    ),
}


def _all() -> dict[str, Sent]:
    found = {
        f"table_{name}": Sent(request(columns(**changes)), 400, named, table=True)
        for name, (changes, named) in _COLUMNS.items()
    }
    for name, shape in _SHAPES.items():
        inputs = [
            {"name": one, "datatype": datatype, "shape": shape, "data": data}
            for one, (datatype, data) in TABLE.items()
        ]
        sent = request(body({"inputs": inputs}))
        found[f"table_shape_{name}"] = Sent(sent, 400, "inputs[0].shape", table=True)
    for name, (content, named) in _VECTORS.items():
        found[f"v1_{name}"] = Sent(request(body(content), PREDICT), 400, named)
    for name, (rows, named) in _ROWS.items():
        sent = request(body({"instances": rows}), PREDICT)
        found[f"v1_table_{name}"] = Sent(sent, 400, named, table=True)
    many = request(body({"instances": [[1, 2, 3, 4]] * (MAX_ROWS + 1)}), PREDICT)
    found["v1_rows"] = Sent(many, 413, "instances")
    found["v1_list"] = Sent(request(b"[[1, 2, 3, 4]]", PREDICT), 400, "object")
    found["v1_not_json"] = Sent(request(b"{", PREDICT), 400, "JSON")
    return found


TABLES = _all()
