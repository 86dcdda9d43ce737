"""What all rules share: their settings, the result of a condition, and how a decision is explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import AfterValidator, BaseModel, Field

from sweeper.mistakes import STRICT, refused
from sweeper.record.events import Event

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
MetricName = Annotated[str, Field(min_length=1)]


def _odd(window: int) -> int:
    if window % 2 == 0:
        raise refused("an odd number, so that the median is an observation")
    return window


Window = Annotated[int, Field(ge=1, le=99), AfterValidator(_odd)]
"""The number of newest observations that a median is taken of."""

Explanation = tuple[str, Mapping[str, object]]
"""Why a rule fires: a text for people, and the values that it follows from."""
Reason = Callable[[], Explanation]
"""Returns the explanation. It is called only if the rule fires, because most observations need none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of a condition at a step: whether it holds, and why."""

    step: int
    holds: bool
    reason: Reason


class Condition(Protocol):
    """A reducer over a trial's history that reports at an observation whether it holds.

    Only the condition itself reads its state.
    """

    @property
    def name(self) -> str:
        """The name of the condition in a sweep file."""

    def start(self) -> Any:  # noqa: ANN401 - each condition has a state of its own
        """Return the state before the first event."""

    def step(self, state: Any, event: Event) -> tuple[Any, Finding | None]:  # noqa: ANN401 - as above
        """Return the state after the event, and the finding; None if the event changes nothing."""


class StopSettings(BaseModel):
    """The settings of any rule under ``early_stop.rules``; `name` is the rule's name in a sweep file."""

    model_config = STRICT
    name: ClassVar[str]


class RuleSettings(StopSettings):
    """The settings that all conditions share.

    A rule fires from step ``grace_steps`` on, once its condition has held at ``patience`` observations in a row. It
    skips observations that are fewer than ``every`` steps apart.
    """

    reads: ClassVar[tuple[frozenset[str], ...]] = ()
    """The values that the rule reads: of each set at least one."""
    fires_by_default: ClassVar[bool] = True
    """Whether the rule can fire with its default settings, so that a backtest replays it by default."""
    lower_thresholds: ClassVar[tuple[str, ...]] = ()
    """The settings below which the rule fires, which ``sweeper calibrate`` can choose."""

    grace_steps: Annotated[int, Field(ge=0)] = 60
    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    every: Annotated[int, Field(ge=1)] = 1

    @classmethod
    def needs(cls, settings: Mapping[str, Any]) -> list[frozenset[str]]:
        """Return what the rule reads with these settings, which are as in `spec.json`: of each set at least one."""
        del settings
        return list(cls.reads)

    def condition(self) -> Condition:
        """Return the condition that has to hold for the rule to fire."""
        raise NotImplementedError


def compared(value: float, threshold: float) -> tuple[str, str]:
    """Return a value and its threshold as text, with at least two digits, and as many as show which one is larger."""
    texts = f"{value:.1e}", f"{threshold:.2g}"
    for digits in range(2, 18):
        shown, limit = map(float, texts)
        if (shown < limit) is (value < threshold) and (shown > limit) is (value > threshold):
            break
        texts = f"{value:.{digits}e}", f"{threshold:.{digits + 1}g}"
    return texts
