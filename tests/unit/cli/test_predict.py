"""`predict` against a server of the protocol: rows in, predictions out, and every error named."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trimtab.cli.endpoint import MOST_TRIES, Endpoint, NotAnswered, RefusedByServer, Tensor
from trimtab.cli.main import main
from trimtab.cli.predict import BATCH_CHARACTERS, BATCH_ROWS, batches
from trimtab.cli.rows import Row, RowsBroken, read_rows

INPUTS = [
    {"name": "age", "datatype": "INT64", "shape": [-1]},
    {"name": "colour", "datatype": "BYTES", "shape": [-1]},
    {"name": "member", "datatype": "BOOL", "shape": [-1]},
    {"name": "place", "datatype": "FP64", "shape": [-1, 2]},
]
OUTPUTS = [
    {"name": "class", "datatype": "BYTES", "shape": [-1]},
    {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]},
]
OPENAPI = {
    "components": {
        "schemas": {
            "InferAnswer": {
                "properties": {
                    "outputs": {
                        "items": {
                            "anyOf": [
                                {"properties": {"name": {"const": "class"}}},
                                {
                                    "properties": {"name": {"const": "probabilities"}},
                                    "x-classes": ["old", "young"],
                                },
                            ]
                        }
                    }
                }
            }
        }
    }
}
INF = float("inf")
HEADER = "note,place[1],colour,member,age,place[0]\n"
LINES = [f"n{row},{row}.5,red,true,{row},1e3\n" for row in range(1, 601)]


class Protocol:
    """A server of the protocol; each list holds what is answered in place of an answer, first."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.pages: dict[str, Any] = {
            "/v1/models": {"models": ["ages"]},
            "/v2/models/ages": {"name": "ages", "inputs": INPUTS, "outputs": OUTPUTS},
            "/openapi.json": OPENAPI,
        }
        self.instead: list[tuple[int, dict[str, str], Any]] = []
        self.most_rows = 10_000
        self.hangs_up = False
        self.refused_age = -1
        self.url = ""

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        self.asked.append(body)
        if self.instead:
            return self.instead.pop(0)
        inputs = {one["name"]: one for one in body["inputs"]}
        ages = inputs["age"]["data"]
        if self.refused_age in ages:
            return 400, {}, {"error": "inputs: the model was not fitted on such a value: age"}
        if len(ages) > self.most_rows:
            return 413, {}, {"error": "too many rows"}
        every = {
            "class": ("BYTES", [], ["old" if age > 60 else "young" for age in ages]),
            "probabilities": ("FP64", [2], [part for age in ages for part in (0.25, 0.75)]),
        }
        wanted = [one["name"] for one in body["outputs"]]
        outputs = [
            {"name": name, "datatype": kind, "shape": [len(ages), *shape], "data": data}
            for name, (kind, shape, data) in every.items()
            if name in wanted
        ]
        return 200, {}, {"model_name": "ages", "outputs": outputs}


@pytest.fixture
def server() -> Iterator[Protocol]:
    protocol = Protocol()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = protocol.pages.get(self.path)
            self._send(*((404, {}, {"error": "no"}) if found is None else (200, {}, found)))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v2/models/ages/infer"
            self._send(*protocol.answer(body))
            self.close_connection = protocol.hangs_up

        def _send(self, status: int, headers: dict[str, str], content: Any) -> None:
            raw = json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        protocol.url = f"http://127.0.0.1:{listening.server_port}"
        yield protocol
        listening.shutdown()


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., str]:
    def written(text: str, name: str = "rows.csv") -> str:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return str(file)

    return written


Rows = Callable[..., str]
Out = pytest.CaptureFixture[str]


def test_columns_are_found_by_name_and_rows_go_in_batches(
    server: Protocol, rows: Rows, capsys: Out
) -> None:
    assert main(["predict", server.url, rows(HEADER + "".join(LINES))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["class", *(["young"] * 60), *(["old"] * 540)]
    assert [len(body["inputs"][0]["data"]) for body in server.asked] == [256, 256, 88]
    first = {one["name"]: one for one in server.asked[0]["inputs"]}
    assert first["age"]["data"][:2] == [1, 2]
    assert first["place"]["shape"] == [256, 2]
    assert first["place"]["data"][:4] == [1000.0, 1.5, 1000.0, 2.5]
    assert first["member"]["data"][0] is True
    assert server.asked[0]["outputs"] == [{"name": "class"}]


@pytest.mark.parametrize("tail", ["", "/v2/models/ages", "/v2/models/ages/infer", "/v2", "/"])
def test_the_url_may_be_the_base_or_the_model(
    server: Protocol, rows: Rows, capsys: Out, tail: str
) -> None:
    assert main(["predict", server.url + tail, rows(HEADER + LINES[0])]) == 0
    assert capsys.readouterr().out == "class\nyoung\n"


def test_probabilities_have_the_names_of_classes(server: Protocol, rows: Rows, capsys: Out) -> None:
    words = ["predict", server.url, rows(HEADER + LINES[0]), "--probabilities"]
    assert main(words) == 0
    assert capsys.readouterr().out == (
        "class,probabilities[old],probabilities[young]\nyoung,0.25,0.75\n"
    )
    assert main([*words, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "class": "young",
        "probabilities": {"old": 0.25, "young": 0.75},
    }


def test_a_server_that_names_no_classes_gives_numbers(
    server: Protocol, rows: Rows, capsys: Out
) -> None:
    del server.pages["/openapi.json"]
    words = ["predict", server.url, rows(HEADER + LINES[0]), "--probabilities"]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("class,probabilities[0],probabilities[1]\n")
    assert main([*words, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["probabilities"] == [0.25, 0.75]


def test_probabilities_that_are_no_output_are_asked_for(
    server: Protocol, rows: Rows, capsys: Out
) -> None:
    server.pages["/v2/models/ages"]["outputs"] = OUTPUTS[:1]
    server.pages["/openapi.json"] = {}
    server.instead = [(400, {}, {"error": "parameters.probabilities: the model gives none"})]
    assert main(["predict", server.url, rows(HEADER + LINES[0]), "--probabilities"]) == 2
    assert "row 1: parameters.probabilities: the model gives none" in capsys.readouterr().err
    assert server.asked[0]["parameters"] == {"probabilities": True}


class TestJsonLines:
    def test_objects_and_nested_lists(self, server: Protocol, rows: Rows, capsys: Out) -> None:
        one = {"age": 70, "colour": "", "member": False, "place": [[1], [2.5]], "more": 1}
        two = {"age": 7, "colour": None, "member": None, "place[0]": 1, "place[1]": None}
        text = f"{json.dumps(one)}\n\n{json.dumps(two)}\n"
        assert main(["predict", server.url, rows(text, "rows.jsonl")]) == 0
        assert capsys.readouterr().out == "class\nold\nyoung\n"
        data = {item["name"]: item["data"] for item in server.asked[0]["inputs"]}
        assert data == {
            "age": [70, 7],
            "colour": ["", None],
            "member": [False, None],
            "place": [1, 2.5, 1, None],
        }

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("{", "row 1 is not JSON"),
            ("[1]", "row 1: an object with age, colour, member, place[0] to place[1] is wanted"),
            ('{"age": 1}', "row 1, column 'colour' is missing"),
            (
                '{"age": 1.5, "colour": "", "member": true, "place": [1, 2]}',
                "row 1, column 'age': 1.5 is not a whole number (INT64)",
            ),
            (
                '{"age": 1, "colour": 2, "member": true, "place": [1, 2]}',
                "row 1, column 'colour': 2 is not a string",
            ),
            (
                '{"age": 1, "colour": "", "member": 1, "place": [1, 2]}',
                "row 1, column 'member': 1 is not true or false",
            ),
            (
                '{"age": 1, "colour": "", "member": true, "place": [1, Infinity]}',
                "row 1, column 'place[1]': Infinity is not a finite number",
            ),
            (
                '{"age": 1, "colour": "", "member": true, "place": [1]}',
                "row 1, column 'place': 1 values, the model takes 2",
            ),
        ],
    )
    def test_errors_name_row_and_column(
        self, server: Protocol, rows: Rows, capsys: Out, line: str, said: str
    ) -> None:
        assert main(["predict", server.url, rows(line, "rows.ndjson")]) == 2
        assert said in capsys.readouterr().err
        assert not server.asked


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; a first line with the names of columns is wanted"),
        (HEADER, "there are no rows"),
        ("age,colour,member\n", "the column 'place[0]' is missing; the model takes age, colour, "),
        ("ag,colour,member\n", "place[1]; the file has 'ag', 'colour', 'member'\n"),
        ("age;colour;member\n1;red;1\n", "is it separated by semicolons? Commas are wanted"),
        ("age\tcolour\n1\tred\n", "is it separated by tabs? Commas are wanted"),
        ("1,2.5,,3\n1,2,3,4\n", "is its first line a row? The names of the columns are wanted"),
        ("age,age,colour,member,place[0],place[1]\n", "the column 'age' is there 2 times"),
        (HEADER + "n,1,red,true,1\n", "row 1 has 5 cells, the header names 6"),
        (HEADER + LINES[0] + "n,1,red,true,old,2\n", "row 2, column 'age': 'old' is not a whole"),
        (HEADER + "n,1,red,true,1.5,2\n", "row 1, column 'age': '1.5' is not a whole number"),
        (HEADER + "n,1,red,perhaps,1,2\n", "row 1, column 'member': 'perhaps' is not true or"),
        (HEADER + "n,inf,red,true,1,2\n", "row 1, column 'place[1]': 'inf' is not a finite"),
        (HEADER + "n,1_0,red,true,1,2\n", "row 1, column 'place[1]': '1_0' is not a finite"),
        (HEADER + 'n,"1,red,true,1,2\n', "line 2: unexpected end of data"),
    ],
)
def test_a_wrong_file_is_named_with_row_and_column(
    server: Protocol, rows: Rows, capsys: Out, text: str, said: str
) -> None:
    assert main(["predict", server.url, rows(text)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert len(error) < 1000


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rows.xlsx", "Excel is not read here; write CSV: frame.to_csv('rows.csv', index=False)"),
        ("rows.parquet", "Parquet is not read here"),
        ("rows.json", "a JSON array is not read here; write JSON lines: frame.to_json("),
        (".", "is a folder; name a file"),
    ],
)
def test_another_form_is_told_what_to_write(
    server: Protocol, rows: Rows, tmp_path: Path, capsys: Out, name: str, said: str
) -> None:
    file = str(tmp_path) if name == "." else rows("[]", name)
    assert main(["predict", server.url, file]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[\n{}\n]\n", '[{"age": 1}]\n'])
def test_an_array_is_no_json_lines(server: Protocol, rows: Rows, capsys: Out, text: str) -> None:
    assert main(["predict", server.url, rows(text), "--format", "jsonl"]) == 2
    assert "write JSON lines: frame.to_json(" in capsys.readouterr().err


def test_a_value_that_the_model_refuses_is_looked_for(
    server: Protocol, rows: Rows, capsys: Out
) -> None:
    server.refused_age = 77
    assert main(["predict", server.url, rows(HEADER + "".join(LINES[:100]))]) == 2
    assert ": row 77: inputs: the model was not fitted on such" in capsys.readouterr().err
    assert len(server.asked) < 20


def test_missing_cells_are_null(server: Protocol, rows: Rows) -> None:
    assert main(["predict", server.url, rows(HEADER + "n,NaN,,NA,1.0,\n")]) == 0
    data = {item["name"]: item["data"] for item in server.asked[0]["inputs"]}
    assert data == {"age": [1], "colour": [None], "member": [None], "place": [None, None]}


def test_what_the_server_refuses_is_a_row_and_a_column(
    server: Protocol, rows: Rows, capsys: Out
) -> None:
    said = "inputs[3].data[5]: null is not allowed here"
    server.instead = [(400, {}, {"error": said})]
    file = rows(HEADER + "".join(LINES[:3]))
    assert main(["predict", server.url, file]) == 2
    assert "row 3, column 'place[1]': null is not allowed here" in capsys.readouterr().err
    server.instead = [(500, {}, {"error": "the model failed"})]
    assert main(["predict", server.url, file]) == 1
    assert capsys.readouterr().err.endswith("rows 1 to 3: HTTP 500: the model failed\n")


def test_a_busy_server_is_asked_again_and_not_for_ever(
    server: Protocol, rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(
        "trimtab.cli.predict.Endpoint", lambda url: Endpoint(url, pause=waited.append)
    )
    busy = (503, {"Retry-After": "2"}, {"error": "too many requests are waiting"})
    server.instead = [busy, busy]
    file = rows(HEADER + LINES[0])
    assert main(["predict", server.url, file]) == 0
    assert waited == [2.0, 3.0]
    server.instead = [busy] * 20
    assert main(["predict", server.url, file]) == 1
    assert "HTTP 503: too many requests are waiting" in capsys.readouterr().err
    assert len(waited) == 2 + MOST_TRIES - 1
    assert max(waited) <= 30


def test_a_connection_that_the_server_ended_is_opened_again(
    server: Protocol, rows: Rows, capsys: Out
) -> None:
    server.hangs_up = True
    assert main(["predict", server.url, rows(HEADER + "".join(LINES))]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 601


def test_a_batch_that_is_too_large_is_halved(server: Protocol, rows: Rows, capsys: Out) -> None:
    server.most_rows = 100
    assert main(["predict", server.url, rows(HEADER + "".join(LINES[:256]))]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 257
    asked = [len(body["inputs"][0]["data"]) for body in server.asked]
    assert asked == [256, 128, 64, 64, 128, 64, 64]
    server.most_rows = 0
    assert main(["predict", server.url, rows(HEADER + LINES[0])]) == 2


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ({"/v1/models": {"models": ["a", "b"]}}, "serves a, b: name the model, "),
        ({"/v1/models": None}, "does not say what it serves: name the model"),
        ({"/v2/models/ages": None}, "HTTP 404: no"),
        ({"/v2/models/ages": []}, "did not answer with a JSON object"),
        ({"/v2/models/ages": {}}, "names no inputs"),
        ({"/v2/models/ages": {"inputs": [{"name": "x"}]}}, "describes no tensor"),
        (
            {"/v2/models/ages": {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, INF]}]}},
            "describes no tensor",
        ),
        ({"/v2/models/ages": {"inputs": [{"nome": "x" * 10_000}]}}, "describes no tensor: {'nome"),
        ({"/v1/models": {"models": ["a\x1b]0;title\x07", "b"]}}, "serves a\ufffd]0;title\ufffd, b"),
        (
            {"/v2/models/ages": {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, -1]}]}},
            "'x' has the shape [1, -1], which is none of rows",
        ),
    ],
)
def test_another_kind_of_server_is_one_sentence(
    server: Protocol, rows: Rows, capsys: Out, pages: dict[str, Any], said: str
) -> None:
    server.pages |= pages
    assert main(["predict", server.url, rows(HEADER + LINES[0])]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "listed", [{"models": [{"name": "ages"}]}, [{"name": "ages", "state": "READY"}]]
)
def test_a_list_of_models_has_several_forms(server: Protocol, rows: Rows, listed: Any) -> None:
    server.pages |= {"/v2/models": listed, "/v1/models": None}
    assert main(["predict", server.url, rows(HEADER + LINES[0])]) == 0


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"outputs": []},
        {"outputs": [OUTPUTS[0] | {"shape": [2], "data": ["a"]}]},
        {"outputs": [OUTPUTS[0] | {"shape": [INF], "data": ["a"]}]},
    ],
)
def test_an_answer_that_is_none_is_said(
    server: Protocol, rows: Rows, capsys: Out, answer: Any
) -> None:
    server.instead = [(200, {}, answer)]
    assert main(["predict", server.url, rows(HEADER + LINES[0])]) == 1
    assert "the answer has no outputs" in capsys.readouterr().err


def test_an_answer_is_bounded(
    server: Protocol, rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setattr("trimtab.cli.endpoint.LARGEST_ANSWER_BYTES", 1000)
    assert main(["predict", server.url, rows(HEADER + "".join(LINES))]) == 1
    assert "the answer has more than 1,000 bytes" in capsys.readouterr().err


def test_nothing_listens(rows: Rows, capsys: Out) -> None:
    assert main(["predict", "http://127.0.0.1:1", rows(HEADER + LINES[0])]) == 1
    assert capsys.readouterr().err == "error: http://127.0.0.1:1: nothing listens there\n"


def test_a_redirect_is_not_followed(server: Protocol) -> None:
    server.instead = [(301, {"Location": "https://elsewhere/"}, {})]
    endpoint = Endpoint(server.url)
    with pytest.raises(NotAnswered, match="leads to https://elsewhere/: name the final"):
        endpoint.infer(endpoint.model(), {"inputs": []})
    endpoint.close()


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://x", "http://", "http://x:0", "http://a b"]
)
def test_what_is_no_url_is_wrong_usage(url: str, capsys: Out) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", url, "rows.csv"])
    assert ended.value.code == 2
    assert "is not http://HOST:PORT" in capsys.readouterr().err


class TestFiles:
    def test_a_file_is_whole_or_not_there(
        self, server: Protocol, rows: Rows, tmp_path: Path, capsys: Out
    ) -> None:
        file = tmp_path / "answers.csv"
        words = ["predict", server.url, rows(HEADER + "".join(LINES)), "-o", str(file)]
        server.instead = [(500, {}, {"error": "bad"})]
        assert main(words) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv"]
        assert main(words) == 0
        assert len(file.read_text().splitlines()) == 601
        assert capsys.readouterr().out == ""
        assert main([*words[:-1], str(tmp_path / "no" / "x.csv")]) == 2

    def test_packed_and_piped(
        self, server: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
    ) -> None:
        file = tmp_path / "rows.csv.gz"
        file.write_bytes(gzip.compress(("\ufeff" + HEADER + LINES[0]).encode()))
        assert main(["predict", server.url, str(file)]) == 0
        piped = io.TextIOWrapper(io.BytesIO((HEADER + LINES[0]).encode()), encoding="ascii")
        monkeypatch.setattr("sys.stdin", piped)
        assert main(["predict", server.url, "-"]) == 0
        assert capsys.readouterr().out == "class\nyoung\n" * 2
        file.write_bytes(b"no gzip")
        assert main(["predict", server.url, str(file)]) == 2

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("none.csv", "cannot be read: no such file or directory"),
            ("rows.parquet", "Parquet is not read here; write CSV"),
            ("rows", "is it CSV or JSON lines? say --format csv or --format jsonl"),
        ],
    )
    def test_a_file_that_is_none(
        self, server: Protocol, tmp_path: Path, capsys: Out, name: str, said: str
    ) -> None:
        assert main(["predict", server.url, str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err

    def test_bytes_that_are_no_text(self, server: Protocol, tmp_path: Path, capsys: Out) -> None:
        (tmp_path / "rows.csv").write_bytes(b"\xff\xfe\x00")
        assert main(["predict", server.url, str(tmp_path / "rows.csv")]) == 2
        assert "is not UTF-8 text" in capsys.readouterr().err


def test_a_vector_of_one_may_be_named_either_way(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    for header, shape in (("x", (1,)), ("x[0]", (1,)), ("x", ()), ("x[0]", ())):
        file.write_text(f"{header}\n1\n")
        (row,) = read_rows(file, "csv", [Tensor("x", "FP64", shape)])
        assert row.cells == ([1.0],)
    file.write_text("y\n1\n")
    with pytest.raises(RowsBroken, match="the column 'x' is missing"):
        list(read_rows(file, "csv", [Tensor("x", "FP64", ())]))


def test_batches_are_bounded() -> None:
    def rows(count: int, characters: int) -> list[Row]:
        return [Row(number, ([1],), characters) for number in range(count)]

    assert [len(some) for some in batches(rows(600, 1), 1)] == [BATCH_ROWS, BATCH_ROWS, 88]
    assert [len(some) for some in batches(rows(5, 1), 30_000)] == [2, 2, 1]
    assert [len(some) for some in batches(rows(3, BATCH_CHARACTERS), 1)] == [1, 1, 1]
    assert list(batches([], 1)) == []


def test_a_refusal_has_its_status(server: Protocol) -> None:
    endpoint = Endpoint(server.url)
    server.instead = [(404, {}, "no object")]
    with pytest.raises(RefusedByServer) as refused:
        endpoint.infer(endpoint.model(), {"inputs": []})
    endpoint.close()
    assert refused.value.status == 404
