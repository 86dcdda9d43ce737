"""`stalled`: the gradient or the updates have collapsed, and the loss has stopped improving."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweeper.record.events import Event, Metrics, Observation, Watching
from sweeper.rules.base import Condition, Explanation, Finding, MetricName, RuleSettings, Share, Window, compared
from sweeper.rules.conditions.combined import all_of, any_of
from sweeper.rules.conditions.update_ratio import UpdateRatio
from sweeper.rules.conditions.windows import LossWindow, ObservationWindow, Point, mean

AUTOMATIC, NO_LOSS = "auto", "none"
"""Values of `loss`: the first training loss that is reported, if any; and no loss at all."""
NOT_TRAINED = re.compile("test|val|eval|prior|dev")
"""Words in the names of losses that the optimizer does not minimize."""


class Stalled(RuleSettings):
    """Reach or the scheduled update ratio has collapsed, and the loss has stopped improving.

    The loss improves when it falls by the share ``gain`` of its lowest value. ``loss`` is the name of the metric;
    ``auto`` takes the training loss that the script logs, if any, and ``none`` does not check a loss.
    """

    name = "stalled"
    lower_thresholds = ("below", "ratio_of_start")

    window: Window = 5
    below: Share = 0.005
    ratio_of_start: Share | None = 0.06
    loss: MetricName = AUTOMATIC
    gain: Share = 0.02

    @classmethod
    def needs(cls, settings: Mapping[str, Any]) -> list[frozenset[str]]:
        """Return what the rule reads: reach or the update ratio, and the loss if it is named."""
        ratio = set() if settings.get("ratio_of_start") is None else {"update_ratio"}
        loss = settings.get("loss", AUTOMATIC)
        named = [] if loss in (AUTOMATIC, NO_LOSS) else [frozenset({str(loss)})]
        return [frozenset({"reach"} | ratio), *named]

    def condition(self) -> Condition:
        """Return the condition: one of `collapses` holds, and the loss has stopped improving."""
        collapsed = any_of(self.collapses())
        if self.loss == NO_LOSS:
            return any_of([collapsed], name=self.name)
        metric = None if self.loss == AUTOMATIC else self.loss
        return all_of([collapsed, NoGain(metric=metric, gain=self.gain, window=self.window)], name=self.name)

    def collapses(self) -> list[Condition]:
        """Return the conditions on observations: on reach, and on the scheduled update ratio unless it is off."""
        parts: list[Condition] = [LowReach(below=self.below, of_start=None, window=self.window)]
        if self.ratio_of_start is not None:
            # Not validated, because a calibration also tries thresholds above 1.
            ratio = UpdateRatio.model_construct(of_start=self.ratio_of_start, window=self.window)
            parts.append(ratio.condition())
        return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class LowReachState:
    """The observed reach, the layers, and the step since which the gradient has not reached all of them."""

    reach: ObservationWindow = field(default_factory=ObservationWindow)
    layers: tuple[str, ...] = ()
    reaches: int = 0
    broken_since: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LowReach:
    """The median of reach over `window` observations is below `below`, or below `of_start` times its first median."""

    below: float
    of_start: float | None
    window: int
    name: str = "vanishing_gradient"

    def start(self) -> LowReachState:
        """Return the state before the first event."""
        return LowReachState()

    def step(self, state: LowReachState, event: Event) -> tuple[LowReachState, Finding | None]:
        """Return the state after the event, and the finding at an observation once the window is full."""
        if isinstance(event, Watching):
            return replace(state, layers=event.layers), None
        if not isinstance(event, Observation) or math.isnan(event.reach):
            return state, None
        since = state.broken_since if state.broken_since is not None else event.step
        state = LowReachState(
            reach=state.reach.with_value(event.step, event.reach, self.window),
            layers=state.layers,
            reaches=event.reaches,
            broken_since=since if event.reaches > 0 else None,
        )
        if len(state.reach.newest) < self.window:
            return state, None
        return state, self._finding(state, event.step)

    def _finding(self, state: LowReachState, step: int) -> Finding:
        relative = 0.0 if self.of_start is None else self.of_start * state.reach.at_start
        threshold = max(self.below, relative)
        reason = functools.partial(self._explain, state, threshold)
        return Finding(step=step, holds=state.reach.median < threshold, reason=reason)

    @staticmethod
    def _explain(state: LowReachState, threshold: float) -> Explanation:
        reach = state.reach
        median, limit = compared(reach.median, threshold)
        text = (
            f"the gradient no longer reaches the first layers: the median of reach over {reach.span()} is {median}, "
            f"below {limit} (at the start of the run: {reach.at_start:.1e})"
        )
        evidence = reach.evidence("reach", threshold)
        if state.broken_since is not None and state.reaches < len(state.layers):
            layer = f"layer {state.reaches} of {len(state.layers)}"
            name = state.layers[state.reaches]
            evidence["reaches"] = f"{layer} ({name}), not 0"
            evidence["broke_at"] = state.broken_since
            text += f"; it gets only as far as {layer}, {name}, since step {state.broken_since}"
        return text, evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class NoGainState:
    """The name of the loss, once one was reported, and its values."""

    metric: str | None = None
    loss: LossWindow = field(default_factory=LossWindow)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoGain:
    """A loss has stopped improving: its mean over `window` reports is not below its lowest mean by the share `gain`.

    Without a `metric`, the first training loss that the script reports is taken. If there is none, the condition holds.
    """

    metric: str | None
    gain: float
    window: int
    name: str = "no_gain"

    def start(self) -> NoGainState:
        """Return the state before the first event."""
        return NoGainState(metric=self.metric)

    def step(self, state: NoGainState, event: Event) -> tuple[NoGainState, Finding | None]:
        """Return the state after the event, and the finding at a report of the loss."""
        if isinstance(event, Observation) and state.metric is None:
            return state, Finding(step=event.step, holds=True, reason=_without_loss)
        if not isinstance(event, Metrics):
            return state, None
        metric = state.metric or _training_loss(event.values)
        if metric is None or metric not in event.values:
            return state, None
        value = event.values[metric]
        loss = state.loss.with_value(event.step, value if math.isfinite(value) else math.inf, self.window)
        return NoGainState(metric=metric, loss=loss), self._finding(metric, loss, event.step)

    def _finding(self, metric: str, loss: LossWindow, step: int) -> Finding:
        newest = loss.newest[-self.window :]
        now, is_known = mean([value for _, value in newest]), loss.lowest_step >= 0
        better = now < loss.lowest - self.gain * abs(loss.lowest)
        reason = functools.partial(self._explain, metric, loss, newest, now)
        return Finding(step=step, holds=is_known and not better, reason=reason)

    @staticmethod
    def _explain(metric: str, loss: LossWindow, newest: Sequence[Point], now: float) -> Explanation:
        lowest = f"the lowest mean before was {loss.lowest:.4g}, to step {loss.lowest_step}"
        before = lowest if loss.lowest_step >= 0 else "there are too few reports to compare it with"
        text = f"{metric} has not improved: it is {now:.4g} over steps {newest[0][0]} to {newest[-1][0]}, and {before}"
        return text, {"statistic": metric, "mean": now, "lowest_before": loss.lowest, "at": loss.lowest_step}


def _without_loss() -> Explanation:
    return "no training loss was reported, so the loss was not checked", {"statistic": "loss"}


def _training_loss(names: Iterable[str]) -> str | None:
    """Return the name of a training loss among the names of metrics; None if there is none."""
    losses = [name for name in names if "loss" in name.lower() and not NOT_TRAINED.search(name.lower())]
    return next((name for name in losses if "train" in name.lower()), losses[0] if losses else None)
