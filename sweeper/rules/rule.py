"""A rule: a condition that has to hold for some looks in a row, and the decision that this leads to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Any

from sweeper.record.decision import Decision
from sweeper.record.events import Event, Observation, Plan
from sweeper.record.values.schedule import effective_lr
from sweeper.rules.conditions import Condition, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleState:
    """The condition's state; the looks in a row at which it holds; and what an evidence says beside it."""

    condition: Any
    held: tuple[int, ...] = ()
    looked: int | None = None
    uncorrected: tuple[float, ...] = ()
    observation: Observation | None = None
    peak_effective: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRule:
    """Condemns a trial when its condition holds at `patience` looks in a row, from `grace_steps` on.

    `every`: looks closer together than so many steps are passed over.
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
        """No look yet."""
        return RuleState(condition=self.condition.start())

    def step(self, state: RuleState, event: Event) -> tuple[RuleState, Decision | None]:
        """Take in an event."""
        state = _with_rates(state, event)
        inner, finding = self.condition.step(state.condition, event)
        state = replace(state, condition=inner)
        if finding is None or not self._counts(state, finding.step):
            return state, None
        if not finding.holds:
            return replace(state, held=(), looked=finding.step), None
        held = state.held if finding.step in state.held[-1:] else (*state.held, finding.step)
        state = replace(state, held=held[-self.patience - 1 :], looked=finding.step)
        enough = len(held) >= self.patience and finding.step >= self.grace_steps
        return state, self._decision(state, finding) if enough else None

    def _counts(self, state: RuleState, step: int) -> bool:
        return state.looked is None or step == state.looked or step >= state.looked + self.every

    def _decision(self, state: RuleState, finding: Finding) -> Decision:
        reason, told = finding.tell()
        evidence = dict(told)
        if self.patience > 1:
            evidence["looks_in_a_row"] = self.patience
        observation = state.observation
        if observation is not None:
            evidence |= {"update_ratio": observation.update_ratio, "learning_rate": observation.learning_rate}
            evidence |= {
                "effective_learning_rate": effective_lr(observation.learning_rate, observation.step, state.uncorrected),
                "highest_effective_learning_rate": state.peak_effective,
            }
        flip = _flip(told)
        if flip:
            evidence["would_have_run_on"] = flip
        return Decision(rule=self.name, step=finding.step, reason=reason, evidence=evidence, version=self.version)


def _with_rates(state: RuleState, event: Event) -> RuleState:
    if isinstance(event, Plan):
        return replace(state, uncorrected=event.uncorrected)
    if isinstance(event, Observation):
        rate = effective_lr(event.learning_rate, event.step, state.uncorrected)
        highest = rate if not rate <= state.peak_effective else state.peak_effective
        return replace(state, observation=event, peak_effective=highest)
    return state


def _flip(evidence: Mapping[str, object]) -> str:
    """The smallest change of the rule that would have let the trial run."""
    middle, threshold = evidence.get("median"), evidence.get("threshold")
    if not isinstance(middle, float) or not isinstance(threshold, float) or not math.isfinite(middle):
        return ""
    side, rounding = ("at most", ROUND_FLOOR) if middle < threshold else ("at least", ROUND_CEILING)
    # Rounded, it still does what is said.
    bound = float(Context(prec=2, rounding=rounding).create_decimal(repr(middle)))
    return f"with a bound of {side} {bound:.1e}, instead of {threshold:.2g}"
