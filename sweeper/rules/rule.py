"""Rules: reducers over a trial's history that decide whether to stop the trial. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Any, Protocol

from sweeper.record.decision import Decision
from sweeper.record.events import Event, Observation, Plan
from sweeper.record.values.schedule import effective_lr
from sweeper.rules.base import Condition, Finding


class Rule(Protocol):
    """A reducer over one trial's history. It does no I/O and reads no clock: live and replayed decisions are equal.

    Only the rule itself reads its state.
    """

    @property
    def name(self) -> str:
        """The name of the rule in a sweep file."""

    def start(self) -> Any:  # noqa: ANN401 - each rule has a state of its own
        """Return the state before the first event."""

    def step(self, state: Any, event: Event) -> tuple[Any, Decision | None]:  # noqa: ANN401 - as above
        """Return the state after the event, and the decision that follows from it; None if the trial continues."""


def first_decision(rule: Rule, history: Iterable[Event]) -> Decision | None:
    """Return the first decision of a rule on a recorded history; None if the rule never fires."""
    state = rule.start()
    for event in history:
        state, decision = rule.step(state, event)
        if decision is not None:
            return decision
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleState:
    """The state of a `ConditionRule`.

    Attributes:
        condition: the state of the condition.
        held: the steps of the latest findings in a row at which the condition held.
        last_step: the step of the latest finding that counted; None before the first.
        uncorrected: the betas of an Adam without bias correction; empty otherwise.
        observation: the latest observation.
        peak_effective: the highest effective learning rate so far; NaN before one is known.
    """

    condition: Any
    held: tuple[int, ...] = ()
    last_step: int | None = None
    uncorrected: tuple[float, ...] = ()
    observation: Observation | None = None
    peak_effective: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRule:
    """The rule that flags a trial once its condition has held at `patience` observations in a row.

    It fires from step `grace_steps` on, and skips observations that are fewer than `every` steps apart.
    """

    condition: Condition
    grace_steps: int
    patience: int
    every: int
    version: str
    name: str = field(default="")

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.condition.name)

    def start(self) -> RuleState:
        """Return the state before the first event."""
        return RuleState(condition=self.condition.start())

    def step(self, state: RuleState, event: Event) -> tuple[RuleState, Decision | None]:
        """Return the state after the event, and the decision if the rule fires."""
        state = _with_rates(state, event)
        inner, finding = self.condition.step(state.condition, event)
        state = replace(state, condition=inner)
        if finding is None or not self._counts(state, finding.step):
            return state, None
        if not finding.holds:
            return replace(state, held=(), last_step=finding.step), None
        held = state.held if finding.step in state.held[-1:] else (*state.held, finding.step)
        state = replace(state, held=held[-self.patience - 1 :], last_step=finding.step)
        fires = len(held) >= self.patience and finding.step >= self.grace_steps
        return state, self._decision(state, finding) if fires else None

    def _counts(self, state: RuleState, step: int) -> bool:
        return state.last_step is None or step == state.last_step or step >= state.last_step + self.every

    def _decision(self, state: RuleState, finding: Finding) -> Decision:
        text, values = finding.reason()
        evidence = dict(values)
        if self.patience > 1:
            evidence["observations_in_a_row"] = self.patience
        evidence |= learning_rates(state.observation, state.uncorrected, state.peak_effective)
        if change := _smallest_change(values):
            evidence["would_have_continued"] = change
        return Decision(rule=self.name, step=finding.step, reason=text, evidence=evidence, version=self.version)


def learning_rates(
    observation: Observation | None, uncorrected: tuple[float, ...], peak_effective: float
) -> dict[str, object]:
    """Return the part of the evidence that every decision has: the update ratio and learning rates of an observation.

    Args:
        observation: the latest observation; without one the result is empty.
        uncorrected: the betas of an Adam without bias correction; empty otherwise.
        peak_effective: the highest effective learning rate so far.
    """
    if observation is None:
        return {}
    return {
        "update_ratio": observation.update_ratio,
        "learning_rate": observation.learning_rate,
        "effective_learning_rate": effective_lr(observation.learning_rate, observation.step, uncorrected),
        "highest_effective_learning_rate": peak_effective,
    }


def _with_rates(state: RuleState, event: Event) -> RuleState:
    if isinstance(event, Plan):
        return replace(state, uncorrected=event.uncorrected)
    if isinstance(event, Observation):
        rate = effective_lr(event.learning_rate, event.step, state.uncorrected)
        highest = rate if not rate <= state.peak_effective else state.peak_effective
        return replace(state, observation=event, peak_effective=highest)
    return state


def _smallest_change(evidence: Mapping[str, object]) -> str:
    """Return the smallest change of the threshold with which the trial would have continued; empty if unknown."""
    median, threshold = evidence.get("median"), evidence.get("threshold")
    if not isinstance(median, float) or not isinstance(threshold, float) or not math.isfinite(median):
        return ""
    side, rounding = ("at most", ROUND_FLOOR) if median < threshold else ("at least", ROUND_CEILING)
    # The direction of rounding keeps the statement true.
    limit = float(Context(prec=2, rounding=rounding).create_decimal(repr(median)))
    return f"with a threshold of {side} {limit:.1e} instead of {threshold:.2g}"
