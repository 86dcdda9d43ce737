"""Which trials lose their checkpoints, and in which order."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.orchestrator.resources.checkpoints import KeptCheckpoints, discard_checkpoints, over_limit, size_of
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State, TrialRecord
from tests.record.trials import trial_of


@pytest.mark.parametrize(
    ("kept", "limit", "discarded"),
    [
        ([], 0, []),
        ([(0, 0.5, 10.0), (1, 0.3, 10.0)], 20, []),
        ([(0, 0.5, 10.0), (1, 0.3, 10.0), (2, 0.4, 10.0)], 20, [1]),
        ([(0, 0.5, 10.0), (1, 0.3, 10.0), (2, 0.4, 10.0)], 0, [1, 2, 0]),
        ([(0, -math.inf, 10.0), (1, -5.0, 10.0)], 10, [0]),
        ([(0, 0.1, 0.0), (1, 0.3, 10.0)], 5, [1]),  # a trial without checkpoints frees no space
    ],
)
def test_the_checkpoints_of_the_worst_trials_are_discarded_first(
    kept: list[tuple[int, float, float]], limit: float, discarded: list[int]
) -> None:
    assert over_limit(kept, limit) == discarded


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 100)), max_size=12), st.floats(0, 500))
def test_the_kept_checkpoints_fit_the_limit(trials: list[tuple[float, float]], limit: float) -> None:
    kept = [(number, quality, size) for number, (quality, size) in enumerate(trials)]
    discarded = over_limit(kept, limit)
    assert sum(size for number, _, size in kept if number not in discarded) <= limit + 1e-6


def test_what_is_kept_of_a_librarys_checkpoints_counts_and_goes_too(tmp_path: Path) -> None:
    record = trial_of()
    trial = SweepDir(tmp_path).trial(0)
    record = replace(record, directory=trial)
    (trial.kept / "step-000000004" / "deep").mkdir(parents=True)
    (trial.kept / "step-000000004" / "deep" / "model").write_bytes(b"x" * 1000)
    trial.checkpoints.mkdir()
    (trial.checkpoints / "step-000000004.3fa94c01d2e7b655.pt").write_bytes(b"x" * 10)
    assert size_of(record) == 1010
    discard_checkpoints(trial)
    assert not trial.kept.exists()
    assert size_of(record) == 0
    assert trial.path.exists()


class _Trials:
    def __init__(self, pruned: list[TrialRecord]) -> None:
        self.pruned = pruned

    def count(self, *_: State) -> int:
        return len(self.pruned)

    def in_state(self, _: State) -> list[TrialRecord]:
        return self.pruned


def test_a_trial_that_a_repair_will_continue_keeps_its_checkpoints(tmp_path: Path) -> None:
    pruned = []
    for number in (0, 1):
        trial = SweepDir(tmp_path).trial(number)
        trial.checkpoints.mkdir(parents=True)
        (trial.checkpoints / "step-000000004.3fa94c01d2e7b655.pt").write_bytes(b"x" * 10)
        pruned.append(replace(trial_of(number=number), directory=trial))
    kept, trials = KeptCheckpoints(limit_gb=0), _Trials(pruned)
    assert kept.to_discard(trials, lambda: {0}) == [1]  # type: ignore[arg-type]
    assert kept.to_discard(trials, lambda: {0}) == []  # type: ignore[arg-type]  # nothing has changed
    assert kept.to_discard(trials, set) == [0, 1]  # type: ignore[arg-type]  # its repair was made, or given up
    assert kept.to_discard(trials, lambda: pytest.fail("nothing is awaited")) == []  # type: ignore[arg-type]
