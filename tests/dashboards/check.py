"""All dashboards in both themes and two widths, then without rules, then without any data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.settings import REPOSITORY
from tests.dashboards.boards import Board
from tests.dashboards.browser import Seen, Wanted, look
from tests.dashboards.built import Built
from tests.dashboards.judge import Verdict, judge, problems_of_page
from tests.dashboards.pictures import shrink
from tests.dashboards.server import (
    Server,
    read_recording,
    serving,
)

from trimtab.cli.tables import columns

PICTURES = REPOSITORY / "docs/pictures"
THEMES = ("dark", "light")
WIDTHS = (1280, 1920)
OF_DEMO = {"namespace": "trimtab-quickstart", "deployment": "digits"}
RULES = r"namespace\w*:"
"""Names of the recording rules' series."""


@dataclass(frozen=True)
class Sheet:
    """One dashboard as it was looked at, with a verdict on each panel."""

    board: Board
    under: str
    problems: list[str]
    verdicts: list[Verdict]

    def found(self) -> list[str]:
        """Return all that is wrong, in words."""
        own = [f"{self.board.name}, {self.under}: {problem}" for problem in self.problems]
        return own + [
            f"{self.board.name}, {self.under}, {verdict.title}: {problem}"
            for verdict in self.verdicts
            for problem in verdict.problems
        ]


def check(
    built: Built,
    boards: Sequence[Board],
    recorded: Path,
    folder: Path,
    pictures: Path | None = PICTURES,
) -> tuple[str, bool]:
    """Return a table with all that is wrong, and whether nothing is."""
    recording = read_recording(recorded)
    times = recording.begin, recording.end
    sheets: list[Sheet] = []
    with serving(recording, folder / "recorded") as server:
        for theme in THEMES:
            for width in WIDTHS:
                kept = pictures if (theme, width) == ("dark", 1280) else None
                wanted = [_wanted(board, server, times, theme, width, kept) for board in boards]
                sheets += _judged(boards, look(built, wanted), f"{theme} {width}")
    with serving(recording.without(RULES), folder / "without-rules") as server:
        wanted = [_wanted(board, server, times) for board in boards]
        sheets += _judged(boards, look(built, wanted), "without rules", may_be_empty=True)
    with serving(None, folder / "empty") as server:
        wanted = [_wanted(board, server, times) for board in boards]
        sheets += _judged(boards, look(built, wanted), "no data", may_be_empty=True)
    if pictures is not None:
        for board in boards:
            shrink(pictures / f"{board.name}.png")
    return _table(boards, sheets)


def draw(
    built: Built, server: Server, begin: int, end: int, boards: Sequence[Board], to: Path
) -> list[str]:
    """Write a picture of each dashboard; return what is wrong, in words."""
    to.mkdir(exist_ok=True)
    wanted = [_wanted(board, server, (begin, end), pictures=to) for board in boards]
    return [
        found for sheet in _judged(boards, look(built, wanted), "now") for found in sheet.found()
    ]


def _wanted(
    board: Board,
    server: Server,
    times: tuple[int, int],
    theme: str = "dark",
    width: int = 1280,
    pictures: Path | None = None,
) -> Wanted:
    picture = None if pictures is None else pictures / f"{board.name}.png"
    return Wanted(board.file, server, *times, theme, width, board.chosen(OF_DEMO), picture)


def _judged(
    boards: Sequence[Board], seen: Sequence[Seen], under: str, *, may_be_empty: bool = False
) -> list[Sheet]:
    return [
        Sheet(board, under, problems_of_page(one), judge(board, one, may_be_empty=may_be_empty))
        for board, one in zip(boards, seen, strict=True)
    ]


def _table(boards: Sequence[Board], sheets: Sequence[Sheet]) -> tuple[str, bool]:
    """Return the counts of each dashboard, all of them with data, and what is wrong.

    A panel counts as drawn, with data and so on if it is so each time that there are data.
    """
    rows: list[tuple[str, ...]] = [
        ("DASHBOARD", "PANELS", "DRAWN", "WITH DATA", "EMPTY WITH A REASON", "AS THE QUERY")
    ]
    sums = [0, 0, 0, 0, 0]
    for board in boards:
        usual = [s.verdicts for s in sheets if s.board is board and s.under.split()[0] in THEMES]
        panels = list(zip(*usual, strict=True))
        counts = [
            len(panels),
            sum(all(one.is_drawn for one in each) for each in panels),
            sum(all(one.has_data for one in each) for each in panels),
            sum(all(one.reason for one in each) for each in panels),
            sum(all(one.is_equal for one in each) for each in panels),
        ]
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
        rows.append((board.name, *map(str, counts)))
    rows.append(("all", *map(str, sums)))
    found = [text for sheet in sheets for text in sheet.found()]
    panels_, drawn, with_data, reason, equal = sums
    is_well = not found and panels_ == drawn == with_data + reason and equal == with_data > 0
    views = f"{len(THEMES)} themes x {len(WIDTHS)} widths, without rules, without data"
    goal = "goal: all drawn; with data or with a reason; as the query says; no error"
    lines = [columns(rows), f"looked at: {views}: {len(sheets)} pages", *found[:60]]
    return "\n".join([*lines, f"{goal}: {'meets' if is_well else 'misses'}"]), is_well
