"""Moments, and blocks of pods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from trimtab.decide.rollout.blocks import MOST_CELLS, MOST_PODS, Blocks, Strata, grouped
from trimtab.stats.counts import BadTotal
from trimtab.stats.sequential import gate_evidence

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=5)


def test_equal_proportions_are_plain_sums() -> None:
    strata = Strata()
    for bad in (1.0, 0.0, 3.0):
        strata = strata.add(BadTotal(bad, 20.0), BadTotal(2 * bad, 60.0))
    ours, theirs = strata.compared()
    assert ours == BadTotal(4.0, 60.0)
    assert theirs.total == pytest.approx(180.0)
    assert theirs.bad == pytest.approx(8.0)


def test_a_bad_moment_while_the_share_grows_is_not_the_candidates() -> None:
    quiet = (BadTotal(0.0, 20.0), BadTotal(0.0, 180.0))
    bad = (BadTotal(18.0, 180.0), BadTotal(10.0, 100.0))
    strata = Strata()
    for ours, theirs in [quiet] * 10 + [bad] * 3:
        strata = strata.add(ours, theirs)
    ours, theirs = strata.compared()
    assert theirs.share == pytest.approx(ours.share)
    pooled = BadTotal(54.0, 740.0), BadTotal(30.0, 2100.0)
    assert gate_evidence(*pooled, 0.005) > 1000
    assert gate_evidence(ours, theirs, 0.005) == 1.0


def test_a_moment_is_open_until_stable_has_enough() -> None:
    strata = Strata().add(BadTotal(1.0, 10.0), BadTotal(0.0, 30.0))
    assert strata.squares == 0
    assert strata.compared() == (BadTotal(1.0, 10.0), BadTotal(0.0, 30.0))
    closed = strata.add(BadTotal(0.0, 10.0), BadTotal(0.0, 30.0))
    assert closed.requests == 20
    assert Strata().compared()[0].total == 0


def test_a_block_that_began_ahead_is_over() -> None:
    """The clock was set back."""
    blocks, _ = Blocks().add({"a": BadTotal(1, 5)}, NOW + timedelta(minutes=10), 2 * INTERVAL)
    blocks, over = blocks.add({"a": BadTotal(3, 4)}, NOW, 2 * INTERVAL)
    assert over == {"a": BadTotal(1, 5)}
    assert (blocks.began, blocks.open) == (NOW, {"a": BadTotal(3, 4)})


def test_blocks_close_in_time_and_their_cells_are_counted() -> None:
    blocks, over = Blocks().add({"a": BadTotal(1, 5)}, NOW, 2 * INTERVAL)
    assert over is None
    blocks, over = blocks.add(
        {"a": BadTotal(0, 5), "b": BadTotal(0, 4)}, NOW + INTERVAL, 2 * INTERVAL
    )
    assert over is None
    blocks, over = blocks.add({"a": BadTotal(0, 5)}, NOW + 2 * INTERVAL, 2 * INTERVAL)
    assert over == {"a": BadTotal(1, 10), "b": BadTotal(0, 4)}
    assert dict(blocks.closed) == {(1, 10): 1, (0, 4): 1}
    assert blocks.cells().share() == pytest.approx(1 / 19)


def test_what_is_remembered_is_bounded() -> None:
    blocks = Blocks()
    for number in range(MOST_CELLS + 10):
        blocks, _ = blocks.add({"a": BadTotal(0, 1 + number)}, NOW + number * INTERVAL, INTERVAL)
    assert len(blocks.closed) == MOST_CELLS
    many = {f"p{number}": BadTotal(1, 10) for number in range(1000)}
    groups = grouped(many)
    assert len(groups) == MOST_PODS
    assert sum(one.total for one in groups.values()) == 10_000
