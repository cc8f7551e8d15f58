"""Requests whose head or framing is wrong, or that nobody serves."""

from __future__ import annotations

from tests.corpus.sent import INFER, MAX_BODY_BYTES, Sent, request, tensor, top

_GOOD = tensor()
_START = f"POST {INFER} HTTP/1.1\r\n".encode()
_HEAD = _START + b"host: a\r\n"
_LENGTH = b"content-length: %d\r\n" % len(_GOOD)
_CHUNKED = _HEAD + b"transfer-encoding: chunked\r\n\r\n"
_MANY = b"".join(b"h%d: %b\r\n" % (i, b"v" * 900) for i in range(100))
_HUGE = 10 * MAX_BODY_BYTES

_MALFORMED: dict[str, bytes] = {
    "text": b"nonsense\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no_version": b"GET /v2 FTP/1.1\r\nhost: a\r\n\r\n",
    "no_target": b"GET HTTP/1.1\r\nhost: a\r\n\r\n",
    "method_unknown": b"FETCH /v2 HTTP/1.1\r\nhost: a\r\n\r\n",
    "method_small": b"get /v2 HTTP/1.1\r\nhost: a\r\n\r\n",
    "space_in_target": b"GET /v2 /v2 HTTP/1.1\r\nhost: a\r\n\r\n",
    "high_byte_in_target": b"GET /v2/models/\xe9 HTTP/1.1\r\nhost: a\r\n\r\n",
    "control_in_target": b"GET /v\x01 HTTP/1.1\r\nhost: a\r\n\r\n",
    "header_without_colon": b"GET /v2 HTTP/1.1\r\nhost a\r\n\r\n",
    "header_space": _HEAD + b"content-length : 3\r\n\r\n" + _GOOD,
    "header_folded": _HEAD + b"x: a\r\n b\r\n" + _LENGTH + b"\r\n" + _GOOD,
    "header_nul": _HEAD + b"x: a\0b\r\n" + _LENGTH + b"\r\n" + _GOOD,
    "header_name_empty": _HEAD + b": a\r\n" + _LENGTH + b"\r\n" + _GOOD,
    "header_name_utf8": _HEAD + b"\xc3\xa9: a\r\n" + _LENGTH + b"\r\n" + _GOOD,
    "bare_line_feeds": (_HEAD + _LENGTH + b"\r\n").replace(b"\r\n", b"\n") + _GOOD,
    "bare_returns": (_HEAD + _LENGTH + b"\r\n").replace(b"\r\n", b"\r") + _GOOD,
    "length_twice": _HEAD + _LENGTH + _LENGTH + b"\r\n" + _GOOD,
    "length_two": _HEAD + _LENGTH + b"content-length: 3\r\n\r\n" + _GOOD,
    "length_negative": _HEAD + b"content-length: -1\r\n\r\n" + _GOOD,
    "length_plus": _HEAD + b"content-length: +5\r\n\r\n" + _GOOD,
    "length_word": _HEAD + b"content-length: abc\r\n\r\n" + _GOOD,
    "length_empty": _HEAD + b"content-length: \r\n\r\n" + _GOOD,
    "length_list": _HEAD + b"content-length: 5, 5\r\n\r\n" + _GOOD,
    "length_hex": _HEAD + b"content-length: 0x10\r\n\r\n" + _GOOD,
    "length_spaced": _HEAD + b"content-length: 1 2\r\n\r\n" + _GOOD,
    "length_overflows": _HEAD + b"content-length: 1180591620717411303424\r\n\r\n",
    "coding_and_length": _HEAD + _LENGTH + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "length_and_coding": _HEAD + b"transfer-encoding: chunked\r\n" + _LENGTH + b"\r\n0\r\n\r\n",
    "coding_identity": _HEAD + _LENGTH + b"transfer-encoding: identity\r\n\r\n" + _GOOD,
    "coding_not_last": _HEAD + b"transfer-encoding: chunked, gzip\r\n\r\n",
    "coding_twice": _CHUNKED[:-2] + b"transfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "coding_tab": _HEAD + b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "chunk_no_number": _CHUNKED + b"zz\r\n",
    "chunk_negative": _CHUNKED + b"-1\r\n",
    "chunk_prefixed": _CHUNKED + b"0x5\r\nhello\r\n",
    "chunk_overflows": _CHUNKED + b"ffffffffffffffffff\r\n",
    "chunk_longer_than_said": _CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
    "chunk_line_feeds": _CHUNKED + b"3\nabc\n0\n\n",
    "chunk_space": _CHUNKED + b"3 3\r\nabc\r\n0\r\n\r\n",
    "trailer_malformed": _CHUNKED + b"0\r\nno trailer\r\n\r\n",
}

_OTHER_VERSIONS: dict[str, bytes] = {
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http3": b"GET /v2 HTTP/3.7\r\nhost: a\r\n\r\n",
}

_OTHER_CODINGS: dict[str, bytes] = {
    "gzip": _HEAD + b"transfer-encoding: gzip\r\n\r\n",
    "spelled": _HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
}

_UNPACKED: dict[str, bytes] = {
    name: request(_GOOD, content_encoding=name) for name in ("gzip", "deflate")
}

_TOO_LONG: dict[str, bytes] = {
    "target": b"GET /" + b"x" * 70_000,
    "target_whole": b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    "headers": b"GET /v2 HTTP/1.1\r\n" + _MANY,
    "headers_whole": b"GET /v2 HTTP/1.1\r\nhost: a\r\n" + _MANY + b"\r\n",
    "one_header": b"GET /v2 HTTP/1.1\r\na: " + b"x" * 700_000,
    "header_name": b"GET /v2 HTTP/1.1\r\n" + b"x" * 700_000,
    "trailers": _CHUNKED + b"0\r\n" + _MANY,
    "one_trailer": _CHUNKED + b"0\r\na: " + b"x" * 700_000,
    "chunk_extension": _CHUNKED + b"5;" + b"x" * 700_000,
}

_HOSTS: dict[str, bytes] = {
    "missing": _START + _LENGTH + b"\r\n" + _GOOD,
    "twice": _HEAD + b"host: b\r\n" + _LENGTH + b"\r\n" + _GOOD,
    "two": _START + b"host: a, b\r\n" + _LENGTH + b"\r\n" + _GOOD,
    "path": _START + b"host: a/b\r\n" + _LENGTH + b"\r\n" + _GOOD,
    "user": _START + b"host: me@a\r\n" + _LENGTH + b"\r\n" + _GOOD,
}

_HEADERS: dict[str, tuple[dict[str, str], str]] = {
    "type_text": ({"content_type": "text/plain"}, "content-type"),
    "type_form": ({"content_type": "application/x-www-form-urlencoded"}, "content-type"),
    "type_multipart": ({"content_type": "multipart/form-data; boundary=x"}, "content-type"),
    "type_near": ({"content_type": "application/jsonp"}, "content-type"),
    "type_twice": ({"content_type": "application/json, application/json"}, "content-type"),
    "coding_unknown": ({"content_encoding": "x-mine"}, "content-encoding"),
    "coding_two": ({"content_encoding": "identity, gzip"}, "content-encoding"),
}

_NOBODY: dict[str, tuple[str, str, int, str]] = {
    "root": ("GET", "/", 404, "/"),
    "star": ("OPTIONS", "*", 404, "*"),
    "model": ("GET", "/v2/models/other", 404, "'other'"),
    "model_infer": ("POST", "/v2/models/other/infer", 404, "'other'"),
    "model_case": ("POST", "/v2/models/Digits/infer", 404, "'Digits'"),
    "model_predict": ("POST", "/v1/models/other:predict", 404, "'other'"),
    "version": ("POST", "/v2/models/digits/versions/v9/infer", 404, "'v9'"),
    "verb": ("POST", "/v2/models/digits/explain", 404, "explain"),
    "dots": ("GET", "/v2/../../etc/passwd", 404, "no such path"),
    "dots_encoded": ("GET", "/v2/%2e%2e/%2e%2e/etc/passwd", 404, "no such path"),
    "slashes": ("POST", f"/{INFER}", 404, "no such path"),
    "not_utf8": ("GET", "/v2/models/%ff%fe", 404, "model"),
    "surrogate": ("GET", "/v2/models/%ed%a0%80", 404, "model"),
    "half_percent": ("GET", "/v2/models/%", 404, "model"),
    "nul_encoded": ("GET", "/v2/models/digits%00", 404, "model"),
    "fragment": ("GET", "/v2#a", 404, "no such path"),
    "long": ("GET", "/v2/models/" + "x" * 60_000, 404, "model"),
    "infer_get": ("GET", INFER, 405, "GET"),
    "infer_put": ("PUT", INFER, 405, "PUT"),
    "infer_delete": ("DELETE", INFER, 405, "DELETE"),
    "page_post": ("POST", "/v2/health/live", 405, "POST"),
    "page_trace": ("TRACE", "/v2", 405, "TRACE"),
    "connect": ("CONNECT", "a:443", 404, "no such path"),
    "metrics": ("GET", "/metrics", 404, "no such path"),
    "metrics_encoded": ("GET", "/%6detrics", 404, "no such path"),
    "metrics_below": ("GET", "/v2/../metrics", 404, "no such path"),
    "metrics_absolute": ("GET", "http://a/metrics", 404, "no such path"),
    "outcomes": ("POST", "/outcomes", 404, "no such path"),
    "outcomes_slash": ("POST", "/outcomes/", 404, "no such path"),
    "outcomes_encoded": ("POST", "/%6futcomes", 404, "no such path"),
    "probe": ("GET", "/readyz", 404, "no such path"),
}


def _all() -> dict[str, Sent]:
    found = {f"http_{name}": Sent(sent, 400, "HTTP") for name, sent in _MALFORMED.items()}
    found |= {f"version_{name}": Sent(s, 505, "HTTP") for name, s in _OTHER_VERSIONS.items()}
    found |= {f"coding_{name}": Sent(s, 501, "coding") for name, s in _OTHER_CODINGS.items()}
    found |= {f"packed_{name}": Sent(s, 400, "unpacked") for name, s in _UNPACKED.items()}
    found |= {f"long_{name}": Sent(sent, 431, "head") for name, sent in _TOO_LONG.items()}
    found |= {f"host_{name}": Sent(sent, 400, "host") for name, sent in _HOSTS.items()}
    for name, (headers, named) in _HEADERS.items():
        found[f"header_{name}"] = Sent(request(_GOOD, **headers), 415, named)
    for name, (method, path, status, named) in _NOBODY.items():
        found[f"nobody_{name}"] = Sent(request(b"", path, method), status, named)
    whole = request(top(id="x" * MAX_BODY_BYTES))
    declared = _HEAD + b"content-length: %d\r\n\r\n" % _HUGE
    chunk = b"%x\r\n" % MAX_BODY_BYTES + b"x" * MAX_BODY_BYTES + b"\r\n"
    for name, sent in (
        ("whole", whole),
        ("declared", declared),
        ("declared_and_sent", declared + b"x" * _HUGE),
        ("declared_2_63", _HEAD + b"content-length: 9223372036854775807\r\n\r\n"),
        ("chunked", _CHUNKED + chunk * 10),
        ("tiny_chunks", _CHUNKED + b"2\r\nxx\r\n" * MAX_BODY_BYTES),
        ("one_chunk", _CHUNKED + b"%x\r\n" % _HUGE + b"x" * _HUGE),
    ):
        found[f"huge_{name}"] = Sent(sent, 413, f"{MAX_BODY_BYTES} bytes")
    expecting = _HEAD + _LENGTH + b"expect: tea\r\n\r\n"
    found["expectation"] = Sent(expecting, 417, "expect")
    return found


FRAMING = _all()
