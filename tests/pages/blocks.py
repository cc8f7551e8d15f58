"""The fenced blocks of README and docs: what stands in them, and the commands among it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
LANGUAGES = ("sh", "console", "yaml", "python", "text")
"""sh: commands. console: commands after `$ `, and what they print. text: nothing to run."""
VALUES_MARK = "# values.yaml\n"
"""First line of a YAML block with values of the chart."""

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = "$ "


@dataclass(frozen=True)
class Block:
    """One fenced block; `page` is relative to the root, `line` that of the opening fence."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for messages and test ids."""
        return f"{self.page}:{self.line}"

    def commands(self) -> list[str]:
        """Return the commands, continued lines joined by a blank."""
        if self.language == "sh":
            text = self.text
        elif self.language == "console":
            own = [line for line in self.text.splitlines() if line.startswith(_PROMPT)]
            text = "\n".join(line.removeprefix(_PROMPT) for line in own)
        else:
            return []
        joined = re.sub(r"\s*\\\n\s*", " ", text)
        lines = (line.strip() for line in joined.splitlines())
        return [line for line in lines if line and not line.startswith("#")]

    def printed(self) -> list[str]:
        """Return what the command of a console block prints, as shown."""
        return [line for line in self.text.splitlines() if not line.startswith(_PROMPT)]

    def documents(self) -> list[dict[str, Any]]:
        """Return the objects of a YAML block."""
        return [document for document in yaml.safe_load_all(self.text) if document]


def pages() -> list[Path]:
    """Return README and every page below docs, generated ones too."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def blocks() -> tuple[Block, ...]:
    """Return every fenced block of every page."""
    return tuple(block for page in pages() for block in _blocks_of(page))


def of_language(language: str) -> list[Block]:
    """Return the blocks of one language."""
    return [block for block in blocks() if block.language == language]


def all_commands() -> set[str]:
    """Return every command that a page tells to run."""
    return {command for block in blocks() for command in block.commands()}


def _blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        yield Block(str(page.relative_to(ROOT)), line, fence["language"], fence["text"])
