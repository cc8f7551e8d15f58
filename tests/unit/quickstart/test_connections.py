import asyncio

import pytest
from tests.unit.quickstart.conftest import FakeModel

from trimtab.quickstart.connections import Connections, NoAnswer, NotSent

BODY = b'{"inputs": [{"data": [3]}]}'


async def test_keeps_connections_and_takes_them_in_turn(server: FakeModel) -> None:
    connections = Connections(server.url, 3)
    for _ in range(9):
        assert (await connections.post("/infer", BODY)).status == 200
    assert server.connections == 3
    await connections.close()


async def test_opens_no_more_than_the_limit(server: FakeModel) -> None:
    connections = Connections(server.url, 2)
    await asyncio.gather(*(connections.post("/infer", BODY) for _ in range(20)))
    assert server.connections == 2
    await connections.close()


async def test_users_go_after_their_stay(server: FakeModel) -> None:
    connections = Connections(server.url, 1, stay_seconds=1e-9)
    for _ in range(3):
        answer = await connections.post("/infer", BODY)
        assert (answer.status, answer.retried) == (200, False)
    assert server.connections == 3
    await connections.close()


async def test_leaves_a_connection_that_the_server_closes(server: FakeModel) -> None:
    server.close_after_answer = True
    connections = Connections(server.url, 1)
    for _ in range(3):
        answer = await connections.post("/infer", BODY)
        assert (answer.status, answer.retried) == (200, False)
    assert server.connections == 3


async def test_tries_again_where_no_answer_had_begun(server: FakeModel) -> None:
    connections = Connections(server.url, 1)
    await connections.post("/infer", BODY)
    server.cut_next = [b""]
    answer = await connections.post("/infer", BODY)
    assert (answer.status, answer.retried) == (200, True)
    await connections.close()


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", id="within_the_head"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", id="within_the_body"),
        pytest.param(b"nonsense\r\n\r\n", id="no_http"),
    ],
)
async def test_answer_cut_off_is_no_answer(server: FakeModel, cut: bytes) -> None:
    connections = Connections(server.url, 1)
    await connections.post("/infer", BODY)
    server.cut_next = [cut]
    with pytest.raises(NoAnswer):
        await connections.post("/infer", BODY)
    assert (await connections.post("/infer", BODY)).status == 200
    await connections.close()


async def test_fresh_connection_that_is_cut_is_no_answer(server: FakeModel) -> None:
    server.cut_next = [b""]
    with pytest.raises(NoAnswer):
        await Connections(server.url, 1).post("/infer", BODY)


async def test_refused_is_no_answer() -> None:
    with pytest.raises(NoAnswer, match="Connect"):
        await Connections("http://127.0.0.1:9", 1).post("/infer", BODY)


async def test_silence_is_no_answer_in_time() -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    with pytest.raises(NoAnswer, match=r"within 0\.05 s"):
        await Connections(url, 1, timeout_seconds=0.05).post("/infer", BODY)
    listening.close()
    for writer in writers:
        writer.close()


async def test_request_without_a_free_connection_is_not_sent(server: FakeModel) -> None:
    with pytest.raises(NotSent, match=r"no connection was free for 0\.01 s"):
        await Connections(server.url, 0, timeout_seconds=0.01).post("/infer", BODY)
    assert server.requests == []


@pytest.mark.parametrize("url", ["https://x", "ftp://x", "x:80"])
def test_only_http(url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        Connections(url, 1)
