"""What the command line of conform takes, prints and exits with."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from trimtab.cli.main import main
from trimtab.cli.offline import conform as command
from trimtab.conform.container import Asked
from trimtab.conform.rows import Row, Verdict
from trimtab.conform.run import checks

PAGE = (Path(__file__).parents[3] / "docs" / "conformance.md").read_text()
ROWS = [
    Row("infer", True, Verdict.PASS, "200"),
    Row("request id", True, Verdict.FAIL, "id is None", "echo the request's id"),
    Row("OpenMetrics", False, Verdict.SKIP, "needs `metrics page` to pass"),
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Answer with `ROWS` in place of asking a container."""
    found: list[Asked] = []

    async def conform(one: Asked) -> list[Row]:
        found.append(one)
        return ROWS

    monkeypatch.setattr(command, "conform", conform)
    return found


def test_the_table_says_what_to_do(asked: list[Asked], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "http://localhost:8080/"]) == 1
    assert capsys.readouterr().out == (
        "CHECK        NEED      VERDICT  SEEN\n"
        "infer        required  pass     200\n"
        "request id   required  fail     id is None; echo the request's id\n"
        "OpenMetrics  optional  skip     needs `metrics page` to pass\n"
        "\n"
        "3 checks: 1 pass, 1 fail, 1 skip; 1 required checks failed\n"
    )
    assert asked[0].url == "http://localhost:8080"
    assert asked[0].metrics_url == "http://localhost:9090"


def test_json_has_the_same(asked: list[Asked], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "http://[::1]:8080", "--output", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["conformant"] is False
    assert told["checks"][1]["do"] == "echo the request's id"
    assert asked[0].metrics_url == "http://[::1]:9090"


def test_a_failed_optional_check_is_no_failure(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(globals(), "ROWS", [Row("OpenMetrics", False, Verdict.FAIL, "a", "b")])
    assert main(["conform", "http://localhost:8080"]) == 0
    assert "; no required checks failed\n" in capsys.readouterr().out


def test_nobody_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        assert main(["conform", url]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"error: {url} does not answer: ")
    assert told.err.count("\n") == 1
    assert not told.out


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"inputs": []}', '{"inputs": [{"name": "x"}]}', '{"inputs": [{"data": [1]}]}'],
)
def test_a_request_that_is_none_is_refused(
    content: str, asked: list[Asked], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "request.json"
    file.write_text(content)
    assert main(["conform", "http://localhost", "--request", str(file)]) == 2
    assert f"--request {file}: " in capsys.readouterr().err
    assert not asked


@pytest.mark.parametrize(
    "arguments",
    [
        ["localhost:8080"],
        ["ftp://localhost"],
        ["http://localhost:99999"],
        ["http://localhost", "--drain", "1"],
        ["http://localhost", "--drain", "me"],
        ["http://localhost", "--drain", "77", "--drain-command", "true"],
        ["http://localhost", "--drain-command", "'"],
        ["http://localhost", "--grace", "0"],
        ["http://localhost", "--timeout", "nan"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["conform", *arguments])
    assert left.value.code == 2
    assert "error: argument" in capsys.readouterr().err


def test_the_page_names_options_and_checks_that_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["conform", "--help"])
    named = set(re.findall(r"--[a-z][a-z-]+", PAGE))
    assert len(named) >= 5
    assert named <= set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    shown = re.findall(r"^(\S.*?) +(required|optional) +(?:pass|fail|skip) ", PAGE, re.MULTILINE)
    known = {(one.name, "required" if one.is_required else "optional") for one in checks(1.0)}
    assert len(shown) > 5
    assert set(shown) <= known
