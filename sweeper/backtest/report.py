"""What each rule and pruner would have done to recorded runs, counted: run by run, and pooled. Pure."""

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
"""Shares of the planned steps by which a flag is early, and comes in the first half."""
HEALTHY, ANY_CLASS, NO_FLAG = "healthy", "any class", "none"
"""Rows and columns of the confusion matrix that are no diagnoses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the two outcomes are called, of one trial and of many, and what an arm does to each."""

    stall: str
    stalls: str
    caught: str
    learner: str
    learners: str
    killed: str


BY_SIBLINGS = Words(
    stall="stall", stalls="stalls", caught="caught", learner="learner", learners="learners", killed="killed"
)
BY_TRUTH = Words(stall="failed", stalls="failed", caught="flagged", learner=HEALTHY, learners=HEALTHY, killed="flagged")


def words_of(recording: Recording) -> Words:
    """Return the words for the outcomes of a run's trials."""
    return BY_SIBLINGS if recording.truth is None else BY_TRUTH


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The counts of one rule over one or more runs; they add up.

    `caught` and `killed` count stalls and learners that were flagged; `learners_killed` names them by run and number.
    `delays` are those of the caught stalls, in looks and in steps, from the onset to the flag; negative where the
    flag came while the loss still fell. `wasted` counts the steps of all stalls after their onsets, `spared` those
    of them after the stop too. `regrets` has one value a run: how much worse than the best trial the best one is
    that survives, in units of the metric; infinite where none does.

    Of the caught stalls, `early` were flagged within the first tenth of their planned steps, or within a tenth of the
    plan after an onset that comes later than that, and `in_half` within the first half. `named` were flagged by a
    diagnosis and have a known outcome, and for `right` of them a diagnosis is one of those that the truth lists.
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
    early: int = 0
    in_half: int = 0
    named: int = 0
    right: int = 0

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
        # Each at its own seconds a step, as the ranking counts what pruning saved.
        seconds_saved=sum(case.seconds * saved.get(case.number, 0) / case.steps for case in recording.cases),
        stalls=len(recording.stalls),
        caught=len(caught),
        learners=len(recording.learners),
        learners_killed=tuple((recording.name, case.number) for case in recording.learners if case.number in flagged),
        delays=tuple(_delay(case, onsets[case.number], flagged[case.number].step) for case in caught),
        wasted=sum(case.steps - 1 - onsets[case.number] for case in recording.stalls),
        spared=sum(
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
    """Return whether a diagnosis is a right one; None where the arm names none, or the truth is not known."""
    known = None if recording.truth is None else recording.truth.get(case.number)
    if known is None or not verdict.classes:
        return None
    return not known.classes or any(name in known.classes for name in verdict.classes)


def _delay(case: Case, onset: int, step: int) -> tuple[int, int]:
    return case.looks_between(onset, step), step - onset


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

    @property
    def words(self) -> Words:
        """The words for the outcomes; those of known outcomes where every run has them."""
        return BY_TRUTH if all(run.recording.truth is not None for run in self.runs) else BY_SIBLINGS

    @property
    def confusion(self) -> Mapping[str, Mapping[str, int]]:
        """Return how often `auto + warnings` flagged each known class as which one; empty without known outcomes.

        By the class that the truth lists first (or `HEALTHY`, or `ANY_CLASS` where it lists none), and by the most
        important class flagged, or `NO_FLAG`.
        """
        counts = Counter(pair for run in self.runs for pair in _pairs(run))
        rows, columns = ({pair[side] for pair in counts} for side in (0, 1))
        return {
            row: {column: counts[row, column] for column in sorted(columns, key=_place) if counts[row, column]}
            for row in sorted(rows, key=_place)
        }


def _pairs(run: Judged) -> Iterator[tuple[str, str]]:
    """The true class and the flagged class of each case whose outcome is known."""
    found, truth = run.verdicts.get(AUTO_AND_WARNINGS, ""), run.recording.truth
    if truth is None or isinstance(found, str):
        return
    for case in (*run.recording.stalls, *run.recording.learners):
        known, verdict = truth[case.number], found[case.number]
        row = (*known.classes, ANY_CLASS)[0] if known.failed else HEALTHY
        yield row, NO_FLAG if verdict is None else verdict.flags[0].rule


def _place(name: str) -> int:
    return [*DIAGNOSES, ANY_CLASS, HEALTHY, NO_FLAG].index(name)


def backtest(recordings: Sequence[Recording], arms: Sequence[Arm]) -> Report:
    """Let every rule and pruner judge every run."""
    return Report(
        runs=[
            Judged(recording=recording, verdicts={arm.name: arm.verdicts(recording) for arm in arms})
            for recording in recordings
        ]
    )


def to_json(report: Report, *, reasons: bool = False) -> dict[str, object]:
    """The report for programs; the keys are a public contract (docs/reference/backtest.md). With `reasons`, all flags too."""
    words = report.words
    body: dict[str, object] = {
        "pooled": [_row(name, tally, words) for name, tally in report.pooled.items()],
        "runs": [_run(run, reasons=reasons) for run in report.runs],
    }
    return body | ({"confusion": report.confusion} if words is BY_TRUTH else {})


def _run(run: Judged, *, reasons: bool) -> dict[str, object]:
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
    """Return how many cases have no known outcome, by the reason; empty without a file of known outcomes."""
    if recording.truth is None:
        return {}
    unknown = sum(case.number not in recording.truth for case in recording.cases)
    border = len(recording.cases) - len(recording.stalls) - len(recording.learners) - unknown
    return {why: count for why, count in (("on the border", border), ("without a row", unknown)) if count}


def _border(recording: Recording) -> float:
    """The value at its end that makes a trial a learner."""
    return recording.start + (recording.half if recording.maximize else -recording.half)


def outcome_of(recording: Recording, case: Case) -> str | None:
    """Return the word for a case's outcome; None where it is not counted."""
    outcome, words = recording.outcome(case), words_of(recording)
    return None if outcome is None else words.learner if outcome else words.stall


def _trial(run: Judged, case: Case, *, reasons: bool) -> dict[str, object]:
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


def _row(name: str, tally: Tally, words: Words) -> dict[str, object]:
    looks, steps = tally.delay
    caught, killed = f"{words.stalls}_{words.caught}", f"{words.learners}_{words.killed}"
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
        killed: tally.killed,
        f"{killed}_interval": list(clopper_pearson(tally.killed, tally.learners, CONFIDENCE)),
        f"{killed}_numbers": [{"run": run, "number": number} for run, number in tally.learners_killed],
        "delay_looks": _finite(looks),
        "delay_looks_most": _finite(tally.most_looks),
        "delay_steps": _finite(steps),
        "after_onset_saved": _finite(tally.after_onset),
    }
    if words is BY_SIBLINGS:
        return row | {"regret": _finite(tally.regret)}
    # What the best trial of several tasks is worth says nothing.
    return row | {
        "flagged_early": tally.early,
        "flagged_in_half": tally.in_half,
        "class_named": tally.named,
        "class_right": tally.right,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
