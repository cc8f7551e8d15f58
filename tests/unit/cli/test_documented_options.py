"""Every option of lint and replay that the page of policies names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trimtab.cli.main import main

PAGE = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()
SECTION = PAGE.partition("## lint: before you apply")[2]


def test_named_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    helped = ""
    for command in ("lint", "replay"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        helped += capsys.readouterr().out
    named = set(re.findall(r"--[a-z][a-z-]+", SECTION))
    assert len(named) > 15
    assert named <= set(re.findall(r"--[a-z][a-z-]+", helped))
