"""Pruners: who is stopped early because siblings did better at the same evaluation. Optuna's, and one baseline.

A *pruner* compares trials by the sweep's metric alone, where a rule (`sweeper.rules`) looks at one trial by itself. Its
unit of resource is the evaluation, counted from 1 (an epoch, where a script evaluates once an epoch): trials with
different batch sizes are then compared at equal shares of their training.

Live, `Pruner.report` is to be called as values come; over a record, `verdicts` calls it in the order they came in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.trial import Trial, TrialState

ETA = 3
"""Of so many trials, `one_epoch` keeps one: Hyperband's reduction factor."""
STUDY = "sweeper"
"""Optuna's Hyperband assigns brackets by a checksum of the study's name and the trial's number in it."""


class Evaluation(NamedTuple):
    """One value of the metric: `time` in seconds since the epoch, at an optimizer step."""

    time: float
    step: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All evaluations of a recorded trial; its last step, and the time in seconds since the epoch at which it ended."""

    number: int
    evaluations: Sequence[Evaluation]
    last_step: int
    ended: float


class Pruner(Protocol):
    """Told values one by one, it says of the trial at hand whether it is stopped here."""

    def report(self, number: int, step: int, value: float) -> bool:
        """Take in a value of a trial that runs.

        Args:
            step: the evaluation, from 1 and rising within a trial.

        Returns:
            Whether the trial is condemned; it stays in the pruner's memory as one that was stopped once `end` is told.
        """

    def end(self, number: int, *, pruned: bool) -> None:
        """A trial has ended: because it was condemned, or by itself. It reports no more."""


class OptunaPruner:
    """A pruner of Optuna on an in-memory study; trials have Optuna's numbers in the order of their first reports."""

    def __init__(self, pruner: BasePruner, *, maximize: bool) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            study_name=STUDY,
            direction="maximize" if maximize else "minimize",
            sampler=optuna.samplers.RandomSampler(seed=0),  # proposes nothing here
            pruner=pruner,
        )
        self._trials: dict[int, Trial] = {}
        self._last: dict[int, float] = {}

    def report(self, number: int, step: int, value: float) -> bool:
        """As `Pruner.report`; Optuna is asked after every value."""
        if number not in self._trials:
            self._trials[number] = self._study.ask()
        self._trials[number].report(value, step)
        self._last[number] = value
        return self._trials[number].should_prune()

    def end(self, number: int, *, pruned: bool) -> None:
        """As `Pruner.end`; a trial whose last value is not finite is one that failed."""
        trial = self._trials.get(number)
        if trial is None:
            return
        if pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        elif math.isfinite(self._last[number]):
            self._study.tell(trial, self._last[number])
        else:
            self._study.tell(trial, state=TrialState.FAIL)


PRUNERS: Mapping[str, Callable[[int], BasePruner]] = {
    "median": lambda _: MedianPruner(),
    "asha": lambda _: SuccessiveHalvingPruner(min_resource=1),
    "hyperband": lambda evaluations: HyperbandPruner(min_resource=1, max_resource=evaluations),
    "percentile": lambda _: PercentilePruner(25.0),
}
"""Optuna's pruners by name, with Optuna's defaults; made for trials of so many evaluations.

The first rung of successive halving and Hyperband is the first evaluation; `percentile` keeps the best quarter, as in
Optuna's documentation. Its other pruners are left out: `threshold` has no default bounds, `wilcoxon` compares problem
instances, which the evaluations of one run are not, and `patient` is experimental.
"""
ONE_EPOCH = "one_epoch"


def names() -> list[str]:
    """Every pruner that `verdicts` knows."""
    head = ("median", "asha", "hyperband", ONE_EPOCH)
    return [*head, *(name for name in PRUNERS if name not in head)]


def verdicts(name: str, histories: Sequence[History], *, maximize: bool) -> dict[int, int | None]:
    """At which optimizer step each recorded trial would have been stopped, None where it would not have been.

    The model of the replay: values are told in the order of their recorded wall-clock times, so each decision sees
    exactly the values told before that moment. A condemned trial tells nothing more, as if it had been stopped. All
    others keep their recorded times and parameters: that a freed slot would have started the next trial sooner, or that
    a sampler would have proposed others, is left aside. A verdict at a trial's last step stops nothing, so it is none.

    Raises:
        KeyError: there is no such pruner.
    """
    if name == ONE_EPOCH:
        return one_epoch(histories, maximize=maximize)
    longest = max((len(history.evaluations) for history in histories), default=1)
    return replayed(OptunaPruner(PRUNERS[name](longest), maximize=maximize), histories)


def replayed(pruner: Pruner, histories: Sequence[History]) -> dict[int, int | None]:
    """The verdicts of a pruner that is told the histories; the model is that of `verdicts`."""
    found: dict[int, int | None] = {history.number: None for history in histories}
    for _, number, index, evaluation, last in sorted(_moments(histories), key=lambda moment: moment[:3]):
        if found[number] is not None:
            continue
        if evaluation is None:
            pruner.end(number, pruned=False)
        elif pruner.report(number, index, evaluation.value) and evaluation.step < last:
            found[number] = evaluation.step
            pruner.end(number, pruned=True)
    return found


def _moments(histories: Sequence[History]) -> list[tuple[float, int, int, Evaluation | None, int]]:
    """Each evaluation and each end: time, trial, position within the trial; equal times by number."""
    moments: list[tuple[float, int, int, Evaluation | None, int]] = []
    for history in histories:
        # A clock that was set back does not turn a trial's own order around.
        times = list(itertools.accumulate([*(e.time for e in history.evaluations), history.ended], max))
        rows: list[Evaluation | None] = [*history.evaluations, None]
        moments += [
            (time, history.number, index, row, history.last_step)
            for index, (time, row) in enumerate(zip(times, rows, strict=True), 1)
        ]
    return moments


def one_epoch(histories: Sequence[History], *, maximize: bool, eta: int = ETA) -> dict[int, int | None]:
    """The baseline of Egele et al. 2023, "Is one epoch all you need for multi-fidelity hyperparameter optimization?".

    Every trial of the sweep is trained to its first evaluation; of all n, the best ceil(n / eta) by that one value are
    trained to their end, the others stopped there. The paper keeps a fixed number, the top K; here it is a share, so
    that sweeps of different sizes can be compared. It waits for all trials, so a live sweep has to pause each at its
    first evaluation: of the replays, this is the one whose verdicts see what was told later. Of equals, the lower
    numbers are kept; a value that is not finite is the worst; trials without an evaluation go on.
    """
    firsts = [(history.evaluations[0], history) for history in histories if history.evaluations]
    sign = -1 if maximize else 1

    def key(entry: tuple[Evaluation, History]) -> tuple[float, int]:
        value = entry[0].value
        return sign * value if math.isfinite(value) else math.inf, entry[1].number

    stopped = sorted(firsts, key=key)[math.ceil(len(firsts) / eta) :]
    found: dict[int, int | None] = {history.number: None for history in histories}
    found.update({history.number: first.step for first, history in stopped if first.step < history.last_step})
    return found
