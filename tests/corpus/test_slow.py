"""Peers that are slow, silent or gone cost a connection for a bounded time and nothing else."""

from __future__ import annotations

import threading
from time import monotonic

import pytest
from tests.corpus.conftest import Field
from tests.corpus.ground import Held, at_rest, peer, settled
from tests.corpus.sent import INFER, request, tensor
from tests.patience import slowest

GOOD = request(tensor())
HEAD, _, BODY = GOOD.partition(b"\r\n\r\n")
CHUNKED = f"POST {INFER} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".encode()

UNFINISHED: dict[str, bytes] = {
    "method": b"PO",
    "head": HEAD,
    "header": HEAD + b"\r\nx: ",
    "body_missing": HEAD + b"\r\n\r\n",
    "body_short": GOOD[:-1],
    "chunk_size": CHUNKED + b"5",
    "chunk_short": CHUNKED + b"5\r\nab",
    "chunk_next": CHUNKED + b"2\r\nab\r\n",
    "trailer": CHUNKED + b"2\r\nab\r\n0\r\nx: ",
    "upgrade": HEAD + b"\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" + BODY[:-1],
    "second": GOOD + GOOD[:-1],
}


@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
def test_what_does_not_arrive_in_time_is_refused(hasty: Field, sent: bytes) -> None:
    before = at_rest(hasty.ground)
    with peer(hasty.vector.inference_port) as one:
        one.send(sent)
        if sent.startswith(GOOD):
            assert one.answer().status == 200
        answer = one.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert "in time" in answer.error
        assert one.ended()
    assert settled(hasty.ground, before) == before


@pytest.mark.parametrize(
    "head", [GOOD[:30], HEAD + b"\r\n\r\n", CHUNKED], ids=["head", "body", "chunk"]
)
def test_a_peer_that_drips_is_refused_and_others_are_served(hasty: Field, head: bytes) -> None:
    before = at_rest(hasty.ground)
    stop = threading.Event()
    with peer(hasty.vector.inference_port) as slow, peer(hasty.vector.inference_port) as quick:
        slow.send(head)

        def drip() -> None:
            while not stop.wait(0.02):
                slow.send(b"1")

        thread = threading.Thread(target=drip)
        thread.start()
        began = monotonic()
        quick.send(GOOD)
        assert quick.answer().status == 200
        took = monotonic() - began
        assert took < 0.4 * slowest(took)
        assert slow.answer().status in (400, 408)  # a digit too many makes a bad chunk size
        stop.set()
        thread.join()
        assert slow.ended()
    assert settled(hasty.ground, before) == before


def test_peers_that_leave_in_the_middle_are_forgotten(field: Field) -> None:
    before = at_rest(field.ground)
    for _ in range(5):
        for sent in (*UNFINISHED.values(), GOOD, GOOD * 20, b""):
            with peer(field.vector.inference_port) as one:
                one.send(sent)
    assert settled(field.ground, before) == before
    with peer(field.vector.inference_port) as one:
        one.send(GOOD)
        assert one.answer().status == 200


def test_a_peer_that_does_not_read_its_answers_holds_nobody_up(hasty: Field) -> None:
    before: Held = at_rest(hasty.ground)
    with peer(hasty.vector.inference_port) as deaf:
        thread = threading.Thread(target=deaf.send, args=(GOOD * 40_000,))
        thread.start()
        with peer(hasty.vector.inference_port) as one:
            for _ in range(50):
                one.send(GOOD)
                assert one.answer().status == 200
        thread.join()  # dropped: what is not read in time is not waited for
    assert settled(hasty.ground, before) == before
