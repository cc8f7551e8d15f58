"""Errors are one line, usage errors are argparse's."""

from __future__ import annotations

import os

import pytest

from trimtab.cli.main import main, parser


@pytest.mark.parametrize(
    "arguments", [["-n", "shop", "get"], ["get", "-n", "shop"], ["-n", "a", "get", "-n", "shop"]]
)
def test_the_namespace_may_stand_on_either_side(arguments: list[str]) -> None:
    assert parser().parse_args(arguments).namespace == "shop"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nope"],
        ["why"],
        ["pause", "x", "--wait", "-1"],
        ["retrain", "x", "--since", "soon"],
        ["-n", "a/b", "get"],
        ["dashboard", "--board", "x"],
        ["handover"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("trimtab.cli.offline.simulate.simulate", interrupted)
    assert main(["simulate", os.curdir]) == 130
    assert capsys.readouterr().err == ""
