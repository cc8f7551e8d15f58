"""`make docs` fails on what leads nowhere, and the site that it builds needs no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pages.blocks import ROOT

_FETCHED = re.compile(r'<(?:script|img|link)\b[^>]*(?:src|href)="((?:https?:)?//[^"]+)"')


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the recipe of `make docs` on the pages in a folder."""
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^docs:.*\n\t\$\(BIN\)/mkdocs (.*)$", makefile, re.MULTILINE)
    assert recipe is not None
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", *recipe[1].split()],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the pages."""
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path


def test_builds_and_fetches_nothing(folder: Path) -> None:
    done = build(folder)
    assert done.returncode == 0, done.stderr
    pages = sorted((folder / ".site").rglob("*.html"))
    assert len(pages) > 40
    assert {url for page in pages for url in _FETCHED.findall(page.read_text())} == set()


@pytest.mark.parametrize(
    "text",
    ["[a](nowhere.md)", "[a](serving.md#nowhere)", "[a](#nowhere)", "[a](../README.md)"],
    ids=["page", "anchor", "own_anchor", "outside"],
)
def test_a_dead_link_fails(folder: Path, text: str) -> None:
    page = folder / "docs" / "glossary.md"
    page.write_text(page.read_text() + f"\n{text}\n")
    assert build(folder).returncode != 0


def test_a_page_that_no_menu_has_fails(folder: Path) -> None:
    (folder / "docs" / "orphan.md").write_text("# Orphan\n")
    assert build(folder).returncode != 0
