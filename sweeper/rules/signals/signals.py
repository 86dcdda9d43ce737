"""The state of a run up to a step: the signals that every diagnosis reads.

Each event of a trial is read once. All diagnoses are made from the same signals at the same moments: at each
observation, and without a watch at every `REPORTS`-th report. Levels are means over windows, so that no diagnosis
follows from a single value.

The reported value that is the training loss is chosen by its name (`metric_names`). If no name fits, there is no loss,
and the diagnoses that read one do not fire.

A run makes progress if its loss fell by a share of its start, beyond its noise, or if its score improved. The score is
the metric of the sweep if that is known, else a value with a name that implies that larger is better.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

from sweeper.record.events import Event, Metrics, Observation, Parameters, Plan, Resumed, Watching
from sweeper.record.objectives import Objective
from sweeper.record.values.schedule import effective_lr
from sweeper.rules.signals.binned_series import FIRST, BinnedSeries
from sweeper.rules.signals.metric_names import held_out_loss, is_loss, score, training_loss

REPORTS, WATCHED_REPORTS = 10, 100
"""Diagnoses are made after this number of reports: without a watch, and with one that observed nothing meanwhile."""
KEPT = 16
"""Number of newest observations that are kept."""
SMALLEST_SHARE = 0.01
"""Below this share of the peak learning rate, updates are too small to be measured against it."""

LEARNED = 0.1
"""A run learns if its loss fell by this share of its baseline, beyond its noise."""
KEEPS = 0.3
"""A run has lost its gain if less than this share of it is left."""
SCORED, CLEARLY = 0.05, 0.3
"""A run learns if its score improved by the first share of its range; by the second if the loss contradicts it."""
CONSTANT = 0.03
"""A loss is no better than that of a constant prediction if it is below it by less than this share."""
THROWN, GROWN, ROSE = 1.0, 10.0, 3.0
"""A run blew up if an update was larger than this multiple of the weights, or if the weights or the loss rose to more
than this multiple of their start.
"""
RESOLVED, DIGITS = 1e-5, 5
"""A loss is constant if it changes by less than this share of itself. A loss with no more decimals was rounded."""
ABOVE_PRIOR = 1.03
"""A loss above this multiple of its baseline is worse than the baseline, and not equal within noise."""
LARGE, WRECKED = 0.5, 1.0
"""Root mean squares of all weights that are larger than in usual initializations."""
NOISE, SURE = 2.0, 3.0
"""A difference counts if it is larger than this number of its standard errors."""
FALLS = 0.01
SAME = 0.2
"""Two losses count as the same if they differ by no more than this share; a report may be a mean over steps."""


class Signals:
    """The signals of a run so far; only `take` changes them.

    Attributes:
        step: the newest step of any event; -1 before the first.
        total_steps: planned optimizer steps; None without a plan.
        peak_lr: the highest learning rate planned, or else observed.
        reported_step: the newest step at which the loss was reported; -1 before the first.
        loss: the training loss, with the name `loss_name`; empty if none is reported.
        held_out: a loss on held-out examples, with the name `held_out_name`.
        prior: the reported loss of the class prior, `loss/prior`.
        objective: the score, with the name `objective_name`, signed so that less is better.
        newest: the newest observations, oldest first.
        observations: the number of observations so far.
        norm: the logarithm (base 10) of the gradient norm.
        reach: the reach.
        ratio: the update ratio over the learning rate as a share of its peak.
        slowest: the smallest update ratio of a network, over the same share.
        parameters: the parameters of the model; None in records of early versions.
        watching: the watched tensors; None before the first observation.
        mismatch: whether a loss function was given an input that it does not expect.
        not_finite: the number of newest reports in a row that are not finite, for each value that has such.
        uncorrected: the betas of an Adam without bias correction; empty otherwise.
        largest_ratio: the largest update ratio so far; 0 before one is known.
        start_norm: the norm of all watched weights at the first observation where it is above 0; NaN before.
        equal_units: the newest share of inner layers with equal units; NaN if it was not recorded.
        comparisons: the number of observations at which units were compared.
        largest_norm: the largest norm of all watched weights so far.
        peak_effective_lr: the highest effective learning rate (`record.values.schedule`); NaN before one is known.
    """

    def __init__(self, objective: Objective | None = None) -> None:
        # If the metric is a loss, the score is chosen by name: a loss is noisy, and falls to the class prior too.
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
        self.loss = BinnedSeries()
        self.held_out = BinnedSeries()
        self.prior = BinnedSeries()
        self.objective = BinnedSeries()
        self.newest: deque[Observation] = deque(maxlen=KEPT)
        self.observations = 0
        self.norm = BinnedSeries()
        self.reach = BinnedSeries()
        self.ratio = BinnedSeries()
        self.slowest = BinnedSeries()
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
        self.comparisons = 0

    def take(self, event: Event) -> bool:
        """Read an event; return whether diagnoses have to be made now."""
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
        """Accept the loss of a constant prediction if the watched loss function returned the loss that is reported."""
        seen = self._seen_loss
        if seen is not None and step >= seen[0]:
            self._seen_loss = None
            if abs(value - seen[1]) <= SAME * max(abs(seen[1]), abs(value)):
                self._priors.append(seen[2])

    def _choose(self) -> None:
        """Choose the values to read by their names. A better name for the loss replaces an earlier choice."""
        loss = training_loss(self._names)
        if loss != self.loss_name:
            self.loss_name, self.loss = loss, BinnedSeries()
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
            self.comparisons += 1

    def scheduled(self, observation: Observation, ratio: float) -> float:
        """Return an update ratio over the learning rate as a share of its peak; NaN below 1% of the peak."""
        part = observation.learning_rate / self.peak_lr if self.peak_lr > 0 else math.nan
        return ratio / part if part >= SMALLEST_SHARE else math.nan

    # ---- properties that several diagnoses read -----------------------------------------------------------------

    @property
    def plan_done(self) -> float:
        """The share of the planned steps that is done, 0 to 1; NaN without a plan."""
        return math.nan if self.total_steps is None else min(1.0, (self.step + 1) / self.total_steps)

    @property
    def travel(self) -> float:
        """The relative change of the weights over all planned steps, if every step had the same direction.

        This is the update ratio at the peak learning rate times the planned steps; NaN before it is known.
        """
        return self._travel(self.ratio)

    @property
    def shortest_travel(self) -> float:
        """The `travel` of the network with the slowest weights; NaN if the model is one network."""
        return self._travel(self.slowest)

    def _travel(self, ratios: BinnedSeries) -> float:
        return math.nan if self.total_steps is None or not ratios.count else ratios.level() * self.total_steps

    def window(self, name: str, count: int) -> list[float]:
        """Return a field of the newest `count` observations, without undefined values."""
        found = [getattr(one, name) for one in list(self.newest)[-count:]]
        return [value for value in found if not math.isnan(value)]

    def activation(self, name: str, count: int) -> float:
        """Return the median of an activation summary over the newest `count` observations; NaN if there are fewer."""
        found = [one.activations[name] for one in list(self.newest)[-count:] if name in one.activations]
        return statistics.median(found) if len(found) >= count else math.nan

    def weight(self, name: str, count: int) -> float:
        """Return the median of a weight summary over the newest `count` observations; NaN if there are fewer."""
        found = [one.weights[name] for one in list(self.newest)[-count:] if name in one.weights]
        return statistics.median(found) if len(found) >= count else math.nan

    @property
    def is_nonnegative(self) -> bool:
        """Whether the loss was never below 0, so that its share of its start means something."""
        return self.loss.count > 0 and self.loss.lowest >= 0

    @property
    def baseline(self) -> float:
        """The loss that gains are measured from: that of a constant prediction, or the start if it is lower; or NaN.

        A run that starts far above the loss of a constant prediction has learned nothing when it falls to that loss.
        """
        prior = self.prior_loss
        return min(self.loss.start, prior) if math.isfinite(prior) else self.loss.start

    @property
    def prior_loss(self) -> float:
        """The loss of a constant prediction; NaN if it is not known.

        The script reports it, or the watch computes it from the targets. The latter counts only if the watched loss
        function returned the loss that the script reports, so that both are the same kind of loss.
        """
        if self.prior.count:
            return self.prior.level()
        return statistics.median(self._priors) if self._priors else math.nan

    @property
    def loss_over_baseline(self) -> float:
        """The loss divided by its baseline; NaN before it is known, or if the loss was ever below 0."""
        known = self.loss.count >= self.loss.window and self.is_nonnegative and self.baseline > 0
        return self.loss.level() / self.baseline if known else math.nan

    @property
    def gain(self) -> float:
        """The largest fall of the loss so far, as a share of its baseline; 0 within noise; NaN before it is known."""
        loss = self.loss
        if loss.count < 2 * loss.window or not math.isfinite(loss.best):
            return math.nan
        base = self.baseline
        fell = max(0.0, base - loss.best - NOISE * self._noise)
        scale = abs(base) if self.is_nonnegative else abs(base) + abs(loss.best)
        return fell / scale if scale > 0 else 0.0

    @property
    def _noise(self) -> float:
        """The standard error of the best level, and of the start if that is the baseline."""
        noise = self.loss.best_noise
        at_start = 0.0 if math.isfinite(self.prior_loss) else 1 / FIRST
        return noise * math.sqrt(at_start + 1 / self.loss.window) if math.isfinite(noise) else 0.0

    @property
    def gain_kept(self) -> float:
        """The share of the best gain that is left: at most 1, negative above the start; NaN without a gain."""
        fell = self.baseline - self.loss.best
        return (self.baseline - self.loss.level()) / fell if fell > 0 else math.nan

    @property
    def is_falling(self) -> bool:
        """Whether the loss fell in the last quarter of the run, by more than its noise and 1% of its start."""
        loss = self.loss
        scale = abs(loss.start) if self.is_nonnegative else abs(loss.start) + abs(loss.best)
        return loss.fell_by(0.25) > SURE and loss.change_over(0.25) > FALLS * scale

    @property
    def score_gain(self) -> float:
        """The best improvement of the score on its first value; NaN before the second value.

        If the first value is between -1 and 1, as that of an accuracy, this is the difference, else its share.
        """
        return self._score_gain_at(self.objective.lowest)

    def _score_gain_at(self, value: float) -> float:
        course = self.objective
        if course.count < 2:  # noqa: PLR2004 - a first value, and one to compare with it
            return math.nan
        scale = 1.0 if abs(course.first) <= 1 else max(abs(course.first), abs(course.lowest))
        return max(0.0, course.first - value) / scale

    @property
    def score_improved(self) -> bool:
        """Whether the score has improved, and has kept at least half of the improvement.

        If the loss is no better than that of a constant prediction, only a large improvement counts, because a constant
        prediction can improve the score too.
        """
        constant = math.isfinite(self.prior_loss) and self.is_nonnegative and self.gain < CONSTANT
        return (
            self.score_gain >= (CLEARLY if constant else SCORED)
            and self._score_gain_at(self.objective.last) >= self.score_gain / 2
        )

    @property
    def is_constant(self) -> bool:
        """Whether the loss has not changed beyond rounding errors, although it is reported with all its digits.

        Neither the batches nor the updates change it, so that an improvement of the score is chance.
        """
        loss = self.loss
        known = loss.count >= 4 * loss.window and math.isfinite(loss.last) and round(loss.last, DIGITS) != loss.last
        return known and loss.highest - loss.best < RESOLVED * abs(loss.start) and not self.score_gain >= CLEARLY

    @property
    def harmful_ratio(self) -> float:
        """The largest update ratio so far if the loss is above its baseline and nothing was gained; else 0.

        In a healthy run an update is a small share of the weights; an update larger than the weights replaces them.
        Weights that start very small are replaced in healthy runs too, but then the loss stays at that of a constant
        prediction. Without a loss, the score has to be flat and the weights have to have become large.
        """
        if self.loss.count:
            lost = self.loss_over_baseline > ABOVE_PRIOR and not self.gain >= LEARNED
        else:
            lost = (
                self.objective.count > 1 and self.score_gain < SCORED and self.largest_norm > LARGE * self._root_entries
            )
        return self.largest_ratio if lost else 0.0

    @property
    def weights_exploded(self) -> bool:
        """Whether the weights grew far above their start, and above the usual size of weights that started small."""
        return self.largest_norm > max(GROWN * self.start_norm, WRECKED * self._root_entries)

    @property
    def _root_entries(self) -> float:
        """The square root of the number of watched weights; NaN before it is known."""
        return math.nan if self.watching is None else math.sqrt(sum(self.watching.sizes))

    @property
    def blow_up(self) -> str:
        """How the run blew up, as text; empty if it never did.

        An update was larger than the weights, the weights grew far above their start, or the loss rose far above its
        start. A run may recover from this. But if units are dead or gradients gone afterwards, this is the cause.
        """
        if self.largest_ratio > THROWN:
            return f"an update was {self.largest_ratio:.2g} times the weights"
        if self.largest_norm > GROWN * self.start_norm:
            return f"the weights grew to {self.largest_norm / self.start_norm:.2g} times their norm at the start"
        loss = self.loss
        if self.is_nonnegative and loss.start > 0 and loss.highest > ROSE * loss.start:
            return f"{self.loss_name} rose to {loss.highest:.4g} from {loss.start:.4g}"
        return ""

    @property
    def is_learning(self) -> bool:
        """Whether the run has learned and has kept its gain, judged by its score or its loss."""
        return self.score_improved or (self.gain >= LEARNED and self.gain_kept >= KEEPS) or self.is_falling

    def gain_text(self) -> str:
        """Return the start and the current value of the loss and the score as text."""
        parts = []
        if self.loss.count:
            parts.append(f"{self.loss_name} began at {self.loss.start:.4g} and is now {self.loss.level():.4g}")
            if math.isfinite(self.prior_loss):
                parts[-1] += f" (the loss of a constant prediction is {self.prior_loss:.4g})"
        if self.objective.count > 1:
            first, last = self._shown(self.objective.first), self._shown(self.objective.last)
            parts.append(f"{self.objective_name} began at {first:.4g} and is now {last:.4g}")
        return ", ".join(parts) or "no training loss and no score was reported"

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
        """Return the score with the sign in which it was reported."""
        less_is_better = self._objective is not None and not self._objective.maximize
        return value if less_is_better else -value
