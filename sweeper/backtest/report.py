"""Count what each rule and pruner would have done on recorded runs, for each run and pooled. Pure."""

from __future__ import annotations

import functools
import math
import operator
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweeper.backtest.case import Case, Recording
from sweeper.backtest.replay import AUTO_AND_WARNINGS, Arm, Verdict, Verdicts
from sweeper.rules.calibration.intervals import clopper_pearson
from sweeper.rules.diagnoses import DIAGNOSES

CONFIDENCE = 0.95
EARLY, HALF = 0.1, 0.5
"""A flag is early, or in the first half, up to these shares of the planned steps."""
HEALTHY, ANY_CLASS, NO_FLAG = "healthy", "any class", "none"
"""The rows and columns of the confusion matrix that are no diagnoses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeWords:
    """The words for the two outcomes, and for a flag of each; `stalls_key` and `learners_key` are those of the JSON."""

    stall: str
    stalls: str
    caught: str
    stalls_key: str
    learner: str
    learners: str
    stopped: str
    learners_key: str


BY_SIBLINGS = OutcomeWords(
    stall="stall",
    stalls="stalls",
    caught="caught",
    stalls_key="stalls_caught",
    learner="learner",
    learners="learners",
    stopped="stopped",
    learners_key="learners_killed",
)
BY_TRUTH = OutcomeWords(
    stall="failed",
    stalls="failed",
    caught="flagged",
    stalls_key="failed_flagged",
    learner=HEALTHY,
    learners=HEALTHY,
    stopped="flagged",
    learners_key="healthy_flagged",
)


def words_of(recording: Recording) -> OutcomeWords:
    """Return the words for the outcomes of the trials of a run."""
    return BY_SIBLINGS if recording.truth is None else BY_TRUTH


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The counts of one arm over one or more runs; they can be added.

    Attributes:
        steps: optimizer steps of all trials.
        steps_saved: steps after the stops.
        seconds: wall time of all trials.
        seconds_saved: wall time after the stops, at each trial's own speed.
        stalls: the number of stalls.
        caught: stalls that were flagged.
        learners: the number of learners.
        flagged_learners: learners that were flagged, by run and number.
        delays: for each caught stall, the delay from its onset to the flag in observations and in steps; negative if
            the flag came while the loss still fell.
        steps_after_onset: steps of all stalls after their onsets.
        saved_after_onset: the part of these steps after the stops.
        regrets: for each run, how much worse the best trial that is not stopped is than the best trial, in units of
            the metric; infinite if all are stopped.
        early: caught stalls that were flagged within the first tenth of their planned steps, or within a tenth of the
            plan after a later onset.
        in_half: caught stalls that were flagged within the first half of their planned steps.
        named: caught stalls with a known outcome that were flagged by a diagnosis.
        right: those of them with a right diagnosis.
    """

    steps: int
    steps_saved: int
    seconds: float
    seconds_saved: float
    stalls: int
    caught: int
    learners: int
    flagged_learners: tuple[tuple[str, int], ...]
    delays: tuple[tuple[int, int], ...]
    steps_after_onset: int
    saved_after_onset: int
    regrets: tuple[float, ...]
    early: int = 0
    in_half: int = 0
    named: int = 0
    right: int = 0

    @property
    def false_flags(self) -> int:
        """The number of learners that were flagged."""
        return len(self.flagged_learners)

    @property
    def delay(self) -> tuple[float, float]:
        """The median delay, in observations and in steps; NaN if no stall was caught."""
        if not self.delays:
            return math.nan, math.nan
        observations, steps = zip(*self.delays, strict=True)
        return statistics.median(observations), statistics.median(steps)

    @property
    def delay_quartile(self) -> float:
        """The upper quartile of the delay in observations; NaN if no stall was caught."""
        ordered = sorted(observations for observations, _ in self.delays)
        return ordered[math.ceil(0.75 * len(ordered)) - 1] if ordered else math.nan

    @property
    def after_onset(self) -> float:
        """The share of the steps of stalls after their onsets that was saved, 0..1; NaN if there were none."""
        return self.saved_after_onset / self.steps_after_onset if self.steps_after_onset else math.nan

    @property
    def regret(self) -> float:
        """The largest regret of a run, in units of the metric; 0 if the best trial of each run is not stopped."""
        return max(self.regrets)

    def __add__(self, other: Tally) -> Tally:
        """Return the counts of both."""
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


def tallied(recording: Recording, verdicts: Verdicts) -> Tally:
    """Return the counts of a run from the verdicts on its cases."""
    flagged = {case.number: found for case in recording.cases if (found := verdicts[case.number]) is not None}
    stopped = {number: found.stop for number, found in flagged.items() if found.stop is not None}
    onsets = recording.onsets
    caught = [case for case in recording.stalls if case.number in flagged]
    saved = {case.number: case.steps - 1 - stopped[case.number] for case in recording.cases if case.number in stopped}
    named = [is_right for case in caught if (is_right := _is_right(recording, case, flagged[case.number])) is not None]
    return Tally(
        steps=sum(case.steps for case in recording.cases),
        steps_saved=sum(saved.values()),
        seconds=sum(case.seconds for case in recording.cases),
        # Each trial counts with its own seconds per step, as in the ranking.
        seconds_saved=sum(case.seconds * saved.get(case.number, 0) / case.steps for case in recording.cases),
        stalls=len(recording.stalls),
        caught=len(caught),
        learners=len(recording.learners),
        flagged_learners=tuple((recording.name, case.number) for case in recording.learners if case.number in flagged),
        delays=tuple(_delay(case, onsets[case.number], flagged[case.number].step) for case in caught),
        steps_after_onset=sum(case.steps - 1 - onsets[case.number] for case in recording.stalls),
        saved_after_onset=sum(
            case.steps - 1 - max(onsets[case.number], stopped[case.number]) for case in caught if case.number in stopped
        ),
        regrets=(_regret(recording, stopped),),
        early=sum(_is_early(case, onsets[case.number], flagged[case.number].step) for case in caught),
        in_half=sum(flagged[case.number].step <= HALF * case.planned for case in caught),
        named=len(named),
        right=sum(named),
    )


def _is_early(case: Case, onset: int, step: int) -> bool:
    allowed = EARLY * case.planned
    return step <= (allowed if onset <= allowed else onset + allowed)


def _is_right(recording: Recording, case: Case, verdict: Verdict) -> bool | None:
    """Return whether one of the diagnoses is right; None without diagnoses, or without a known outcome."""
    known = None if recording.truth is None else recording.truth.get(case.number)
    if known is None or not verdict.classes:
        return None
    return not known.classes or any(name in known.classes for name in verdict.classes)


def _delay(case: Case, onset: int, step: int) -> tuple[int, int]:
    return case.observations_between(onset, step), step - onset


def _regret(recording: Recording, stopped: Mapping[int, int]) -> float:
    best = max(recording.worth(case) for case in recording.cases)
    if not math.isfinite(best):
        return 0.0  # no trial has a finite value, so none can be lost
    return best - max((recording.worth(c) for c in recording.cases if c.number not in stopped), default=-math.inf)


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The verdicts of all arms on one run; an arm that cannot be replayed has a sentence instead."""

    recording: Recording
    verdicts: Mapping[str, Verdicts | str]

    @property
    def tallies(self) -> dict[str, Tally]:
        """The counts of the arms that can be replayed, by name."""
        return {
            name: tallied(self.recording, found) for name, found in self.verdicts.items() if not isinstance(found, str)
        }

    @property
    def reasons(self) -> dict[str, str]:
        """The reasons why the other arms cannot be replayed, by name."""
        return {name: found for name, found in self.verdicts.items() if isinstance(found, str)}


@dataclass(frozen=True, kw_only=True)
class BacktestReport:
    """The reports of all runs."""

    runs: Sequence[RunReport]

    @property
    def pooled(self) -> dict[str, Tally]:
        """The counts over all runs on which an arm can be replayed, by name."""
        runs = [run.tallies for run in self.runs]
        names = [name for name in self.runs[0].verdicts if any(name in tallies for tallies in runs)]
        return {
            name: functools.reduce(operator.add, [tallies[name] for tallies in runs if name in tallies])
            for name in names
        }

    @property
    def words(self) -> OutcomeWords:
        """The words for the outcomes: those of known outcomes if every run has them."""
        return BY_TRUTH if all(run.recording.truth is not None for run in self.runs) else BY_SIBLINGS

    @property
    def confusion(self) -> Mapping[str, Mapping[str, int]]:
        """The confusion matrix of `auto + warnings`; empty without known outcomes.

        A row is the first class in the file of known outcomes, `ANY_CLASS` if it lists none, or `HEALTHY`. A column is
        the most important flagged class, or `NO_FLAG`.
        """
        counts = Counter(pair for run in self.runs for pair in _pairs(run))
        rows, columns = ({pair[side] for pair in counts} for side in (0, 1))
        return {
            row: {column: counts[row, column] for column in sorted(columns, key=_place) if counts[row, column]}
            for row in sorted(rows, key=_place)
        }


def _pairs(run: RunReport) -> Iterator[tuple[str, str]]:
    """Yield the true class and the flagged class of each case with a known outcome."""
    found, truth = run.verdicts.get(AUTO_AND_WARNINGS, ""), run.recording.truth
    if truth is None or isinstance(found, str):
        return
    for case in (*run.recording.stalls, *run.recording.learners):
        known, verdict = truth[case.number], found[case.number]
        row = (*known.classes, ANY_CLASS)[0] if known.failed else HEALTHY
        yield row, NO_FLAG if verdict is None else verdict.flags[0].rule


def _place(name: str) -> int:
    return [*DIAGNOSES, ANY_CLASS, HEALTHY, NO_FLAG].index(name)


def backtest(recordings: Sequence[Recording], arms: Sequence[Arm]) -> BacktestReport:
    """Replay every arm on every recording."""
    return BacktestReport(
        runs=[
            RunReport(recording=recording, verdicts={arm.name: arm.verdicts(recording) for arm in arms})
            for recording in recordings
        ]
    )


def to_json(report: BacktestReport, *, reasons: bool = False) -> dict[str, object]:
    """Return the report as JSON for programs; docs/reference/backtest.md lists the keys, which do not change.

    Args:
        report: the report.
        reasons: include all flags with their reasons.
    """
    words = report.words
    body: dict[str, object] = {
        "pooled": [_row(name, tally, words) for name, tally in report.pooled.items()],
        "runs": [_run(run, reasons=reasons) for run in report.runs],
    }
    return body | ({"confusion": report.confusion} if words is BY_TRUTH else {})


def _run(run: RunReport, *, reasons: bool) -> dict[str, object]:
    recording = run.recording
    judged_by: dict[str, object] = {
        "start": _finite(recording.start),
        "learners_end_at": _finite(_border(recording)),
    }
    if recording.truth is not None:
        judged_by = {"not_counted": dict(not_counted(recording))}
    return {
        "run": recording.name,
        "metric": recording.metric,
        "goal": "maximize" if recording.maximize else "minimize",
        **judged_by,
        "left_out": dict(recording.left_out),
        "rules": [_row(name, tally, words_of(recording)) for name, tally in run.tallies.items()],
        "not_replayed": run.reasons,
        "trials": [_trial(run, case, reasons=reasons) for case in recording.cases],
    }


def not_counted(recording: Recording) -> Mapping[str, int]:
    """Return the number of cases without a known outcome, by the reason; empty without a file of known outcomes."""
    if recording.truth is None:
        return {}
    unknown = sum(case.number not in recording.truth for case in recording.cases)
    border = len(recording.cases) - len(recording.stalls) - len(recording.learners) - unknown
    return {why: count for why, count in (("on the border", border), ("without a row", unknown)) if count}


def _border(recording: Recording) -> float:
    """Return the final value from which on a trial is a learner."""
    return recording.start + (recording.half if recording.maximize else -recording.half)


def outcome_of(recording: Recording, case: Case) -> str | None:
    """Return the word for the outcome of a case; None if it is not counted."""
    outcome, words = recording.outcome(case), words_of(recording)
    return None if outcome is None else words.learner if outcome else words.stall


def _trial(run: RunReport, case: Case, *, reasons: bool) -> dict[str, object]:
    recording = run.recording
    known = None if recording.truth is None else recording.truth.get(case.number)
    replayed = [(name, found[case.number]) for name, found in run.verdicts.items() if not isinstance(found, str)]
    body = {
        "number": case.number,
        "label": case.label,
        "seed": case.seed,
        "last": _finite(case.last),
        "outcome": outcome_of(recording, case),
        "onset": recording.onsets.get(case.number),
        "steps": case.steps,
        "seconds": round(case.seconds, 3),
        "stopped_at": {name: None if found is None else found.stop for name, found in replayed},
        "flagged_at": {name: None if found is None else found.step for name, found in replayed},
    }
    if known is not None:
        body |= {"task": known.task, "class": list(known.classes)}
    if reasons:
        body["flags"] = {
            name: [{"class": flag.rule, "step": flag.step, "reason": flag.reason} for flag in found.flags]
            for name, found in replayed
            if found is not None
        }
    return body


def _row(name: str, tally: Tally, words: OutcomeWords) -> dict[str, object]:
    observations, steps = tally.delay
    caught, flagged = words.stalls_key, words.learners_key
    row = {
        "rule": name,
        "steps": tally.steps,
        "steps_saved": tally.steps_saved,
        "seconds": round(tally.seconds, 3),
        "seconds_saved": round(tally.seconds_saved, 3),
        words.stalls: tally.stalls,
        caught: tally.caught,
        f"{caught}_interval": list(clopper_pearson(tally.caught, tally.stalls, CONFIDENCE)),
        words.learners: tally.learners,
        flagged: tally.false_flags,
        f"{flagged}_interval": list(clopper_pearson(tally.false_flags, tally.learners, CONFIDENCE)),
        f"{flagged}_numbers": [{"run": run, "number": number} for run, number in tally.flagged_learners],
        "delay_looks": _finite(observations),
        "delay_looks_most": _finite(tally.delay_quartile),
        "delay_steps": _finite(steps),
        "after_onset_saved": _finite(tally.after_onset),
    }
    if words is BY_SIBLINGS:
        return row | {"regret": _finite(tally.regret)}
    # The values of different tasks cannot be compared, so there is no regret.
    return row | {
        "flagged_early": tally.early,
        "flagged_in_half": tally.in_half,
        "class_named": tally.named,
        "class_right": tally.right,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
