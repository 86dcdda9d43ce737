"""What audits have shown so far, of all runs that lie side by side: a projection of their records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sweeper.backtest.case import Recording
from sweeper.backtest.reading import read_recording
from sweeper.errors import UsageError
from sweeper.record.layout import SweepDir, TrialDir
from sweeper.rules.audit import Ledger, pooled

MARK = b'"event":"Condemned"'


def outcomes(recording: Recording) -> Iterator[tuple[str, bool]]:
    """Of the condemned trials that ran to their ends, in that order: the rule's version, and whether it learned."""
    for case in sorted(recording.cases, key=lambda case: case.ended):
        if case.condemned_by:
            yield case.condemned_by, recording.is_learner(case)


def ledgers(runs: Iterable[SweepDir]) -> Mapping[str, Ledger]:
    """By version of a rule, what became of the trials that it condemned and that were let run on, in all the runs.

    Who is a learner is judged among the siblings that have ended; of a run with fewer than two there is nothing to say.
    """
    return pooled(outcome for run in runs for outcome in _of_run(run))


def runs_beside(run: SweepDir) -> list[SweepDir]:
    """All runs in the same directory, this one among them, in the order of their names."""
    return [SweepDir(path) for path in sorted(run.path.parent.iterdir()) if SweepDir(path).spec.exists()]


def _of_run(run: SweepDir) -> list[tuple[str, bool]]:
    if not any(_mentions(trial) for trial in run.trials()):
        return []
    try:
        return list(outcomes(read_recording(run.path, metric=None, goal=None)))
    except UsageError:  # no siblings to judge by: nothing is known
        return []


def _mentions(trial: TrialDir) -> bool:
    try:
        return MARK in trial.control.read_bytes()
    except OSError:
        return False
