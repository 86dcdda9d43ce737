"""The outcomes of audits in all runs of a directory, computed from their records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sweeper.backtest.case import Case, Recording
from sweeper.backtest.reading import FEWEST, flagged_by
from sweeper.record.ended import read_states
from sweeper.record.progress import Evaluation
from sweeper.record.storage import confined
from sweeper.record.storage.journal import MOST_AT_ONCE
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.record.trial import State, TrialRecord
from sweeper.results.front import front_of
from sweeper.rules.calibration.audit import AuditOutcomes, pooled

MARKS = (b'"event":"Continued"', b'"event":"Condemned"')
"""What a record contains if a rule flagged the trial and it continued; the second is of format 1."""


def outcomes(trials: Iterable[TrialRecord]) -> list[tuple[str, bool]]:
    """Return the outcomes of the flagged trials of a run that continued to their ends, in the order of their ends.

    Trials are judged by their siblings that have ended; with fewer than two of these, there are no outcomes.

    Returns:
        The version of the rule that flagged the trial, and whether the trial is a learner.
    """
    trials = list(trials)
    cases = [case for trial in trials if (case := _case(trial)) is not None]
    flagged = sorted((case for case in cases if case.flagged_by), key=lambda case: case.ended)
    if not flagged or len(cases) < FEWEST:
        return []
    recording = Recording(name="", metric="", maximize=trials[0].facts.maximize, cases=cases)
    # With several objectives, a trial on the front has learned, whatever its first objective is.
    front = {trial.facts.number for trial in front_of([t for t in trials if t.state is State.COMPLETE])}
    return [(case.flagged_by, case.number in front or recording.is_learner(case)) for case in flagged]


def outcomes_of_runs(runs: Iterable[SweepDir]) -> Iterator[tuple[str, bool]]:
    """Yield the outcomes of several runs, run by run."""
    for run in runs:
        if any(_has_audits(trial) for trial in run.entries()):
            yield from outcomes(read_states(run)[0])


def audits_of_runs(runs: Iterable[SweepDir]) -> Mapping[str, AuditOutcomes]:
    """Return the outcomes in all runs by the version of the rule."""
    return pooled(outcomes_of_runs(runs))


def runs_beside(run: SweepDir) -> list[SweepDir]:
    """Return all runs in the same directory, including this one, in the order of their names."""
    return [SweepDir(path) for path in sorted(run.path.parent.iterdir()) if SweepDir(path).spec.exists()]


def _case(trial: TrialRecord) -> Case | None:
    """Return a complete trial with its first and its last value; None if it is not complete or has no value."""
    series = trial.series
    if trial.state is not State.COMPLETE or series is None:
        return None
    latest, ended = trial.progress.latest, trial.newest.exit
    return Case(
        number=trial.facts.number,
        label="",
        events=(),
        evaluations=[Evaluation(0.0, 0, series.first), Evaluation(latest, series.last_step, series.last)],
        steps=trial.progress.step + 1,
        seconds=0.0,
        ended=latest if ended is None else ended.time,
        flagged_by=flagged_by(trial),
    )


def _has_audits(trial: TrialDir) -> bool:
    """Return whether the record contains one of `MARKS`, which is much faster than to decode it."""
    try:
        with confined.reading(trial.control) as file:
            before = b""
            while chunk := file.read(MOST_AT_ONCE):
                if any(mark in before + chunk for mark in MARKS):
                    return True
                if len(chunk) == MOST_AT_ONCE and b"\n" not in chunk:  # this is no journal, however long it is
                    return False
                before = chunk[-max(map(len, MARKS)) :]
    except OSError:
        return False
    return False
