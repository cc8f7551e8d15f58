"""Commands within a sentence: verbs, options and extras that exist."""

from __future__ import annotations

import re
import tomllib

import pytest
from tests.e2e.docs.story import STORY
from tests.pages.blocks import ROOT, pages

from trimtab.cli.main import parser

_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
PLACEHOLDER = "COMMAND"


def spans(program: str) -> list[str]:
    """Return the code spans of all pages that begin with a program and have words after it."""
    texts = (_BLOCK.sub("", page.read_text()) for page in pages())
    found = {" ".join(span.split()) for text in texts for span in _SPAN.findall(text)}
    return sorted(span for span in found if span.startswith(f"{program} "))


def test_verbs_of_make_exist() -> None:
    verbs = re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {span.split()[1] for span in spans("make")}
    assert named - {"help"} <= {*verbs, "setup"}
    assert len(named) >= 4


def test_extras_of_pip_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {one for span in spans("pip") for one in re.findall(r"\[(.*)\]", span)}
    extras = {extra for one in named for extra in one.split(",")}
    assert extras
    assert extras <= set(project["optional-dependencies"])


@pytest.mark.parametrize("span", [s for s in spans("trimtab") if PLACEHOLDER not in s])
def test_arguments_of_trimtab_are_understood(span: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = span.replace("/NAME", "/digits").replace(" NAMESPACE", " shop").split()[1:]
    # A verb alone is spoken of, not called.
    words = words if len(words) > 1 and not words[1].startswith("-") else [words[0], "--help"]
    assert _exit_code(words) == 0, capsys.readouterr().err


def _exit_code(words: list[str]) -> object:
    try:
        parser().parse_args(words)
    except SystemExit as left:
        return left.code
    return 0


@pytest.mark.parametrize(
    "span", [s for s in spans("kubectl") + spans("helm") if PLACEHOLDER not in s]
)
def test_a_blocks_command_is_meant_on_the_cluster(span: str) -> None:
    assert any(step.command.startswith(span) for step in STORY)
