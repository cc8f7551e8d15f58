"""Bodies that are no infer request: no JSON, wrong fields, wrong values."""

from __future__ import annotations

from tests.corpus.sent import MAX_ROWS, VECTOR, Sent, body, raw, request, tensor, top

_GOOD = tensor()
_DEEP = 100_000
_BOM = b"\xef\xbb\xbf"

_NO_JSON: dict[str, bytes] = {
    "empty": b"",
    "white": b" \r\n\t ",
    "brace": b"{",
    "word": b"hello",
    "form": b"inputs=1&x=2",
    "xml": b"<?xml version='1.0'?><inputs/>",
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00",
    "zip": b"PK\x03\x04",
    "zeros": b"\0" * 100,
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "two_documents": _GOOD + _GOOD,
    "text_behind": _GOOD + b"x",
    "nul_behind": _GOOD + b"\0",
    "comma_behind": _GOOD[:-1] + b",}",
    "comment": b"/* a */" + _GOOD,
    "line_comment": _GOOD + b"// a",
    "single_quotes": _GOOD.replace(b'"', b"'"),
    "no_quotes": _GOOD.replace(b'"', b""),
    "python_none": raw(data="None"),
    "python_true": raw(data="[True, 1, 2, 3]"),
    "byte_order_mark": _BOM + _GOOD,
    "byte_order_mark_and_nan": _BOM + raw(data="[NaN, 1, 2, 3]"),
    "utf16": _GOOD.decode().encode("utf-16"),
    "utf16_without_mark": _GOOD.decode().encode("utf-16-le"),
    "utf32": _GOOD.decode().encode("utf-32"),
    "latin1": raw(name='"\u00e9"').decode().encode("latin-1"),
    "utf8_cut": raw(name='"\u20ac"').replace(b"\xe2\x82\xac", b"\xe2\x82"),
    "utf8_overlong": raw(name='"Q"').replace(b"Q", b"\xc0\xaf"),
    "utf8_surrogate": raw(name='"Q"').replace(b"Q", b"\xed\xa0\x80"),
    "utf8_beyond": raw(name='"Q"').replace(b"Q", b"\xf5\x80\x80\x80"),
    "utf8_alone": raw(name='"Q"').replace(b"Q", b"\xff"),
    "utf8_broken_and_nan": raw(name='"Q"', data="[NaN, 1, 2, 3]").replace(b"Q", b"\xff"),
    "escape_surrogate": raw(name=r'"\ud800"'),
    "escape_unknown": raw(name=r'"\x41"'),
    "escape_cut": raw(name=r'"\u12"'),
    "control_in_string": raw(name='"a\nb"'),
    "number_hex": raw(data="[0x1, 1, 2, 3]"),
    "number_leading_zero": raw(data="[01, 1, 2, 3]"),
    "number_plus": raw(data="[+1, 1, 2, 3]"),
    "number_open": raw(data="[1., 1, 2, 3]"),
    "number_without_front": raw(data="[.5, 1, 2, 3]"),
    "number_half_exponent": raw(data="[1e, 1, 2, 3]"),
    "number_beyond": raw(data="[1e999, 1, 2, 3]"),
    "number_two_signs": raw(data="[--1, 1, 2, 3]"),
    "number_underscore": raw(data="[1_0, 1, 2, 3]"),
    "nan_in_small": raw(data="[nan, 1, 2, 3]"),
    "nan_with_minus": raw(data="[-NaN, 1, 2, 3]"),
    "infinity_short": raw(data="[Inf, 1, 2, 3]"),
    "lists_deep": b"[" * _DEEP,
    "lists_deep_with_nan": b"[" * _DEEP + b"NaN",
    "objects_deep": b'{"a":' * (_DEEP // 4),
    "lists_deep_closed": b"[" * 5000 + b"]" * 5000,
    "digits_many_with_nan": raw(data="[NaN, " + "1" * 5000 + ", 2, 3]"),
}

_TOP: dict[str, tuple[bytes, str]] = {
    "a_list": (b"[]", "object"),
    "a_number": (b"1", "object"),
    "a_string": (b'"inputs"', "object"),
    "null": (b"null", "object"),
    "true": (b"true", "object"),
    "nothing_in_it": (b"{}", "inputs: is missing"),
    "instances": (b'{"instances": [[1, 2, 3, 4]]}', "inputs: is missing"),
    "capital": (b'{"Inputs": []}', "inputs: is missing"),
    "inputs_null": (body({"inputs": None}), "inputs"),
    "inputs_object": (body({"inputs": VECTOR}), "inputs"),
    "inputs_string": (body({"inputs": "x"}), "inputs"),
    "inputs_empty": (body({"inputs": []}), "inputs"),
    "input_number": (body({"inputs": [1]}), "inputs[0]"),
    "input_list": (body({"inputs": [[1, 2, 3, 4]]}), "inputs[0]"),
    "input_null_second": (body({"inputs": [VECTOR, None]}), "inputs[1]"),
    "input_twice": (body({"inputs": [VECTOR, VECTOR]}), "inputs[1].name"),
    "input_thousand_times": (body({"inputs": [VECTOR] * 1000}), "inputs[1].name"),
    "input_too_many": (body({"inputs": [VECTOR, VECTOR | {"name": "y"}]}), "inputs[1].name"),
    "id_number": (top(id=1), "id"),
    "id_list": (top(id=["a"]), "id"),
    "id_object": (top(id={}), "id"),
    "id_true": (top(id=True), "id"),
    "id_long": (top(id="x" * 2000), "id"),
    "id_nan": (top(id=float("nan")), "id"),
    "parameters_list": (top(parameters=[]), "parameters"),
    "parameters_string": (top(parameters="a"), "parameters"),
    "parameters_number": (top(parameters=1), "parameters"),
    "parameters_deep": (
        _GOOD[:-1] + b', "parameters": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}",
        "parameters",
    ),
    "parameters_beyond_64_bits": (top(parameters={"a": float("nan"), "b": 2**80}), "64-bit"),
    "outputs_object": (top(outputs={}), "outputs"),
    "outputs_string": (top(outputs="class"), "outputs"),
    "outputs_number": (top(outputs=[1]), "outputs[0]"),
    "outputs_null": (top(outputs=[None]), "outputs[0]"),
    "outputs_nameless": (top(outputs=[{}]), "outputs[0].name"),
    "outputs_name_null": (top(outputs=[{"name": None}]), "outputs[0].name"),
    "outputs_name_list": (top(outputs=[{"name": ["class"]}]), "outputs[0].name"),
    "outputs_unknown": (top(outputs=[{"name": "class"}, {"name": "z"}]), "outputs[1].name"),
    "outputs_twice": (top(outputs=[{"name": "class"}] * 2), "outputs[1].name"),
    "outputs_parameters_list": (
        top(outputs=[{"name": "class", "parameters": [1]}]),
        "outputs[0].parameters",
    ),
    "outputs_input": (top(outputs=[{"name": "x"}]), "outputs[0].name"),
}

_NAME: dict[str, tuple[bytes, str]] = {
    "missing": (tensor(name=...), "inputs[0].name"),
    "null": (tensor(name=None), "inputs[0].name"),
    "empty": (tensor(name=""), "inputs[0].name"),
    "other": (tensor(name="y"), "inputs[0].name"),
    "capital": (tensor(name="X"), "inputs[0].name"),
    "space": (tensor(name="x "), "inputs[0].name"),
    "nul": (tensor(name="x\0"), "inputs[0].name"),
    "cyrillic": (tensor(name="\u0445"), "inputs[0].name"),
    "element": (tensor(name="x[0]"), "inputs[0].name"),
    "number": (tensor(name=1), "inputs[0].name"),
    "list": (tensor(name=["x"]), "inputs[0].name"),
    "object": (tensor(name={"x": 1}), "inputs[0].name"),
    "true": (tensor(name=True), "inputs[0].name"),
    "long": (tensor(name="x" * 100_000), "inputs[0].name"),
}

_DATATYPE: dict[str, object] = {
    "missing": ...,
    "null": None,
    "empty": "",
    "small": "fp64",
    "numpy": "float64",
    "unknown": "FP65",
    "space": "FP64 ",
    "bytes": "BYTES",
    "bool": "BOOL",
    "number": 64,
    "list": ["FP64"],
    "object": {"FP64": 1},
    "long": "F" * 100_000,
}

_SHAPE: dict[str, object] = {
    "missing": ...,
    "null": None,
    "number": 4,
    "string": "1,4",
    "object": {"0": 1, "1": 4},
    "empty": [],
    "floats": [1.0, 4.0],
    "truths": [True, 4],
    "strings": ["1", "4"],
    "nulls": [None, 4],
    "nested": [[1, 4]],
    "nan": [float("nan"), 4],
    "narrow": [1, 3],
    "wide": [1, 5],
    "turned": [4, 1],
    "flat": [4],
    "deeper": [1, 2, 2],
    "with_one": [1, 4, 1],
    "many": [1] * 1000,
    "no_rows": [0, 4],
    "negative_rows": [-1, 4],
    "negative_both": [-1, -4],
    "beyond_64_bits": [2**70, 4],
}

_DATA: dict[str, tuple[object, str]] = {
    "missing": (..., ""),
    "null": (None, ""),
    "number": (1, ""),
    "string": ("abcd", ""),
    "object": ({"0": 1}, ""),
    "empty": ([], ""),
    "short": ([1, 2, 3], ""),
    "long": ([1, 2, 3, 4, 5], ""),
    "string_within": ([1, 2, "3", 4], "[2]"),
    "nan_as_string": ([1, 2, 3, "NaN"], "[3]"),
    "empty_string_within": ([1, "", 3, 4], "[1]"),
    "true_within": ([1, 2, 3, True], "[3]"),
    "object_within": ([{}, 2, 3, 4], "[0]"),
    "list_within": ([1, [2], 3, 4], "[1]"),
    "list_first": ([[1], 2, 3, 4], ""),
    "null_within": ([1, None, 3, 4], "[1]: null"),
    "nan_within": ([1, 2, float("nan"), 4], "[2]: NaN"),
    "infinity_within": ([1, 2, 3, float("inf")], "[3]: infinity"),
    "minus_infinity_within": ([float("-inf"), 2, 3, 4], "[0]: infinity"),
    "all_nan": ([float("nan")] * 4, "[0]: NaN"),
    "nested_short": ([[1, 2, 3]], "[0]"),
    "nested_long": ([[1, 2, 3, 4, 5]], "[0]"),
    "nested_rows": ([[1, 2, 3, 4], [1, 2, 3, 4]], ""),
    "nested_deeper": ([[[1, 2, 3, 4]]], "[0]"),
    "nested_columns": ([[1], [2], [3], [4]], ""),
    "nested_empty": ([[]], "[0]"),
    "nested_string": ([[1, 2, 3, "4"]], "[3]"),
    "nested_null": ([[1, 2, 3, None]], "[3]: null"),
}

_VALUE: dict[str, tuple[str, object]] = {
    "int8_above": ("INT8", 300),
    "int8_edge": ("INT8", 128),
    "int8_below": ("INT8", -129),
    "int16_above": ("INT16", 2**15),
    "int32_above": ("INT32", 2**31),
    "int64_above": ("INT64", 2**63),
    "int64_far_above": ("INT64", 2**64),
    "uint8_negative": ("UINT8", -5),
    "uint8_above": ("UINT8", 256),
    "uint16_above": ("UINT16", 2**16),
    "uint32_above": ("UINT32", 2**32),
    "uint64_negative": ("UINT64", -1),
    "int32_half": ("INT32", 1.5),
    "int64_exponent": ("INT64", 1e10),
    "int64_true": ("INT64", True),
    "int64_string": ("INT64", "1"),
    "fp16_above": ("FP16", 70_000),
    "fp16_below": ("FP16", -1e5),
    "fp32_above": ("FP32", 1e300),
    "fp32_edge": ("FP32", 3.5e38),
}

_PARAMETERS: dict[str, object] = {"list": [1], "string": "a", "number": 1, "true": True}


def _all() -> dict[str, Sent]:
    found = {f"json_{name}": Sent(request(one), 400, "JSON") for name, one in _NO_JSON.items()}
    for kind, cases in (("top", _TOP), ("name", _NAME)):
        for name, (one, named) in cases.items():
            found[f"{kind}_{name}"] = Sent(request(one), 400, named)
    for field, values in (
        ("datatype", _DATATYPE),
        ("shape", _SHAPE),
        ("parameters", _PARAMETERS),
    ):
        for name, value in values.items():
            sent = request(tensor(**{field: value}))
            found[f"{field}_{name}"] = Sent(sent, 400, f"inputs[0].{field}")
    for name, (value, place) in _DATA.items():
        found[f"data_{name}"] = Sent(request(tensor(data=value)), 400, f"inputs[0].data{place}")
    for name, (datatype, value) in _VALUE.items():
        sent = request(tensor(datatype=datatype, data=[1, value, 3, 4]))
        found[f"value_{name}"] = Sent(sent, 400, "inputs[0].data[1]")
    for name, rows in (("one_too_many", MAX_ROWS + 1), ("a_billion", 10**9), ("int64", 2**63 - 1)):
        sent = request(tensor(shape=[rows, 4]))
        found[f"rows_{name}"] = Sent(sent, 413, "inputs[0].shape")
    ragged = tensor(shape=[2, 4], data=[[1, 2, 3, 4], 5])
    found["data_ragged"] = Sent(request(ragged), 400, "inputs[0].data[1]")
    return found


BODIES = _all()
