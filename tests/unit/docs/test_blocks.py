"""No block of a page escapes its test: each has a language, and text hides no command."""

import re

import pytest
from tests.pages.blocks import LANGUAGES, Block, blocks, of_language, pages

_PROGRAMS = re.compile(r"^\s*(\$ |(sudo )?(kubectl|helm|trimtab|make|pip|curl|docker)( |$))")


def test_every_fence_is_a_block() -> None:
    marks = sum(page.read_text().count("```") for page in pages())
    assert marks == 2 * len(blocks())


def test_every_block_has_a_language() -> None:
    assert [block.place for block in blocks() if block.language not in LANGUAGES] == []


def test_text_hides_no_command() -> None:
    hidden = [
        (block.place, line)
        for block in of_language("text")
        for line in block.text.splitlines()
        if _PROGRAMS.match(line)
    ]
    assert hidden == []


@pytest.mark.parametrize(
    ("block", "commands"),
    [
        (
            Block("page", 1, "sh", "# why\nhelm a \\\n  --set b\n\nmake c\n"),
            ["helm a --set b", "make c"],
        ),
        (Block("page", 1, "console", "$ trimtab a\nprinted\n"), ["trimtab a"]),
        (Block("page", 1, "text", "make c\n"), []),
    ],
    ids=["continued", "after_the_prompt", "none_in_text"],
)
def test_commands_of_a_block(block: Block, commands: list[str]) -> None:
    assert block.commands() == commands


def test_what_a_console_prints_is_not_a_command() -> None:
    assert Block("page", 1, "console", "$ trimtab a\nprinted\n").printed() == ["printed"]
