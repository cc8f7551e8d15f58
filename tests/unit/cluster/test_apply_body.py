"""A body that is applied is JSON that a reader of YAML takes for the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from trimtab.cluster.apply_body import apply_body

STRINGS = {
    "ascii": 'a "quoted" \\ud83d \\\\ / word',
    "accents": "größer",
    "beyond_the_bmp": "\U0001f600 \U0001ffff \U0010ffff",
    "nul_and_controls": "".join(map(chr, range(32))),
    "del_and_c1_controls": "".join(map(chr, range(0x7F, 0xA0))),
    "line_separators": "\x85\u2028\u2029",
    "byte_order_mark": "\ufeff in front and \ufeff within",
    "no_characters": "\ufdd0 \ufffe \uffff",
    "around_the_surrogates": "\ud7ff \ue000",
    "spaces_and_lines": " a \n   \n\t b  ",
    "long": "x " * 3000,
}
KEYS = {
    "merge": "<<",
    "colon": ":",
    "true": "true",
    "empty": "",
    "longest_short_one": "k" * 1022,
    "long": "k" * 1023,
    "long_by_its_escapes": "é" * 200,
    "long_and_quoted": '": "' * 400,
    "long_beyond_the_bmp": "\U0001f600" * 400,
}


def read(body: bytes) -> Any:
    return yaml.safe_load(body)


@pytest.mark.parametrize("text", STRINGS.values(), ids=list(STRINGS))
def test_a_string_arrives_as_it_is(text: str) -> None:
    assert read(apply_body({"a": text, "b": [text, {"c": text}]})) == {
        "a": text,
        "b": [text, {"c": text}],
    }


@pytest.mark.parametrize("name", KEYS.values(), ids=list(KEYS))
def test_a_key_arrives_as_it_is(name: str) -> None:
    assert read(apply_body({"a": 1, name: {name: name}, "z": 2})) == {
        "a": 1,
        name: {name: name},
        "z": 2,
    }


def test_every_character_of_the_first_plane_arrives() -> None:
    text = "".join(chr(code) for code in range(0x10000) if not 0xD800 <= code <= 0xDFFF)
    assert read(apply_body({"a": text})) == {"a": text}


def test_half_a_character_is_replaced_as_in_json() -> None:
    assert read(apply_body({"a": "x\ud83dy\ude00z"})) == {"a": "x\ufffdy\ufffdz"}


def test_no_character_is_sent_as_two_halves_or_as_what_yaml_does_not_print() -> None:
    body = apply_body({name: text for name, text in STRINGS.items() if name != "ascii"}).decode()
    assert "\\ud8" not in body
    assert all(" " <= character <= "~" or character > "\uffff" for character in body)


def test_what_has_short_keys_is_json() -> None:
    manifest = {"a": [1, 1.5, 1e300, None, True, {"\U0001f600": list(STRINGS.values())}]}
    assert json.loads(apply_body(manifest)) == manifest
