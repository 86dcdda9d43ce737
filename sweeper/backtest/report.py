"""What each rule and pruner would have done to recorded runs, counted: run by run, and pooled. Pure."""

from __future__ import annotations

import functools
import math
import operator
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.backtest.case import Case, Recording
from sweeper.backtest.replay import Arm, Verdicts
from sweeper.rules.intervals import clopper_pearson

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The counts of one rule over one or more runs; they add up.

    `caught` and `killed` count stalls and learners that were stopped; `learners_killed` names them by run and number.
    `delays` are those of the caught stalls, in looks and in steps, from the onset to the verdict; negative where the
    verdict came while the loss still fell. `wasted` counts the steps of all stalls after their onsets, `spared` those
    of them after the verdict too. `regrets` has one value a run: how much worse than the best trial the best one is
    that survives, in units of the metric; infinite where none does.
    """

    steps: int
    steps_saved: int
    seconds: float
    seconds_saved: float
    stalls: int
    caught: int
    learners: int
    learners_killed: tuple[tuple[str, int], ...]
    delays: tuple[tuple[int, int], ...]
    wasted: int
    spared: int
    regrets: tuple[float, ...]

    @property
    def killed(self) -> int:
        """How many learners were stopped."""
        return len(self.learners_killed)

    @property
    def delay(self) -> tuple[float, float]:
        """The median delay, in looks and in steps; NaN where no stall was caught."""
        if not self.delays:
            return math.nan, math.nan
        return statistics.median(looks for looks, _ in self.delays), statistics.median(
            steps for _, steps in self.delays
        )

    @property
    def most_looks(self) -> float:
        """Looks from the onset within which three quarters of the caught stalls were condemned; NaN without any."""
        ordered = sorted(looks for looks, _ in self.delays)
        return ordered[math.ceil(0.75 * len(ordered)) - 1] if ordered else math.nan

    @property
    def after_onset(self) -> float:
        """The share of the steps of stalls after their onsets that was saved, 0..1; NaN where there were none."""
        return self.spared / self.wasted if self.wasted else math.nan

    @property
    def regret(self) -> float:
        """The largest of the runs' regrets, in units of the metric; 0 where the best trial of each survives."""
        return max(self.regrets)

    def __add__(self, other: Tally) -> Tally:
        """The counts of both."""
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


def tallied(recording: Recording, verdicts: Verdicts) -> Tally:
    """The counts of a run, from the step at which each of its cases would have been stopped."""
    stopped = {case.number: step for case in recording.cases if (step := verdicts[case.number]) is not None}
    stalls = [case for case in recording.cases if not recording.is_learner(case)]
    learners = [case for case in recording.cases if recording.is_learner(case)]
    onsets = {case.number: recording.onset(case) for case in stalls}
    caught = [case for case in stalls if case.number in stopped]
    saved = {case.number: case.steps - 1 - stopped[case.number] for case in recording.cases if case.number in stopped}
    return Tally(
        steps=sum(case.steps for case in recording.cases),
        steps_saved=sum(saved.values()),
        seconds=sum(case.seconds for case in recording.cases),
        # Each at its own seconds a step, as the ranking counts what pruning saved.
        seconds_saved=sum(case.seconds * saved.get(case.number, 0) / case.steps for case in recording.cases),
        stalls=len(stalls),
        caught=len(caught),
        learners=len(learners),
        learners_killed=tuple((recording.name, case.number) for case in learners if case.number in stopped),
        delays=tuple(_delay(case, onsets[case.number], stopped[case.number]) for case in caught),
        wasted=sum(case.steps - 1 - onsets[case.number] for case in stalls),
        spared=sum(case.steps - 1 - max(onsets[case.number], stopped[case.number]) for case in caught),
        regrets=(_regret(recording, stopped),),
    )


def _delay(case: Case, onset: int, verdict: int) -> tuple[int, int]:
    return case.looks_between(onset, verdict), verdict - onset


def _regret(recording: Recording, stopped: Mapping[int, int]) -> float:
    best = max(recording.worth(case) for case in recording.cases)
    if not math.isfinite(best):
        return 0.0  # nobody was worth anything: nothing can be lost
    return best - max((recording.worth(c) for c in recording.cases if c.number not in stopped), default=-math.inf)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One run: what each rule did to it. A rule that cannot be replayed has a sentence instead."""

    recording: Recording
    verdicts: Mapping[str, Verdicts | str]

    @property
    def tallies(self) -> dict[str, Tally]:
        """The counts, by the rule's name, of those that could be replayed."""
        return {
            name: tallied(self.recording, found) for name, found in self.verdicts.items() if not isinstance(found, str)
        }

    @property
    def reasons(self) -> dict[str, str]:
        """Why the others could not, by the rule's name."""
        return {name: found for name, found in self.verdicts.items() if isinstance(found, str)}


@dataclass(frozen=True, kw_only=True)
class Report:
    """All runs, each judged by its own siblings."""

    runs: Sequence[Judged]

    @property
    def pooled(self) -> dict[str, Tally]:
        """The counts of all runs on which a rule could be replayed, by the rule's name."""
        runs = [run.tallies for run in self.runs]
        names = [name for name in self.runs[0].verdicts if any(name in tallies for tallies in runs)]
        return {
            name: functools.reduce(operator.add, [tallies[name] for tallies in runs if name in tallies])
            for name in names
        }


def backtest(recordings: Sequence[Recording], arms: Sequence[Arm]) -> Report:
    """Let every rule and pruner judge every run."""
    return Report(
        runs=[
            Judged(recording=recording, verdicts={arm.name: arm.verdicts(recording) for arm in arms})
            for recording in recordings
        ]
    )


def to_json(report: Report) -> dict[str, object]:
    """The report for programs; the keys are a public contract (docs/reference.md)."""
    return {
        "pooled": [_row(name, tally) for name, tally in report.pooled.items()],
        "runs": [_run(run) for run in report.runs],
    }


def _run(run: Judged) -> dict[str, object]:
    recording = run.recording
    return {
        "run": recording.name,
        "metric": recording.metric,
        "goal": "maximize" if recording.maximize else "minimize",
        "start": _finite(recording.start),
        "learners_end_at": _finite(_border(recording)),
        "left_out": dict(recording.left_out),
        "rules": [_row(name, tally) for name, tally in run.tallies.items()],
        "not_replayed": run.reasons,
        "trials": [_trial(run, case) for case in recording.cases],
    }


def _border(recording: Recording) -> float:
    """The value at its end that makes a trial a learner."""
    return recording.start + (recording.half if recording.maximize else -recording.half)


def _trial(run: Judged, case: Case) -> dict[str, object]:
    learner = run.recording.is_learner(case)
    return {
        "number": case.number,
        "label": case.label,
        "seed": case.seed,
        "last": _finite(case.last),
        "outcome": "learner" if learner else "stall",
        "onset": None if learner else run.recording.onset(case),
        "steps": case.steps,
        "seconds": round(case.seconds, 3),
        "stopped_at": {name: found[case.number] for name, found in run.verdicts.items() if not isinstance(found, str)},
    }


def _row(name: str, tally: Tally) -> dict[str, object]:
    looks, steps = tally.delay
    return {
        "rule": name,
        "steps": tally.steps,
        "steps_saved": tally.steps_saved,
        "seconds": round(tally.seconds, 3),
        "seconds_saved": round(tally.seconds_saved, 3),
        "stalls": tally.stalls,
        "stalls_caught": tally.caught,
        "stalls_caught_interval": list(clopper_pearson(tally.caught, tally.stalls, CONFIDENCE)),
        "learners": tally.learners,
        "learners_killed": tally.killed,
        "learners_killed_interval": list(clopper_pearson(tally.killed, tally.learners, CONFIDENCE)),
        "learners_killed_numbers": [{"run": run, "number": number} for run, number in tally.learners_killed],
        "delay_looks": _finite(looks),
        "delay_looks_most": _finite(tally.most_looks),
        "delay_steps": _finite(steps),
        "after_onset_saved": _finite(tally.after_onset),
        "regret": _finite(tally.regret),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
