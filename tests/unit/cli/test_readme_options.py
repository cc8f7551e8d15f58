"""Every option of lint and replay that the front page names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trimtab.cli.main import main

README = (Path(__file__).parents[3] / "README.md").read_text()
SECTION = README.partition("## Try a policy before it acts")[2].partition("\n## ")[0]


def test_named_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    helped = ""
    for command in ("lint", "replay"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        helped += capsys.readouterr().out
    named = set(re.findall(r"--[a-z][a-z-]+", SECTION))
    assert len(named) > 15
    assert named <= set(re.findall(r"--[a-z][a-z-]+", helped))
