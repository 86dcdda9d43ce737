"""Conditions, which rules are made of: pure reducers over a trial's history that say at a look whether they hold.

A single look is not trusted: a learner dips now and then, and a collapse can leak. The median over a window of looks
sees through both. What is undefined passes by.
"""

from __future__ import annotations

import functools
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sweeper.record.events import Event, Metrics, Observation, Plan, Watching
from sweeper.rules.words import beside

FIRST_LOOKS = 5
FEWEST = 2
"""Values that a mean is taken of at least, at the start of a run."""
SMALLEST_PART = 0.01
"""Under this part of the peak learning rate, updates are too small to be measured against it."""
NOT_TRAINED = re.compile("test|val|eval|prior|dev")
"""In the names of losses that are not what the optimizer minimizes."""
Look = tuple[int, float]


Told = tuple[str, Mapping[str, object]]
"""A finding in words, and the values that it was made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a condition says at a step: whether it holds; of the many looks of a run, few are asked for more."""

    step: int
    holds: bool
    tell: Callable[[], Told]

    @property
    def text(self) -> str:
        """In words."""
        return self.tell()[0]

    @property
    def evidence(self) -> Mapping[str, object]:
        """The values that it was made from."""
        return self.tell()[1]


class Condition(Protocol):
    """A reducer; its state is its own affair."""

    @property
    def name(self) -> str:
        """Its name in a sweep file."""

    def start(self) -> Any:  # noqa: ANN401 - each condition has a state of its own
        """The state before the first event."""

    def step(self, state: Any, event: Event) -> tuple[Any, Finding | None]:  # noqa: ANN401 - as above
        """The state after one more event, and what it says of it; None where it says nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """The looks at the start of a run, and the newest ones."""

    first: tuple[float, ...] = ()
    window: tuple[Look, ...] = ()

    def and_(self, step: int, value: float, window: int) -> Looks:
        """With one more look."""
        first = self.first if len(self.first) == FIRST_LOOKS else (*self.first, value)
        return Looks(first=first, window=(*self.window, (step, value))[-window:])

    @property
    def median(self) -> float:
        """Of the newest looks."""
        return statistics.median(value for _, value in self.window)

    @property
    def at_start(self) -> float:
        """The median of the first looks."""
        return statistics.median(self.first)

    def evidence(self, statistic: str, threshold: float) -> dict[str, object]:
        """The values a verdict is made from."""
        middle = self.median
        return {
            "statistic": statistic,
            "window": [list(look) for look in self.window],
            "median": middle,
            "threshold": threshold,
            "margin": threshold / middle if middle else math.inf,
            "at_start": self.at_start,
        }

    def span(self) -> str:
        """Which steps they are from."""
        return f"the looks at steps {self.window[0][0]} to {self.window[-1][0]}"


# ---- conditions on what the watch saw --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachState:
    """The looks, the names of the layers, and since when the gradient has not reached all of them."""

    looks: Looks = field(default_factory=Looks)
    layers: tuple[str, ...] = ()
    reaches: int = 0
    broken_since: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VanishingGradient:
    """The median of `reach` over `window` looks is under `below`, or under `of_start` times that of the first looks."""

    below: float
    of_start: float | None
    window: int
    name: str = "vanishing_gradient"

    def start(self) -> ReachState:
        """No look yet."""
        return ReachState()

    def step(self, state: ReachState, event: Event) -> tuple[ReachState, Finding | None]:
        """Take in an observation."""
        if isinstance(event, Watching):
            return replace(state, layers=event.layers), None
        if not isinstance(event, Observation) or math.isnan(event.reach):
            return state, None
        since = state.broken_since if state.broken_since is not None else event.step
        state = ReachState(
            looks=state.looks.and_(event.step, event.reach, self.window),
            layers=state.layers,
            reaches=event.reaches,
            broken_since=since if event.reaches > 0 else None,
        )
        if len(state.looks.window) < self.window:
            return state, None
        return state, self._finding(state, event.step)

    def _finding(self, state: ReachState, step: int) -> Finding:
        relative = 0.0 if self.of_start is None else self.of_start * state.looks.at_start
        threshold = max(self.below, relative)
        holds = state.looks.median < threshold
        return Finding(step=step, holds=holds, tell=functools.partial(self._told, state, threshold))

    @staticmethod
    def _told(state: ReachState, threshold: float) -> Told:
        looks = state.looks
        median, bound = beside(looks.median, threshold)
        text = (
            f"the gradient no longer reaches the first layers: the median of reach over {looks.span()} is "
            f"{median}, below {bound} (the run began at {looks.at_start:.1e})"
        )
        evidence = looks.evidence("reach", threshold)
        if state.broken_since is not None and state.reaches < len(state.layers):
            name = state.layers[state.reaches]
            evidence["reaches"] = f"layer {state.reaches} of {len(state.layers)} ({name}), not 0"
            evidence["broke_at"] = state.broken_since
            text += f"; it reaches layer {state.reaches} of {len(state.layers)}, {name}, and broke at step "
            text += str(state.broken_since)
        return text, evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioState:
    """The looks, and the highest learning rate known."""

    looks: Looks = field(default_factory=Looks)
    peak: float = 0.0
    planned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRatio:
    """The median update ratio is under `low`, under `of_start` times that of the first looks, or above `high`.

    `scheduled`: the ratio is divided by the learning rate as a part of its peak, so that the ramp of a warmup and the
    tail of a decay are not mistaken for a stall; undefined under 1% of the peak.
    """

    low: float | None
    high: float | None
    of_start: float | None
    scheduled: bool
    window: int
    name: str = "update_ratio"

    def start(self) -> RatioState:
        """No look yet."""
        return RatioState()

    def step(self, state: RatioState, event: Event) -> tuple[RatioState, Finding | None]:
        """Take in an observation."""
        if isinstance(event, Plan) and event.peak_lr:
            return replace(state, peak=event.peak_lr, planned=True), None
        if not isinstance(event, Observation):
            return state, None
        if not state.planned and event.learning_rate > state.peak:
            state = replace(state, peak=event.learning_rate)
        ratio = self._measured(event, state.peak)
        if not math.isfinite(ratio):
            return state, None
        state = replace(state, looks=state.looks.and_(event.step, ratio, self.window))
        return state, self._finding(state.looks, event.step) if len(state.looks.window) == self.window else None

    def _measured(self, event: Observation, peak: float) -> float:
        if not self.scheduled:
            return event.update_ratio
        part = event.learning_rate / peak if peak > 0 else math.nan
        return event.update_ratio / part if part >= SMALLEST_PART else math.nan

    def _finding(self, looks: Looks, step: int) -> Finding:
        relative = 0.0 if self.of_start is None else self.of_start * looks.at_start
        floor, median = max(self.low or 0.0, relative), looks.median
        too_high = self.high is not None and median > self.high
        threshold = self.high if too_high and self.high is not None else floor
        tell = functools.partial(self._told, looks, threshold, too_high=too_high)
        return Finding(step=step, holds=too_high or median < floor, tell=tell)

    def _told(self, looks: Looks, threshold: float, *, too_high: bool) -> Told:
        what = "the scheduled update ratio" if self.scheduled else "the update ratio"
        side = "above" if too_high else "below"
        median, bound = beside(looks.median, threshold)
        text = (
            f"the weights {'are thrown about' if too_high else 'hardly move'}: the median of {what} over "
            f"{looks.span()} is {median}, {side} {bound} (the run began at {looks.at_start:.1e})"
        )
        return text, looks.evidence(what[4:], threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplodingGradient:
    """The norm of the gradient is above `above`, or above `times` its median over the `window` looks before."""

    times: float
    above: float | None
    window: int
    name: str = "exploding_gradient"

    def start(self) -> Looks:
        """No look yet."""
        return Looks()

    def step(self, state: Looks, event: Event) -> tuple[Looks, Finding | None]:
        """Take in an observation."""
        if not isinstance(event, Observation) or math.isnan(event.gradient_norm) or event.skipped:
            return state, None
        norm, before = event.gradient_norm, state
        if len(before.window) < self.window:
            return before.and_(event.step, norm, self.window), None
        usual = self.times * before.median
        threshold = usual if self.above is None else min(usual, self.above)
        holds = norm > threshold

        def told() -> Told:
            seen, bound = beside(norm, threshold)
            text = f"the gradient explodes: its norm is {seen} at step {event.step}, above {bound}"
            return text, {**before.evidence("gradient_norm", threshold), "norm": norm}

        # What explodes is no measure of what is usual.
        after = before if holds else before.and_(event.step, norm, self.window)
        return after, Finding(step=event.step, holds=holds, tell=told)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroGradient:
    """In some layer, at least the share `share` of the gradient is exactly 0: units that are dead."""

    share: float
    window: int
    name: str = "zero_gradient"

    def start(self) -> Looks:
        """No look yet."""
        return Looks()

    def step(self, state: Looks, event: Event) -> tuple[Looks, Finding | None]:
        """Take in an observation."""
        if not isinstance(event, Observation) or math.isnan(event.gradient_zero):
            return state, None
        state = state.and_(event.step, event.gradient_zero, self.window)
        if len(state.window) < self.window:
            return state, None
        tell = functools.partial(self._told, state)
        return state, Finding(step=event.step, holds=state.median >= self.share, tell=tell)

    def _told(self, looks: Looks) -> Told:
        text = (
            f"units are dead: in one layer {looks.median:.0%} of the gradient is exactly 0 (median over "
            f"{looks.span()}), at least {self.share:.0%} of it"
        )
        return text, looks.evidence("gradient_zero", self.share)


# ---- conditions on what the script reported --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LossState:
    """The first values, the newest ones, and the lowest mean of what came before them, with its last step."""

    first: tuple[float, ...] = ()
    window: tuple[Look, ...] = ()
    lowest: float = math.inf
    lowest_step: int = -1

    def and_(self, step: int, value: float, window: int) -> LossState:
        """With one more value."""
        first = self.first if len(self.first) == window else (*self.first, value)
        state = replace(self, first=first, window=(*self.window, (step, value))[-2 * window :])
        before = state.window[:-window]
        if len(before) >= FEWEST and (mean := _mean([value for _, value in before])) < self.lowest:
            state = replace(state, lowest=mean, lowest_step=before[-1][0])
        return state


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """A loss is no better than who knows the classes' shares alone, or than it was at the start.

    Where the script reports `prior`, the loss of the class prior on the same examples, the two are paired, step by
    step: the noise of the examples is in both, and goes. `gain` is the part of the baseline that counts as better.
    """

    metric: str
    prior: str
    gain: float
    window: int
    name: str = "plateau"

    def start(self) -> LossState:
        """No value yet."""
        return LossState()

    def step(self, state: LossState, event: Event) -> tuple[LossState, Finding | None]:
        """Take in a report."""
        if not isinstance(event, Metrics) or not math.isfinite(event.values.get(self.metric, math.nan)):
            return state, None
        loss, prior = event.values[self.metric], event.values.get(self.prior, math.nan)
        paired = math.isfinite(prior) and prior > 0
        # Paired, the start is not needed: the prior is the baseline, and 1 its own loss in these units.
        state = state.and_(event.step, loss / prior if paired else loss, self.window)
        if len(state.first) < self.window or (not paired and len(state.window) < 2 * self.window):
            return state, None
        newest = state.window[-self.window :]
        baseline = 1.0 if paired else _mean(state.first)
        now = _mean([value for _, value in newest])
        tell = functools.partial(self._told, newest, now, baseline, paired=paired)
        return state, Finding(step=event.step, holds=now > baseline * (1 - self.gain), tell=tell)

    def _told(self, newest: Sequence[Look], now: float, baseline: float, *, paired: bool) -> Told:
        against = "that of the classes' shares" if paired else "where it began"
        unit = f" times {against}" if paired else f", and began at {baseline:.4g}"
        text = f"{self.metric} is no better than {against}: over steps {newest[0][0]} to {newest[-1][0]} it is "
        text += f"{now:.4g}{unit}"
        evidence = {
            "statistic": f"{self.metric} / {self.prior}" if paired else self.metric,
            "window": [list(look) for look in newest],
            "mean": now,
            "threshold": baseline * (1 - self.gain),
            "baseline": baseline,
        }
        return text, evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class GainState:
    """Which metric is the loss, once one was reported, and its values."""

    metric: str | None = None
    loss: LossState = field(default_factory=LossState)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoGain:
    """A loss is not lower than it ever was: its mean over `window` reports is no new lowest, by the part `gain` of it.

    Without a `metric` it is the first training loss that the script reports. Where none is, nothing speaks against.
    """

    metric: str | None
    gain: float
    window: int
    name: str = "no_gain"

    def start(self) -> GainState:
        """No value yet."""
        return GainState(metric=self.metric)

    def step(self, state: GainState, event: Event) -> tuple[GainState, Finding | None]:
        """Take in a report."""
        if isinstance(event, Observation) and state.metric is None:
            return state, Finding(step=event.step, holds=True, tell=_no_loss)
        if not isinstance(event, Metrics):
            return state, None
        metric = state.metric or _training_loss(event.values)
        if metric is None or metric not in event.values:
            return state, None
        value = event.values[metric]
        loss = state.loss.and_(event.step, value if math.isfinite(value) else math.inf, self.window)
        return GainState(metric=metric, loss=loss), self._finding(metric, loss, event.step)

    def _finding(self, metric: str, loss: LossState, step: int) -> Finding:
        newest = loss.window[-self.window :]
        now, known = _mean([value for _, value in newest]), loss.lowest_step >= 0
        better = now < loss.lowest - self.gain * abs(loss.lowest)
        tell = functools.partial(self._told, metric, loss, newest, now)
        return Finding(step=step, holds=known and not better, tell=tell)

    @staticmethod
    def _told(metric: str, loss: LossState, newest: Sequence[Look], now: float) -> Told:
        known = loss.lowest_step >= 0
        before = f"{loss.lowest:.4g} before, to step {loss.lowest_step}" if known else "too little to compare with"
        text = f"{metric} has not improved: {now:.4g} over steps {newest[0][0]} to {newest[-1][0]}, {before}"
        return text, {"statistic": metric, "mean": now, "lowest_before": loss.lowest, "at": loss.lowest_step}


def _no_loss() -> Told:
    return "no training loss is reported that could gainsay it", {"statistic": "loss"}


def _training_loss(names: Iterable[str]) -> str | None:
    """The name of a training loss among the names of metrics."""
    losses = [name for name in names if "loss" in name.lower() and not NOT_TRAINED.search(name.lower())]
    return next((name for name in losses if "train" in name.lower()), losses[0] if losses else None)


# ---- conditions made of conditions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Several conditions: all of them hold, or any of them does. What one says stands until it says something else."""

    conditions: tuple[Condition, ...]
    every_one: bool
    name: str

    def start(self) -> tuple[tuple[Any, Finding | None], ...]:
        """The states of the conditions, and what each said last."""
        return tuple((condition.start(), None) for condition in self.conditions)

    def step(
        self, state: tuple[tuple[Any, Finding | None], ...], event: Event
    ) -> tuple[tuple[tuple[Any, Finding | None], ...], Finding | None]:
        """Let each take in the event."""
        stepped, spoke = [], None
        for condition, (inner, said) in zip(self.conditions, state, strict=True):
            after, finding = condition.step(inner, event)
            stepped.append((after, finding or said))
            spoke = finding or spoke
        if spoke is None:
            return tuple(stepped), None
        findings = [finding for _, finding in stepped if finding is not None]
        holding = [finding for finding in findings if finding.holds]
        holds = len(holding) == len(self.conditions) if self.every_one else bool(holding)
        tell = functools.partial(self._told, holding or findings)
        return tuple(stepped), Finding(step=spoke.step, holds=holds, tell=tell)

    def _told(self, shown: Sequence[Finding]) -> Told:
        told = [finding.tell() for finding in shown]
        joint = ", and " if self.every_one else "; also, "
        return joint.join(text for text, _ in told), _merged([evidence for _, evidence in told])


def all_of(conditions: Sequence[Condition], name: str = "all") -> Together:
    """Holds where all of them do; one that has not spoken yet does not."""
    return Together(conditions=tuple(conditions), every_one=True, name=name)


def any_of(conditions: Sequence[Condition], name: str = "any") -> Together:
    """Holds where one of them does."""
    return Together(conditions=tuple(conditions), every_one=False, name=name)


def _merged(evidences: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The evidence of all, the first one's names as they are, those of the others behind their statistic."""
    merged: dict[str, object] = {}
    for evidence in evidences:
        statistic = evidence.get("statistic", "")
        for name, value in evidence.items():
            merged[name if name not in merged else f"{statistic}: {name}"] = value
    return merged


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
