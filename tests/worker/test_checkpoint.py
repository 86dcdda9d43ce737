"""Which checkpoints are kept: the newest two, and older ones the denser the newer they are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.worker import checkpoint
from sweeper.worker.checkpoint import KEPT, kept_steps


def kept_of(gaps: Sequence[int], older: int) -> list[tuple[int, frozenset[int]]]:
    """Save after these gaps, one after another; return each newest step and what is kept then."""
    kept, now, found = frozenset[int](), -1, []
    for gap in gaps:
        now += gap
        kept = kept_steps([*kept, now], older)
        found.append((now, kept))
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=150), st.integers(0, 8))
def test_the_newest_two_are_kept_and_no_more_than_allowed(gaps: list[int], older: int) -> None:
    saved: list[int] = []
    for now, kept in kept_of(gaps, older):
        saved.append(now)
        assert kept >= set(saved[-KEPT:])
        assert kept <= set(saved)
        assert len(kept) == min(len(saved), KEPT + older)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=3, max_size=300), st.integers(2, 8))
def test_for_each_age_a_checkpoint_is_kept_that_is_older_by_at_most_a_factor(gaps: list[int], older: int) -> None:
    """The factor is the one that so many points allow on a logarithmic scale, up to a constant."""
    for now, kept in kept_of(gaps, older):
        ages = sorted({now - step + 1 for step in kept} | {now + 2})  # the oldest is the start
        factor = max(later / age for age, later in itertools.pairwise(ages))
        assert factor <= 2 * max(gaps) * (now + 2) ** (1 / older)


@pytest.mark.parametrize(("older", "most"), [(2, 22.0), (4, 7.5), (8, 3.0)])
def test_with_regular_saves_the_factor_is_small(older: int, most: float) -> None:
    now, kept = kept_of([1] * 1000, older)[-1]
    ages = sorted(now - step + 1 for step in kept)
    assert max(later / age for age, later in itertools.pairwise(ages)) <= most


def test_saves_prune_as_it_is_said(tmp_path: Path) -> None:
    for step in range(12):
        checkpoint.save(tmp_path / "checkpoints", {"step": step}, step=step, older=2)
    there = [checkpoint.step_of(path) for path in checkpoint.checkpoints(tmp_path / "checkpoints")]
    assert there == sorted(kept_of([1] * 12, 2)[-1][1], reverse=True)
    assert len(there) == KEPT + 2
    checkpoint.save(tmp_path / "checkpoints", {"step": 12}, step=12)
    assert [checkpoint.step_of(path) for path in checkpoint.checkpoints(tmp_path / "checkpoints")] == [12, 11]


def test_a_trial_that_began_anew_keeps_what_it_saves(tmp_path: Path) -> None:
    """Checkpoints of later steps are there from before: the one that was just saved is not pruned."""
    saved = [checkpoint.save(tmp_path / "checkpoints", {"step": step}, step=step) for step in (50, 60, 70, 3)]
    assert saved[-1].exists()
