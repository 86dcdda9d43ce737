"""The base class of diagnoses: ways in which a training fails or is done."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from sweeper.record.events import Event
from sweeper.rules.base import Condition, Finding, Reason, RuleSettings
from sweeper.rules.signals.signals import Signals


class Effect(StrEnum):
    """The effect of a diagnosis by default."""

    STOPS = "stops"
    """`early_stop: auto` stops the trial."""
    WARNS = "warns"
    """The diagnosis is shown."""
    INFORMS = "informs"
    """The diagnosis is shown, and is no failure."""


class Diagnosis(RuleSettings):
    """A diagnosis: its settings, the test whether it holds, its explanation and its advice.

    A diagnosis begins once `judge` has returned a reason at `patience` moments in a row, and for the share `lasting` of
    the planned steps. A moment is an observation; without a watch, every tenth report.
    """

    effect: ClassVar[Effect]
    source: ClassVar[str]
    advice: ClassVar[str]

    grace_steps: Annotated[int, Field(ge=0)] = 0
    patience: Annotated[int, Field(ge=1, le=1000)] = 3
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def wait(self, signals: Signals) -> float:
        """Return the share of the planned steps for which the diagnosis has to hold: `lasting`, or less in clear cases.

        Returns:
            0 to 1.
        """
        del signals
        return self.lasting

    def judge(self, signals: Signals) -> Reason | None:
        """Return why the diagnosis holds now; None if it does not hold."""
        raise NotImplementedError

    def condition(self) -> Condition:
        """Return the diagnosis as a condition, to be combined with others under `all` and `any`."""
        return DiagnosisCondition(self)


class DiagnosisCondition:
    """A diagnosis as a condition, with signals of its own."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        """Make the condition of a diagnosis."""
        self.name = diagnosis.name
        self._diagnosis = diagnosis

    def start(self) -> Signals:
        """Return the state before the first event."""
        return Signals()

    def step(self, state: Signals, event: Event) -> tuple[Signals, Finding | None]:
        """Return the state after the event, and the finding at each moment at which diagnoses are made."""
        if not state.take(event):
            return state, None
        reason = self._diagnosis.judge(state)
        explain = reason or (lambda: (f"{self.name} does not hold", {"statistic": self.name}))
        return state, Finding(step=state.step, holds=reason is not None, reason=explain)
