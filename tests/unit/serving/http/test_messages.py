"""Answers on the wire: a head that says what follows."""

from __future__ import annotations

import pytest

from trimtab.serving.http.messages import Response, binary_response, error_response, json_response


@pytest.mark.parametrize(
    ("response", "head"),
    [
        (
            json_response({"live": True}),
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n",
        ),
        (
            error_response(503, "busy", b"retry-after: 1\r\n"),
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
            b"content-length: 16\r\nretry-after: 1\r\n",
        ),
        (
            binary_response({}, [b"12", b"345"]),
            b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
            b"content-length: 7\r\ninference-header-content-length: 2\r\n",
        ),
    ],
    ids=["json", "error", "binary"],
)
def test_a_head_says_the_length_of_the_body(response: Response, head: bytes) -> None:
    assert undated(response.head(close=False)) == head + b"\r\n"
    assert undated(response.head(close=True)) == head + b"connection: close\r\n\r\n"


def undated(head: bytes) -> bytes:
    before, _, after = head.partition(b"date: ")
    return before + after.partition(b"\r\n")[2]
