"""The body of a server-side apply: JSON in the form that the API server's reader of YAML takes.

The API server reads `application/apply-patch+yaml` by go-yaml, whatever the body looks like. JSON
is YAML but for this: an escape stands for one code point, so that a pair of surrogates is refused;
some characters may not stand unescaped; and a key in front of its colon has a greatest length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

LONGEST_KEY = 1024
"""Of a key in front of its colon, with its quotes: YAML 1.2, 7.4.2."""

_ESCAPED = re.compile("[\x7f-\uffff]")
"""All of the first plane but ASCII: control characters, line separators and marks are among it."""
_STRING = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")(:?)')


def apply_body(manifest: Mapping[str, Any]) -> bytes:
    """Return the manifest so that every string arrives that the API server can store."""
    text = _ESCAPED.sub(_escape, json.dumps(manifest, ensure_ascii=False))
    return _STRING.sub(_with_mark_if_long, text).encode()


def _escape(character: re.Match[str]) -> str:
    code = ord(character[0])
    # Half a character is none: as in a body of JSON, the API server stores this in its place.
    return "\\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


def _with_mark_if_long(string: re.Match[str]) -> str:
    is_long_key = string[2] and len(string[1]) > LONGEST_KEY
    return f"? {string[0]}" if is_long_key else string[0]
