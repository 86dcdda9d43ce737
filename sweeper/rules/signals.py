"""What a run shows up to a step: the signals that every diagnosis reads.

The events of a trial are taken in once; the diagnoses then look at the same signals, at the same moments: at each
observation, and where a script is not watched, at every `REPORTS`-th report. Levels are means over windows, so no
diagnosis follows from a single value.

**Which reported value is the loss** is chosen by name (`rules.names`). Where none says so there is no loss, and the
diagnoses that read one stay silent.

**What counts as progress.** A loss that fell by a part of its start, by more than its noise; or a score that rose: the
sweep's own metric where it is known, else a value whose name says that more of it is better.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass

from sweeper.record.events import Event, Metrics, Observation, Parameters, Plan, Resumed, Watching
from sweeper.record.schedule import effective_lr
from sweeper.rules.course import FIRST, Course
from sweeper.rules.names import held_out_loss, is_loss, score, training_loss

REPORTS, WATCHED_REPORTS = 10, 100
"""Reports after which the diagnoses look: without a watch, and with one that has observed nothing meanwhile."""
KEPT = 16
"""Observations that stay known one by one."""
SMALLEST_PART = 0.01
"""Under this part of the peak learning rate, updates are too small to be measured against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The metric of the sweep, and whether more of it is better."""

    name: str
    maximize: bool


class Signals:
    """What a run shows so far; `take` is its only way to change.

    Attributes:
        step: the newest step of which anything is known; -1 before the first.
        total_steps: planned optimizer steps; None without a plan.
        peak_lr: the highest learning rate planned, or else observed.
        reported_step: the newest step of which the loss was reported; -1 before the first.
        loss: the course of the training loss, named `loss_name`; empty where none is reported.
        held_out: the course of a loss on held-out examples, named `held_out_name`.
        prior: the course of the reported loss of the class prior, as `loss/prior`.
        objective: the course of the score, signed so that less is better, named `objective_name`.
        newest: the newest observations, oldest first.
        observations: how many there were.
        norm: the course of the logarithm (base 10) of the gradient's norm.
        reach: the course of the reach.
        ratio: the course of the update ratio over the learning rate as a part of its peak.
        slowest: the course of the smallest update ratio of a network, over the learning rate as `ratio`.
        parameters: what `watch` found in the model; None in records of before it was written.
        watching: what is watched; None before the first observation.
        mismatch: whether a loss function was given what it does not expect.
        not_finite: for each value whose newest reports are not finite, how many in a row.
        uncorrected: the betas of an Adam without bias correction; empty otherwise.
        largest_ratio: the largest update ratio observed so far; 0 before one is known.
        start_norm: the norm of all watched weights at the first observation that has one above 0; NaN before it.
        equal_units: the newest share of inner layers whose units are equal; NaN where it was not recorded.
        compared: observations at which units were compared.
        largest_norm: the largest such norm so far.
        peak_effective_lr: the highest learning rate as it acted (`record.schedule`); NaN before one is known.
    """

    def __init__(self, objective: Objective | None = None) -> None:
        # A loss as the metric is noisy, and falls to the class prior too: the score is chosen by name then.
        self._objective = None if objective is None or is_loss(objective.name) else objective
        self._names: set[str] = set()
        self._reports = 0
        self._priors: list[float] = []
        self._seen_loss: tuple[int, float, float] | None = None
        self.step = -1
        self.reported_step = -1
        self.total_steps: int | None = None
        self.peak_lr = 0.0
        self._planned_lr = False
        self.loss_name: str | None = None
        self.held_out_name: str | None = None
        self.objective_name = "" if self._objective is None else self._objective.name
        self.loss = Course()
        self.held_out = Course()
        self.prior = Course()
        self.objective = Course()
        self.newest: deque[Observation] = deque(maxlen=KEPT)
        self.observations = 0
        self.norm = Course()
        self.reach = Course()
        self.ratio = Course()
        self.slowest = Course()
        self.parameters: Parameters | None = None
        self.watching: Watching | None = None
        self.mismatch = False
        self.not_finite: dict[str, int] = {}
        self.uncorrected: tuple[float, ...] = ()
        self.peak_effective_lr = math.nan
        self.largest_ratio = 0.0
        self.start_norm = math.nan
        self.largest_norm = math.nan
        self.equal_units = math.nan
        self.compared = 0

    def take(self, event: Event) -> bool:
        """Take in an event; return whether the diagnoses are to look now."""
        if isinstance(event, Metrics):
            return self._take_metrics(event)
        if isinstance(event, Observation):
            self._take_observation(event)
            return True
        if isinstance(event, Plan):
            self.total_steps = event.total_steps if event.total_steps > 0 else None
            self.uncorrected = event.uncorrected
            if event.peak_lr:
                self.peak_lr, self._planned_lr = event.peak_lr, True
        elif isinstance(event, Parameters):
            self.parameters = event
        elif isinstance(event, Watching):
            self.watching = event
        elif isinstance(event, Resumed):
            self.step = max(self.step, event.step)
        return False

    def _take_metrics(self, event: Metrics) -> bool:
        values = event.values
        self.step = max(self.step, event.step)
        if not self._names.issuperset(values):
            self._names.update(values)
            self._choose()
        if self.loss_name is not None and self.loss_name in values:
            self.loss.add(event.step, values[self.loss_name])
            self._compare(event.step, values[self.loss_name])
            self.reported_step = max(self.reported_step, event.step)
        if self.held_out_name is not None and self.held_out_name in values:
            self.held_out.add(event.step, values[self.held_out_name])
        if "loss/prior" in values:
            self.prior.add(event.step, values["loss/prior"])
        if self.objective_name in values:
            value = values[self.objective_name]
            less_is_better = self._objective is not None and not self._objective.maximize
            self.objective.add(event.step, value if less_is_better else -value)
        for name, value in values.items():
            if not math.isfinite(value):
                self.not_finite[name] = self.not_finite.get(name, 0) + 1
            elif name in self.not_finite:
                del self.not_finite[name]
        self._reports += 1
        if self._reports < (WATCHED_REPORTS if self.observations else REPORTS):
            return False
        self._reports = 0
        return True

    def _compare(self, step: int, value: float) -> None:
        """Take the loss of a constant prediction for known where the loss that was seen is the one reported."""
        seen = self._seen_loss
        if seen is not None and step >= seen[0]:
            self._seen_loss = None
            if abs(value - seen[1]) <= SAME * max(abs(seen[1]), abs(value)):
                self._priors.append(seen[2])

    def _choose(self) -> None:
        """Choose which of the reported names are read; a better name replaces one that was chosen before it."""
        loss = training_loss(self._names)
        if loss != self.loss_name:
            self.loss_name, self.loss = loss, Course()
        if self.held_out_name is None:
            self.held_out_name = held_out_loss(self._names)
        if not self.objective_name:
            self.objective_name = score(self._names) or ""

    def _take_observation(self, event: Observation) -> None:
        self.step = max(self.step, event.step)
        self.newest.append(event)
        self.observations += 1
        if not math.isnan(event.reach):
            self.reach.add(event.step, event.reach)
        self._reports = 0
        if not self._planned_lr and event.learning_rate > self.peak_lr:
            self.peak_lr = event.learning_rate
        rate = effective_lr(event.learning_rate, event.step, self.uncorrected)
        if not rate <= self.peak_effective_lr:
            self.peak_effective_lr = rate
        if event.gradient_norm > 0 and math.isfinite(event.gradient_norm):
            self.norm.add(event.step, math.log10(event.gradient_norm))
        if math.isfinite(ratio := self.scheduled(event, event.update_ratio)):
            self.ratio.add(event.step, ratio)
        self._take_weights(event)
        losses = event.activations
        if "loss_prior" in losses and "loss_value" in losses:
            self._seen_loss = (event.step, losses["loss_value"], losses["loss_prior"])
        self.mismatch = self.mismatch or event.activations.get("loss_mismatch", 0.0) > 0

    def _take_weights(self, event: Observation) -> None:
        weights = event.weights
        if math.isfinite(event.update_ratio):
            self.largest_ratio = max(self.largest_ratio, event.update_ratio)
        if math.isfinite(ratio := self.scheduled(event, weights.get("slowest", math.nan))):
            self.slowest.add(event.step, ratio)
        norm = weights.get("norm", 0.0)
        if norm > 0:
            self.start_norm = norm if math.isnan(self.start_norm) else self.start_norm
            self.largest_norm = max(norm, self.start_norm, self.largest_norm)
        if "equal_units" in weights:
            self.equal_units = weights["equal_units"]
            self.compared += 1

    def scheduled(self, observation: Observation, ratio: float) -> float:
        """Return an update ratio over the learning rate as a part of its peak; NaN under 1% of the peak."""
        part = observation.learning_rate / self.peak_lr if self.peak_lr > 0 else math.nan
        return ratio / part if part >= SMALLEST_PART else math.nan

    # ---- what is asked by several diagnoses --------------------------------------------------------------------

    @property
    def share(self) -> float:
        """Part of the plan that is done, 0 to 1; NaN without a plan."""
        return math.nan if self.total_steps is None else min(1.0, (self.step + 1) / self.total_steps)

    @property
    def travel(self) -> float:
        """How far the weights would come in the whole plan, as a part of themselves, if every step led one way.

        The update ratio at the peak learning rate times the planned steps; NaN before it is known.
        """
        return self._travel(self.ratio)

    @property
    def shortest_travel(self) -> float:
        """As `travel`, of the network whose weights move least; NaN where the model is one network."""
        return self._travel(self.slowest)

    def _travel(self, ratios: Course) -> float:
        return math.nan if self.total_steps is None or not ratios.count else ratios.level() * self.total_steps

    def window(self, name: str, count: int) -> list[float]:
        """Return the newest values of an observation's field, at most `count`, without those that are undefined."""
        found = [getattr(one, name) for one in list(self.newest)[-count:]]
        return [value for value in found if not math.isnan(value)]

    def activation(self, name: str, count: int) -> float:
        """Return the median of a summary of activations over the newest observations; NaN with fewer than `count`."""
        found = [one.activations[name] for one in list(self.newest)[-count:] if name in one.activations]
        return statistics.median(found) if len(found) >= count else math.nan

    def weight(self, name: str, count: int) -> float:
        """Return the median of a summary of the weights over the newest observations; NaN with fewer than `count`."""
        found = [one.weights[name] for one in list(self.newest)[-count:] if name in one.weights]
        return statistics.median(found) if len(found) >= count else math.nan

    @property
    def natural(self) -> bool:
        """Whether the loss has a natural zero as far as is known: it was never below it."""
        return self.loss.count > 0 and self.loss.lowest >= 0

    @property
    def baseline(self) -> float:
        """The loss from which a gain counts: that of a constant prediction, or the start where that is lower; or NaN.

        A run that begins far above the loss of a constant prediction has gained nothing by falling to it.
        """
        prior = self.prior_loss
        return min(self.loss.start, prior) if math.isfinite(prior) else self.loss.start

    @property
    def prior_loss(self) -> float:
        """The loss of a constant prediction; NaN where it is not known.

        The script reports it, or the watch saw it; the latter counts where what the loss function returned is what the
        script reports, so that the two are of one kind.
        """
        if self.prior.count:
            return self.prior.level()
        return statistics.median(self._priors) if self._priors else math.nan

    @property
    def excess(self) -> float:
        """How many times its baseline the loss is; NaN before it is known, or without a natural zero."""
        known = self.loss.count >= self.loss.window and self.natural and self.baseline > 0
        return self.loss.level() / self.baseline if known else math.nan

    @property
    def gain(self) -> float:
        """How much the loss has fallen at best, as a part of its baseline; 0 within noise; NaN before it is known."""
        loss = self.loss
        if loss.count < 2 * loss.window or not math.isfinite(loss.best):
            return math.nan
        base = self.baseline
        fell = max(0.0, base - loss.best - NOISE * self._noise)
        scale = abs(base) if self.natural else abs(base) + abs(loss.best)
        return fell / scale if scale > 0 else 0.0

    @property
    def _noise(self) -> float:
        """The standard error of the best level, and of the start where that is the baseline."""
        noise = self.loss.best_noise
        at_start = 0.0 if math.isfinite(self.prior_loss) else 1 / FIRST
        return noise * math.sqrt(at_start + 1 / self.loss.window) if math.isfinite(noise) else 0.0

    @property
    def kept(self) -> float:
        """Which part of its best gain the loss still has: 1 or less, negative above the start; NaN without a gain."""
        fell = self.baseline - self.loss.best
        return (self.baseline - self.loss.level()) / fell if fell > 0 else math.nan

    @property
    def falling(self) -> bool:
        """Whether the loss fell in the last quarter of the run, by more than its noise and 1% of its start."""
        loss = self.loss
        scale = abs(loss.start) if self.natural else abs(loss.start) + abs(loss.best)
        return loss.fell_by(0.25) > SURE and loss.change_over(0.25) > FALLS * scale

    @property
    def scored(self) -> float:
        """How much the score has improved on its first value; NaN before its second.

        A part of its range where the first value lies between -1 and 1, as an accuracy does; else a part of the value.
        """
        return self._scored(self.objective.lowest)

    def _scored(self, value: float) -> float:
        course = self.objective
        if course.count < 2:  # noqa: PLR2004 - a first value, and one to compare with it
            return math.nan
        scale = 1.0 if abs(course.first) <= 1 else max(abs(course.first), abs(course.lowest))
        return max(0.0, course.first - value) / scale

    @property
    def scoring(self) -> bool:
        """Whether the score has improved, and has kept at least half of that.

        Where the loss is no better than that of a constant prediction, so is the score by as much as that gives: then
        only a large improvement counts.
        """
        constant = math.isfinite(self.prior_loss) and self.natural and self.gain < CONSTANT
        return self.scored >= (CLEARLY if constant else SCORED) and self._scored(self.objective.last) >= self.scored / 2

    @property
    def unmoved(self) -> bool:
        """Whether the loss has not changed, beyond the rounding of numbers, though it is reported in all its digits.

        No batch of another difficulty and no update shows in it, so a score that rose did so by chance.
        """
        loss = self.loss
        known = loss.count >= 4 * loss.window and math.isfinite(loss.last) and round(loss.last, DIGITS) != loss.last
        return known and loss.highest - loss.best < RESOLVED * abs(loss.start) and not self.scored >= CLEARLY

    @property
    def thrown(self) -> float:
        """The largest update ratio so far where the loss is above its baseline and nothing was gained; else 0.

        The update of a healthy run is a small part of the weights; one larger than the weights replaces them. Weights
        that start very small are replaced too: their loss stays at that of a constant prediction. Where no loss says
        how the run stands, the score has to be flat, and the weights have to have grown large.
        """
        if self.loss.count:
            lost = self.excess > ABOVE_PRIOR and not self.gain >= LEARNED
        else:
            lost = self.objective.count > 1 and self.scored < SCORED and self.largest_norm > LARGE * self._root_entries
        return self.largest_ratio if lost else 0.0

    @property
    def wrecked(self) -> bool:
        """Whether the weights grew far beyond their start, and beyond what weights that started small grow to."""
        return self.largest_norm > max(GROWN * self.start_norm, WRECKED * self._root_entries)

    @property
    def _root_entries(self) -> float:
        """The square root of the number of watched weights; NaN before it is known."""
        return math.nan if self.watching is None else math.sqrt(sum(self.watching.sizes))

    @property
    def blown(self) -> str:
        """Return in words how the run once blew up; empty where it never did.

        An update was larger than the weights, the weights grew far beyond their start, or the loss stood well above
        its start. A run may recover from it. But where units are dead or gradients gone afterwards, this is the cause.
        """
        if self.largest_ratio > THROWN:
            return f"an update was {self.largest_ratio:.2g} times the weights"
        if self.largest_norm > GROWN * self.start_norm:
            return f"the weights grew to {self.largest_norm / self.start_norm:.2g} times their norm at the start"
        loss = self.loss
        if self.natural and loss.start > 0 and loss.highest > ROSE * loss.start:
            return f"{self.loss_name} rose to {loss.highest:.4g} from {loss.start:.4g}"
        return ""

    @property
    def progressing(self) -> bool:
        """Whether the run has shown that it learns and has not lost it: by its score, or by its loss."""
        return self.scoring or (self.gain >= LEARNED and self.kept >= KEEPS) or self.falling

    def gain_text(self) -> str:
        """Return what the loss and the score have gained, in words."""
        parts = []
        if self.loss.count:
            parts.append(f"{self.loss_name} began at {self.loss.start:.4g} and is {self.loss.level():.4g}")
            if math.isfinite(self.prior_loss):
                parts[-1] += f" (a constant prediction has {self.prior_loss:.4g})"
        if self.objective.count > 1:
            first, last = self._shown(self.objective.first), self._shown(self.objective.last)
            parts.append(f"{self.objective_name} began at {first:.4g} and is {last:.4g}")
        return ", ".join(parts) or "no training loss and no score is reported"

    def gain_evidence(self) -> dict[str, object]:
        """Return the values behind `gain_text`."""
        evidence: dict[str, object] = {}
        if self.loss.count:
            evidence |= {"loss": self.loss_name, "loss_start": self.loss.start, "loss_now": self.loss.level()}
        if self.objective.count > 1:
            first, last = self._shown(self.objective.first), self._shown(self.objective.last)
            evidence |= {"score": self.objective_name, "score_start": first, "score_now": last}
        return evidence

    def _shown(self, value: float) -> float:
        """The score as it was reported."""
        less_is_better = self._objective is not None and not self._objective.maximize
        return value if less_is_better else -value


LEARNED = 0.1
"""A loss that fell by this part of its start, beyond its noise, is one that learns."""
KEEPS = 0.3
"""A run that has less than this part of its gain left has lost it."""
SCORED, CLEARLY = 0.05, 0.3
"""A score that rose by this part of its range is one that learns; clearly, where the loss says otherwise."""
CONSTANT = 0.03
"""A loss that gained less than this on a constant prediction is no better than one."""
THROWN, GROWN, ROSE = 1.0, 10.0, 3.0
"""A run blew up where an update was so many times the weights, or where the weights or the loss rose to so many times
their start.
"""
RESOLVED, DIGITS = 1e-5, 5
"""A loss that changes by less than this part of itself does not change; one of so few decimals was rounded."""
ABOVE_PRIOR = 1.03
"""A loss above so many times its baseline is worse than it, and not the same within noise."""
LARGE, WRECKED = 0.5, 1.0
"""Root mean squares of all weights that are larger than in usual starts."""
NOISE, SURE = 2.0, 3.0
"""A difference counts beyond so many of its standard errors."""
FALLS = 0.01
SAME = 0.2
"""Two losses are taken for the same if they differ by no more than this part; a report may be a mean over steps."""
