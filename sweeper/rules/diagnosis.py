"""What a diagnosis is: one way in which a training fails or is done, with its settings, its words and its advice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from sweeper.rules.base import RuleSettings
from sweeper.rules.signals import Signals

Told = tuple[str, Mapping[str, object]]
"""Why a diagnosis holds, in words, and the values that it was made from."""
Reason = Callable[[], Told]
"""Made only where somebody reads it: a diagnosis looks often and is asked seldom."""


class Effect(StrEnum):
    """What follows from a diagnosis by default."""

    STOPS = "stops"
    """`early_stop: auto` stops the trial."""
    WARNS = "warns"
    """It is shown."""
    INFORMS = "informs"
    """It is shown, and is no failure."""


class Diagnosis(RuleSettings):
    """One class: it holds where `judge` says why, at `patience` moments in a row and for `lasting` of the plan.

    A moment is an observation; where the script is not watched, every tenth report.
    """

    name: ClassVar[str]
    effect: ClassVar[Effect]
    source: ClassVar[str]
    advice: ClassVar[str]
    reads: ClassVar[tuple[frozenset[str], ...]] = ()

    grace_steps: Annotated[int, Field(ge=0)] = 0
    patience: Annotated[int, Field(ge=1, le=1000)] = 3
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def wait(self, signals: Signals) -> float:
        """Return for which part of the plan it has to hold before it begins, 0 to 1: `lasting`, or less where sure."""
        del signals
        return self.lasting

    def judge(self, signals: Signals) -> Reason | None:
        """Return why the diagnosis holds now, None where it does not."""
        raise NotImplementedError
