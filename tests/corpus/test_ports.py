"""Labels and metrics only on the second port, predictions only on the first; no token is forged."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.corpus.conftest import Field
from tests.corpus.ground import Answer, at_rest, peer, settled
from tests.corpus.sent import INFER, PREDICT, body, request, tensor
from tests.unit.serving.stored import KEY, Stored

from trimtab.contract.token import ID_BYTES, NO_BIN, TokenWriter

OUTCOMES = "/outcomes"
_SPELLINGS = ("{}", "{}/", "/{}", "{}?x=1", "http://a{}", "/v2/..{}", "{}%20", "{};x")


def asked(port: int, wire: bytes) -> Answer:
    with peer(port) as one:
        one.send(wire)
        return one.answer()


def token(field: Field) -> str:
    answer = asked(field.vector.inference_port, request(tensor()))
    text: str = json.loads(answer.body)["parameters"]["trimtab_token"]
    return text


def posted(field: Field, items: Any) -> Answer:
    return asked(field.vector.metrics_port, request(body(items), OUTCOMES))


@pytest.mark.parametrize("spelling", _SPELLINGS)
@pytest.mark.parametrize("path", ["/metrics", OUTCOMES, "/readyz", "/healthz"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_the_inference_port_has_no_labels_and_no_metrics(
    field: Field, spelling: str, path: str, method: str
) -> None:
    item = body([{"token": "x", "actual": 1}])
    answer = asked(field.vector.inference_port, request(item, spelling.format(path), method))
    assert answer.status in (404, 405)


@pytest.mark.parametrize("path", [INFER, PREDICT, "/v2", "/v2/models/digits", "/v2/health/live"])
@pytest.mark.parametrize("spelling", _SPELLINGS)
def test_the_second_port_has_no_predictions(field: Field, spelling: str, path: str) -> None:
    sent = request(tensor(), spelling.format(path))
    assert asked(field.vector.metrics_port, sent).status == 404


def test_both_are_there_where_they_belong(field: Field) -> None:
    page = asked(field.vector.metrics_port, request(b"", "/metrics", "GET"))
    assert (page.status, b"trimtab_requests_total" in page.body) == (200, True)
    assert posted(field, [{"token": token(field), "actual": 1}]).status == 200


@pytest.mark.parametrize(
    ("content", "status", "named"),
    [
        (b"", 400, "JSON"),
        (b"{", 400, "JSON"),
        (b"\xff", 400, "JSON"),
        (b"[" * 100_000, 400, "JSON"),
        (b"{}", 400, "a list"),
        (b"[]", 400, "a list"),
        (b"null", 400, "a list"),
        (b"[1]", 400, "an object"),
        (b"[null]", 400, "an object"),
        (b"[{}]", 400, "token"),
        (b'[{"token": null, "actual": 1}]', 400, "token"),
        (b'[{"token": NaN, "actual": 1}]', 400, "token"),
        (b'[{"token": ["a"], "actual": 1}]', 400, "token"),
        (b'[{"token": "a"}]', 400, "actual"),
        (b'[{"token": "", "actual": 1}]', 400, "token"),
        (b'[{"token": "a", "actual": 1}]', 400, "token"),
        ('[{"token": "\u00e9", "actual": 1}]'.encode(), 400, "token"),
        (b'[{"token": "%b", "actual": 1}]' % (b"A" * 100_000), 400, "token"),
        (b'[{"token": "a b", "actual": 1}]', 400, "token"),
        (body([{"token": "a", "actual": 1}] * 5000), 400, "token"),
        (body([1] * 10_001), 413, "10001 items"),
        (b" " * 300_000, 413, "bytes"),
    ],
)
def test_bad_outcomes_are_refused(field: Field, content: bytes, status: int, named: str) -> None:
    before = at_rest(field.ground)
    answer = asked(field.vector.metrics_port, request(content, OUTCOMES))
    assert answer.status == status, answer.body[:300]
    assert named in json.loads(answer.body)["error"]
    assert settled(field.ground, before) == before


@pytest.mark.parametrize(
    ("actual", "named"),
    [
        ([], "0 values"),
        ([1, 0], "2 values"),
        ({}, "actual[0]"),
        ([[1]], "actual[0]"),
        (0.5, "actual[0]"),
        ([{"class": 1}], "actual[0]"),
    ],
)
def test_bad_truths_are_refused_and_leave_the_token_good(
    field: Field, actual: Any, named: str
) -> None:
    good = token(field)
    answer = posted(field, [{"token": good, "actual": actual}])
    assert answer.status == 400
    assert named in json.loads(answer.body)["error"]
    assert posted(field, [{"token": good, "actual": 1}]).status == 200


def spelled(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_no_bit_of_a_token_may_change(field: Field) -> None:
    text = token(field)
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    forged = []
    for place in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << (place % 8)
        forged.append(spelled(bytes(changed)))
    forged += [spelled(raw[:length]) for length in range(len(raw))]
    forged += [spelled(raw + b"\0"), text + "A", text + "=", text + "\n", f" {text}"]
    answer = posted(field, [{"token": one, "actual": 1} for one in forged])
    assert answer.status in (400, 422)
    results = json.loads(answer.body)["results"]
    assert len(results) == len(forged)
    assert {one.get("reason") for one in results} <= {"forged", "malformed"}
    assert sum(one["reason"] == "forged" for one in results) > 8 * len(raw) - 16
    assert posted(field, [{"token": text, "actual": 1}]).status == 200


@pytest.mark.parametrize("key", [KEY[::-1], KEY[:-1] + b"x", bytes(32)])
def test_a_token_under_another_key_is_refused(field: Field, binary: Stored, key: bytes) -> None:
    writer = TokenWriter(
        key,
        digest=binary.digest,
        baseline=binary.baseline.digest,
        model="digits",
        version="v1",
        classes=binary.signature.classes,
    )
    forged = writer.classes([1], bytes([NO_BIN]), hour=0, id=bytes(ID_BYTES))
    answer = posted(field, [{"token": forged, "actual": 1}])
    assert answer.status == 400
    assert json.loads(answer.body)["results"][0]["reason"] == "forged"


def test_a_token_is_counted_once_a_replica(field: Field) -> None:
    """The other server stands for a replica with the same key: it has a memory of its own."""
    text = token(field)
    item = {"token": text, "actual": 1}
    twice = json.loads(posted(field, [item, item]).body)
    assert [one["status"] for one in twice["results"]] == ["counted", "refused"]
    assert posted(field, [item]).status == 409
    other = request(body([item]), OUTCOMES)
    assert asked(field.table.metrics_port, other).status == 200
    assert asked(field.table.metrics_port, other).status == 409
