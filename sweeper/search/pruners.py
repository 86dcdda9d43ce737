"""Pruners: stop a trial early because other trials had better values at the same evaluation.

A *pruner* compares trials by the sweep's metric only, where a rule (`sweeper.rules`) considers one trial by itself. Its
unit of resource is the evaluation, counted from 1 (an epoch, if a script evaluates once an epoch), so that trials with
different batch sizes are compared at equal fractions of their training. Most pruners are Optuna's, one is ours.

In a running sweep `Pruner.report` is called as values arrive. For a recorded sweep, `stop_steps` calls it in the same
order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sweeper import config
from sweeper.record.progress import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The evaluations of a recorded trial.

    Attributes:
        number: The number of the trial.
        evaluations: Its evaluations in order.
        last_step: Its last optimizer step.
        ended: When it ended, in seconds since the epoch.
    """

    number: int
    evaluations: Sequence[Evaluation]
    last_step: int
    ended: float


class Pruner(Protocol):
    """Decides after each reported value whether the trial that reported it is stopped."""

    def report(self, number: int, step: int, value: float) -> bool:
        """Report a value of a running trial.

        Args:
            number: The number of the trial.
            step: The number of the evaluation, from 1 and rising within a trial.
            value: The metric of the sweep; it may be NaN or infinite.

        Returns:
            Whether the trial should stop. The caller then calls `end` with `pruned=True`.
        """

    def end(self, number: int, *, pruned: bool) -> None:
        """Report that a trial has ended.

        Args:
            number: The number of the trial.
            pruned: Whether it was stopped by this pruner.
        """


class OneEpochPruner:
    """Stops a trial at its first evaluation unless that is among the best 1 / `eta` of those reported so far.

    Source: Egele et al. 2023, "Is one epoch all you need for multi-fidelity hyperparameter optimization?". This is an
    asynchronous version, which does not wait for other trials: the first trial always continues. `one_epoch` is the
    version of the paper.
    """

    def __init__(self, eta: int, *, maximize: bool) -> None:
        self._eta = eta
        self._sign = -1 if maximize else 1
        self._firsts: list[float] = []

    def report(self, number: int, step: int, value: float) -> bool:  # noqa: ARG002 - not needed
        """Report a value, as in `Pruner.report`. Of equal values the earlier is better; NaN and infinity are worst."""
        if step != 1:
            return False
        own = self._sign * value if math.isfinite(value) else math.inf
        better = sum(first <= own for first in self._firsts)
        self._firsts.append(own)
        return better >= math.ceil(len(self._firsts) / self._eta)

    def end(self, number: int, *, pruned: bool) -> None:
        """Do nothing: this pruner does not use ends."""


def pruner_of(settings: config.PrunerSettings, *, maximize: bool, evaluations: int | None = None) -> Pruner:
    """Return the pruner with these settings.

    Args:
        settings: One entry of `early_stop.rules`.
        maximize: Whether larger values of the metric are better.
        evaluations: The number of evaluations of a trial, if it is known.
    """
    if isinstance(settings, config.OneEpoch):
        return OneEpochPruner(settings.reduction_factor, maximize=maximize)
    from sweeper.search.optuna_pruners import OptunaPruner, build_pruner  # Optuna takes most of a second to import

    return OptunaPruner(build_pruner(settings, evaluations), maximize=maximize)


DEFAULTS: Sequence[config.PrunerSettings] = (
    config.Median(),
    config.SuccessiveHalving(),
    config.Hyperband(),
    config.OneEpoch(),
    config.Percentile(),
)
"""The pruners that every backtest shows, with Optuna's defaults. The first rung is the first evaluation.

A backtest shows the others only if the sweep names them: `threshold` has no default limits, `wilcoxon` compares
instances of a problem, which the evaluations of one run are not, and `patient` without another pruner compares no
trials.
"""


def stop_steps(
    settings: config.PrunerSettings, histories: Sequence[History], *, maximize: bool
) -> dict[int, int | None]:
    """Return the optimizer step at which a pruner would have stopped each recorded trial.

    Values are reported in the order of their recorded wall-clock times, so each decision uses exactly the values that
    were there at that time. A stopped trial reports nothing more. All other trials keep their recorded times and
    parameters: the replay ignores that a free slot would have started the next trial earlier, and that a sampler would
    have proposed other configurations. A stop at a trial's last step saves nothing, so it does not count.

    Args:
        settings: The settings of the pruner.
        histories: All trials of the sweep.
        maximize: Whether larger values of the metric are better.

    Returns:
        The step by trial number; None for a trial that would not have been stopped.
    """
    longest = max((len(history.evaluations) for history in histories), default=1)
    return replay(pruner_of(settings, maximize=maximize, evaluations=longest), histories)


def replay(pruner: Pruner, histories: Sequence[History]) -> dict[int, int | None]:
    """Report the histories to a pruner, and return at which step it stops each trial, as `stop_steps` does."""
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
    """Return each evaluation and each end (None) as time, trial, position in the trial, evaluation and last step."""
    moments: list[tuple[float, int, int, Evaluation | None, int]] = []
    for history in histories:
        # The order within a trial stays the same even if its clock was set back.
        times = list(itertools.accumulate([*(e.time for e in history.evaluations), history.ended], max))
        rows: list[Evaluation | None] = [*history.evaluations, None]
        moments += [
            (time, history.number, index, row, history.last_step)
            for index, (time, row) in enumerate(zip(times, rows, strict=True), 1)
        ]
    return moments


def one_epoch(histories: Sequence[History], *, maximize: bool, eta: int = 3) -> dict[int, int | None]:
    """Return at which step the one-epoch baseline of Egele et al. 2023 stops each recorded trial.

    Source: "Is one epoch all you need for multi-fidelity hyperparameter optimization?". Every trial is trained to its
    first evaluation. Of all n trials the best ceil(n / eta) by that value are trained to their end; the others stop
    there. The paper keeps a fixed number, the top K; a fraction makes sweeps of different sizes comparable.

    The baseline waits for the first evaluations of all trials, so a running sweep would have to pause each trial there.
    It is the only replay that uses values which were reported later. Of equal values the lower trial number is kept; a
    value that is not finite is the worst; trials without an evaluation continue.

    Args:
        histories: All trials of the sweep.
        maximize: Whether larger values of the metric are better.
        eta: The inverse of the fraction that is kept.

    Returns:
        The step by trial number; None for a trial that is not stopped.
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
