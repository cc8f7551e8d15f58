"""Every bad request gets a 4xx that names the field, hurts nobody else and leaves nothing open."""

from __future__ import annotations

import json

import pytest
from tests.corpus.binaries import BINARIES
from tests.corpus.bodies import BODIES
from tests.corpus.conftest import Field
from tests.corpus.framing import FRAMING
from tests.corpus.ground import at_rest, peer, settled
from tests.corpus.sent import Sent, columns, request, tensor
from tests.corpus.tables import TABLES

BAD = BODIES | TABLES | FRAMING | BINARIES
GOOD = {False: request(tensor()), True: request(columns())}


def test_the_corpus_is_large() -> None:
    assert len(BAD) == len(BODIES) + len(TABLES) + len(FRAMING) + len(BINARIES)
    assert len(BAD) >= 200


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_request_is_refused(field: Field, bad: Sent) -> None:
    server = field.table if bad.table else field.vector
    before = at_rest(field.ground)
    with peer(server.inference_port) as one, peer(server.inference_port) as other:
        one.send(bad.wire)
        answer = one.answer()
        assert answer.status == bad.status, answer
        assert bad.named in answer.error
        assert len(answer.body) < 2000
        if answer.headers.get("connection") == "close":
            assert one.ended()
        else:
            one.send(GOOD[bad.table])
            assert one.answer().status == 200
        other.send(GOOD[bad.table])
        assert other.answer().status == 200
    assert settled(field.ground, before) == before


def test_nothing_was_an_error_of_the_server(field: Field) -> None:
    """Runs after the corpus: the counters of the same servers know of no 5xx."""
    for server in (field.vector, field.table):
        with peer(server.metrics_port) as one:
            one.send(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")
            page = one.answer().body.decode()
        lines = [line for line in page.splitlines() if line.startswith("trimtab_requests_total")]
        wrong = [line for line in lines if 'code="5' in line and not line.endswith((" 0", " 0.0"))]
        assert lines
        assert not wrong


def test_what_is_decided_to_be_good(field: Field) -> None:
    """Lenient where no reader of JSON agrees, or where strictness would break newer clients."""
    good = tensor()
    known = good[:-1]
    answers = []
    with peer(field.vector.inference_port) as one:
        for sent in (
            good.replace(b'"data"', b'"data": [9, 9, 9], "data"'),  # of two keys the last counts
            known + b', "further": {"a": 1}}',
            tensor(further=1, parameters=None),
            known + b', "id": null, "parameters": null, "outputs": null}',
            known + b', "outputs": []}',
            b" \r\n" + good + b"\n",
            tensor(data=[[1, 2, 3, 4]]),
            tensor(data=[1, -0.0, 1e-400, 2**70]),
            tensor(datatype="UINT64", data=[2**64 - 1, 0, 1, 2]),
        ):
            one.send(request(sent))
            answers.append(one.answer())
        one.send(request(good, "http://a:80/v2/models/digits/infer?x=1"))
        answers.append(one.answer())
    assert [answer.status for answer in answers] == [200] * 10, answers
    assert json.loads(answers[0].body)["outputs"] == json.loads(answers[1].body)["outputs"]
