"""Pruners: who is stopped early because siblings did better at the same evaluation. Optuna's, and one of ours.

A *pruner* compares trials by the sweep's metric alone, where a rule (`sweeper.rules`) looks at one trial by itself. Its
unit of resource is the evaluation, counted from 1 (an epoch, where a script evaluates once an epoch): trials with
different batch sizes are then compared at equal shares of their training.

Live, `Pruner.report` is called as values come; over a record, `verdicts` calls it in the order they came in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sweeper import config
from sweeper.record.values.evaluation import Evaluation


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


class OneEpoch:
    """One comparison, at the first evaluation: as long as one is among the best 1 / `eta` of those told so far.

    Egele et al. 2023, "Is one epoch all you need for multi-fidelity hyperparameter optimization?", asynchronously:
    nobody waits for values that are not there yet. The first trial goes on whatever it has; `one_epoch` is the paper's.
    """

    def __init__(self, eta: int, *, maximize: bool) -> None:
        self._eta = eta
        self._sign = -1 if maximize else 1
        self._firsts: list[float] = []

    def report(self, number: int, step: int, value: float) -> bool:  # noqa: ARG002 - the number is of no account
        """As `Pruner.report`; of equals the earlier one is better, a value that is not finite is the worst."""
        if step != 1:
            return False
        own = self._sign * value if math.isfinite(value) else math.inf
        better = sum(first <= own for first in self._firsts)
        self._firsts.append(own)
        return better >= math.ceil(len(self._firsts) / self._eta)

    def end(self, number: int, *, pruned: bool) -> None:
        """Nothing changes by an end."""


def pruner_of(settings: config.PrunerSettings, *, maximize: bool, evaluations: int | None = None) -> Pruner:
    """The pruner of one entry of `early_stop.rules`, for trials of so many evaluations, where that is known."""
    if isinstance(settings, config.OneEpoch):
        return OneEpoch(settings.reduction_factor, maximize=maximize)
    from sweeper.search.optuna_pruners import OptunaPruner, made  # Optuna takes most of a second to import

    return OptunaPruner(made(settings, evaluations), maximize=maximize)


DEFAULTS: Sequence[config.PrunerSettings] = (
    config.Median(),
    config.SuccessiveHalving(),
    config.Hyperband(),
    config.OneEpoch(),
    config.Percentile(),
)
"""The pruners that every backtest shows, with Optuna's defaults; the first rung is the first evaluation.

Its others are shown where they are asked for: `threshold` has no default bounds, `wilcoxon` compares instances of a
problem, which the evaluations of one run are not, and `patient` alone compares nobody.
"""


def verdicts(settings: config.PrunerSettings, histories: Sequence[History], *, maximize: bool) -> dict[int, int | None]:
    """At which optimizer step each recorded trial would have been stopped, None where it would not have been.

    The model of the replay: values are told in the order of their recorded wall-clock times, so each decision sees
    exactly the values told before that moment. A condemned trial tells nothing more, as if it had been stopped. All
    others keep their recorded times and parameters: that a freed slot would have started the next trial sooner, or that
    a sampler would have proposed others, is left aside. A verdict at a trial's last step stops nothing, so it is none.
    """
    longest = max((len(history.evaluations) for history in histories), default=1)
    return replayed(pruner_of(settings, maximize=maximize, evaluations=longest), histories)


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


def one_epoch(histories: Sequence[History], *, maximize: bool, eta: int = 3) -> dict[int, int | None]:
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
