"""Compare sweeper's diagnoses with the thresholds of AUTOTRAINER and BTTackler on the same recorded runs.

    python benchmarks/peers.py RUN ... --truth FILE      # as `sweeper backtest RUN ... --truth FILE`

The thresholds are the published defaults of AUTOTRAINER (Zhang et al. 2021, ICSE; shiningrain/AUTOTRAINER) and
BTTackler (Pei et al. 2024, KDD; thuml/BTTackler). The tools themselves are not run, because both need their own
training. Approximations:

- An epoch is one evaluation of the sweep's metric, at which both tools decide. AUTOTRAINER reads one batch, so it gets
  the newest observation of the gradient; BTTackler gets the mean over all observations since the last evaluation.
  sweeper itself decides at every observation.
- The accuracy of AUTOTRAINER is the sweep's metric if it is maximized and never above 1. With any other metric, no
  value counts as accurate, because Keras reports an accuracy near 0 for such tasks. AUTOTRAINER decides from 30% of
  the epochs on, and remembers earlier gradients. Losses and gradients that are not finite, and losses from 1e3, count
  at any time.
- The training loss of an epoch is the mean of its reports. Validation is the held-out loss, if one is reported.
- Gradients are those that sweeper records, after clipping. Per-layer values come from the side file `layers.f32`: of
  each layer the largest tensor, its weight. A packed record has no side file, so they are estimated from
  the observation: the first over the last layer is `reach` (means over a quarter of the layers at either end), the
  gradient of the first layer is at most `gradient_norm` times it, the ratio of neighbours is its root, the mean
  absolute gradient is the root mean square over all entries, and the share of zeros is `gradient_zero`, the largest
  of any layer: too high.
- Left out are BTTackler's exemption of trials with a training loss among the best 10% at their epoch, its rule that
  the loss varies more in the second half than in the first, and AUTOTRAINER's unused check for overfitting.
- The tools' own names for a problem are translated generously into sweeper's classes: see `CLASSES`.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from sweeper import config
from sweeper.backtest import Case, Recording, backtest, read_recordings, to_json
from sweeper.backtest.replay import (
    AUTO,
    AUTO_AND_WARNINGS,
    DEFAULTS,
    Arm,
    Flag,
    HealthArm,
    PrunerArm,
    RuleArm,
    Verdict,
    Verdicts,
)
from sweeper.backtest.table import WIDTH, report_table
from sweeper.record.events import Metrics, Observation, Watching
from sweeper.rules.signals.metric_names import held_out_loss

CLASSES: Mapping[str, tuple[str, ...]] = {
    "not finite": ("non_finite", "diverged"),
    "exploding": ("diverged", "non_finite"),
    "vanishing": ("vanishing_gradient", "no_gradient"),
    "dying ReLU": ("dead_units", "no_gradient"),
    "no convergence": ("stuck", "frozen"),
    "oscillation": ("oscillating", "diverged"),
}
"""The diagnoses of sweeper that a problem of the tools counts as; the first one is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """The gradient at one observation.

    Attributes:
        first: Euclidean norm at the first layer.
        ratio: that of the first layer over that of the last.
        magnitudes: mean absolute gradient of each layer, or one value for all of them.
        quotients: that of each layer over that of the next.
        zeros: share of zeros of each layer, or one value for all of them.
        zero: share of zeros over all tensors.
    """

    first: float
    ratio: float
    magnitudes: npt.NDArray[np.float64]
    quotients: npt.NDArray[np.float64]
    zeros: npt.NDArray[np.float64]
    zero: float


@dataclass(slots=True)
class Epoch:
    """The records between two evaluations; at its end, `share` of the planned steps are done."""

    step: int = 0
    share: float = 0.0
    score: float = math.nan
    losses: list[float] = field(default_factory=list)
    held_out: float = math.nan
    gradients: list[Gradient] = field(default_factory=list)
    is_finite: bool = True

    @property
    def loss(self) -> float:
        """The mean training loss; NaN without a report."""
        return statistics.fmean(self.losses) if self.losses else math.nan

    def mean(self, name: str) -> npt.NDArray[np.float64]:
        """Return the mean of a field of the gradients; empty without an observation."""
        values = [getattr(gradient, name) for gradient in self.gradients]
        alike = [value for value in values if len(value) == len(values[-1])]
        return np.mean(alike, axis=0) if alike else np.empty(0)


# ---- from a record to epochs -----------------------------------------------------------------------------------------


def epochs_of(recording: Recording, case: Case) -> list[Epoch]:
    """Return the epochs of a trial."""
    held_out = held_out_loss(case.metrics)
    rows = functools.cache(functools.partial(_rows, case))
    watching: Watching | None = None
    epochs, epoch = [], Epoch()
    attempts = case.attempts or [1] * len(case.events)
    for event, attempt in zip(case.events, attempts, strict=True):
        if isinstance(event, Watching):
            watching = event
        elif isinstance(event, Observation):
            epoch.is_finite = epoch.is_finite and event.not_finite <= 0 and not math.isinf(event.gradient_norm)
            if watching is not None:
                epoch.gradients.append(_gradient(event, watching, rows(attempt, watching.row_width)))
        elif isinstance(event, Metrics):
            values = event.values
            if recording.loss in values:
                epoch.losses.append(values[recording.loss])
                epoch.is_finite = epoch.is_finite and math.isfinite(values[recording.loss])
            if held_out is not None and held_out in values:
                epoch.held_out = values[held_out]
            if recording.metric in values:
                epoch.step, epoch.score = event.step, values[recording.metric]
                epoch.share = (event.step + 1) / case.planned
                epochs.append(epoch)
                epoch = Epoch()
    return epochs


def _rows(case: Case, attempt: int, width: int) -> npt.NDArray[np.float32]:
    """Return the side file of an attempt, one row per observation; empty if there is none."""
    try:
        assert case.directory is not None  # noqa: S101 - logs of TensorBoard have no observations
        values = np.fromfile(case.directory.attempt(attempt).layers, "<f4")
    except OSError:
        return np.empty((0, width), np.float32)
    return values[: len(values) // width * width].reshape(-1, width)


def _gradient(observation: Observation, watching: Watching, rows: npt.NDArray[np.float32]) -> Gradient:
    if observation.row >= len(rows):
        return _estimated(observation, watching)
    tensors, names = len(watching.tensors), watching.statistics
    table = rows[observation.row, : watching.of_tensors].astype(np.float64).reshape(tensors, len(names))
    sizes = np.array(watching.sizes, np.float64)
    weights = [
        max((tensor for tensor in range(tensors) if watching.layer_of[tensor] == layer), key=lambda one: sizes[one])
        for layer in range(len(watching.layers))
        if layer in watching.layer_of
    ]
    if not weights:
        return _estimated(observation, watching)
    column = {name: table[:, index] for index, name in enumerate(names)}
    norms = column["grad_norm"]
    magnitudes = column.get("grad_mean", norms / np.sqrt(sizes))[weights]
    zeros = column.get("grad_zero", np.full(tensors, math.nan))
    return Gradient(
        first=float(norms[weights[0]]),
        ratio=_over(norms[weights[0]], norms[weights[-1]]),
        magnitudes=magnitudes,
        quotients=np.array([_over(one, other) for one, other in itertools.pairwise(magnitudes)]),
        zeros=zeros[weights],
        zero=float(np.sum(zeros * sizes) / np.sum(sizes)),
    )


def _estimated(observation: Observation, watching: Watching) -> Gradient:
    entries, layers = max(1, sum(watching.sizes)), len(watching.layers)
    reach = observation.reach
    zero = observation.gradient_zero
    quotient = reach ** (1 / (layers - 1)) if layers > 1 and reach >= 0 else math.nan
    return Gradient(
        first=observation.gradient_norm * min(1.0, reach),
        ratio=reach,
        magnitudes=np.array([observation.gradient_norm / math.sqrt(entries)]),
        quotients=np.array([quotient]),
        zeros=np.array([zero]),
        zero=zero,
    )


def _over(one: float, other: float) -> float:
    return float(one / other) if other > 0 else math.inf if one > 0 else math.nan


# ---- the two tools ---------------------------------------------------------------------------------------------------


def autotrainer(epochs: Sequence[Epoch], *, is_accuracy: bool) -> tuple[Epoch, str] | None:
    """Return the epoch at which AUTOTRAINER would have acted, and the problem."""
    vanishing = exploding = dying = False
    scores: list[float] = []
    for epoch in epochs:
        scores.append(epoch.score)
        if not epoch.is_finite or epoch.loss >= 1e3:
            return epoch, "not finite"
        if epoch.gradients:
            newest = epoch.gradients[-1]
            vanishing = vanishing or (newest.ratio < 1e-3 and newest.first < 1e-4)
            exploding = exploding or newest.ratio > 70
            dying = dying or newest.zero >= 0.7
        if epoch.share < 0.3:
            continue
        low = not is_accuracy or max(scores) < 0.6
        flat = max((later - one for one, later in itertools.pairwise(scores)), default=0.0) < 0.01
        problems = {"dying ReLU": dying, "exploding": exploding, "vanishing": vanishing, "no convergence": low and flat}
        if not (low or flat):
            problems = {"oscillation": _swings(scores)}
        for problem, holds in problems.items():
            if holds:
                return epoch, problem
    return None


def _swings(scores: Sequence[float]) -> bool:
    """Return whether the score swings by 0.03 in at least 20% of the epochs."""
    inner = list(zip(scores, scores[1:], scores[2:], strict=False))
    highs = [now for before, now, after in inner if now >= before and now >= after]
    lows = [now for before, now, after in inner if now <= before and now <= after]
    return sum(high - low >= 0.03 for high, low in zip(highs, lows, strict=False)) >= max(1.0, 0.2 * len(scores))


def bttackler(epochs: Sequence[Epoch]) -> tuple[Epoch, str] | None:
    """Return the epoch at which BTTackler would have stopped the trial, and the problem."""
    losses: list[float] = []
    held_out: list[float] = []
    for epoch in epochs:
        losses += [epoch.loss] if math.isfinite(epoch.loss) else []
        held_out += [epoch.held_out] if math.isfinite(epoch.held_out) else []
        magnitudes, quotients, zeros = (epoch.mean(name) for name in ("magnitudes", "quotients", "zeros"))
        size, quotient, zero = _median(magnitudes), _median(quotients), _median(zeros)
        early = epoch.share < 0.5
        faded = size < 1e-5 or quotient < 1e-4 or bool((magnitudes == 0).any())
        still = len(losses) >= 3 and _variation(losses) < 1e-4
        problems = {
            "not finite": not epoch.is_finite,
            "exploding": size > 1e4 or quotient > 1e3,
            "vanishing": early and faded,
            "dying ReLU": len(losses) >= 5 and zero > 0.5,
            "no convergence": (early and still) or _gained_nothing(losses) or _gained_nothing(held_out),
            "oscillation": not early and (_oscillates(losses) or _oscillates(held_out)),
        }
        for problem, holds in problems.items():
            if holds:
                return epoch, problem
    return None


def _median(values: npt.NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _variation(values: Sequence[float]) -> float:
    mean = statistics.fmean(values)
    return statistics.pstdev(values) / mean if mean else math.nan


def _gained_nothing(losses: Sequence[float]) -> bool:
    """Return whether the mean loss of the last three epochs is above that of the three before."""
    return len(losses) >= 6 and statistics.fmean(losses[-3:]) > statistics.fmean(losses[-6:-3])


def _oscillates(losses: Sequence[float]) -> bool:
    """Return whether the loss of the last six epochs rises by 0.01 an epoch and varies by more than 20%."""
    last = losses[-6:]
    return len(last) > 1 and float(np.polyfit(np.arange(len(last)), last, 1)[0]) >= 0.01 and _variation(last) > 0.2


@dataclass(frozen=True, kw_only=True)
class PeerArm:
    """One of the tools as an arm; `found` gives the epoch and the problem of a trial that it would have flagged."""

    name: str
    found: Callable[[Recording, Case], tuple[Epoch, str] | None]

    def verdicts(self, recording: Recording) -> Verdicts | str:
        """Return a verdict on every case."""
        return {case.number: self._verdict(recording, case) for case in recording.cases}

    def _verdict(self, recording: Recording, case: Case) -> Verdict | None:
        found = self.found(recording, case)
        if found is None or found[0].step >= case.steps - 1:
            return None
        epoch, problem = found
        reason = f"{problem}, as {self.name} defines it"
        return Verdict(flags=tuple(Flag(rule=name, step=epoch.step, reason=reason) for name in CLASSES[problem]))


def _by_autotrainer(recording: Recording, case: Case) -> tuple[Epoch, str] | None:
    is_accuracy = recording.maximize and all(one.value <= 1 for one in case.evaluations if math.isfinite(one.value))
    return autotrainer(epochs_of(recording, case), is_accuracy=is_accuracy)


def _by_bttackler(recording: Recording, case: Case) -> tuple[Epoch, str] | None:
    return bttackler(epochs_of(recording, case))


def arms() -> Iterator[Arm]:
    """Yield the arms that are compared."""
    yield from (arm for arm in DEFAULTS if isinstance(arm, HealthArm) and arm.name in (AUTO, AUTO_AND_WARNINGS))
    yield RuleArm(settings=config.Stalled(), is_default=True)
    yield PeerArm(name="autotrainer", found=_by_autotrainer)
    yield PeerArm(name="bttackler", found=_by_bttackler)
    yield PrunerArm(settings=config.Median())
    yield PrunerArm(settings=config.SuccessiveHalving())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--truth", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--reasons", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    recordings = read_recordings(options.runs, truths=options.truth, say=print)
    report = backtest(recordings, list(arms()))
    if options.json:
        print(json.dumps(to_json(report, reasons=options.reasons), indent=1))
    else:
        Console(width=WIDTH).print(report_table(report, reasons=options.reasons))


if __name__ == "__main__":
    main()
