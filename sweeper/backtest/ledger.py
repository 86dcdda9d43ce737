"""What audits have shown so far, of all runs that lie side by side: a projection of their records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sweeper.backtest.case import Case, Recording
from sweeper.backtest.reading import FEWEST
from sweeper.record.ended import read_states
from sweeper.record.events import REVIVED
from sweeper.record.progress import Evaluation
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.record.trial import State, TrialRecord
from sweeper.rules.calibration.audit import Ledger, pooled

MARKS = (b'"event":"Continued"', b'"event":"Condemned"')
"""What a record contains if a rule flagged the trial and it continued; the second is of format 1."""


def outcomes(trials: Iterable[TrialRecord]) -> list[tuple[str, bool]]:
    """Of the condemned trials of a run that ran to their ends, in that order: the rule's version, and who learned.

    Who is a learner is judged among the siblings that have ended; with fewer than two there is nothing to say.
    """
    trials = list(trials)
    cases = [case for trial in trials if (case := _case(trial)) is not None]
    condemned = sorted((case for case in cases if case.condemned_by), key=lambda case: case.ended)
    if not condemned or len(cases) < FEWEST:
        return []
    recording = Recording(name="", metric="", maximize=trials[0].facts.maximize, cases=cases)
    return [(case.condemned_by, recording.is_learner(case)) for case in condemned]


def outcomes_of_runs(runs: Iterable[SweepDir]) -> Iterator[tuple[str, bool]]:
    """The outcomes of runs, one after the other."""
    for run in runs:
        if any(_mentions(trial) for trial in run.entries()):
            yield from outcomes(read_states(run)[0])


def ledgers(runs: Iterable[SweepDir]) -> Mapping[str, Ledger]:
    """By version of a rule, what became of the trials that it condemned and that were let run on, in all the runs."""
    return pooled(outcomes_of_runs(runs))


def runs_beside(run: SweepDir) -> list[SweepDir]:
    """All runs in the same directory, this one among them, in the order of their names."""
    return [SweepDir(path) for path in sorted(run.path.parent.iterdir()) if SweepDir(path).spec.exists()]


def _case(trial: TrialRecord) -> Case | None:
    """What a complete trial is judged by: its first value and its last."""
    series = trial.series
    if trial.state is not State.COMPLETE or series is None:
        return None
    spared, ended = trial.continued, trial.newest.exit
    latest = trial.progress.latest
    return Case(
        number=trial.facts.number,
        label="",
        events=(),
        evaluations=[Evaluation(0.0, 0, series.first), Evaluation(latest, series.last_step, series.last)],
        steps=trial.progress.step + 1,
        seconds=0.0,
        ended=latest if ended is None else ended.time,
        condemned_by="" if spared is None or spared.cause == REVIVED else spared.decision.version,
    )


def _mentions(trial: TrialDir) -> bool:
    try:
        recorded = trial.control.read_bytes()
    except OSError:
        return False
    return any(mark in recorded for mark in MARKS)
