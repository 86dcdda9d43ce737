"""The verdict on a trial as pictures have it; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sweeper.record.trial import Trial
from sweeper.results.wording import plain

LONGEST_RULE = 16  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a decision says that can be drawn; what it does not say is NaN or empty."""

    step: int
    rule: str
    threshold: float
    window: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, trial: Trial) -> Self | None:
        """The verdict on a trial's newest attempt, None where there is none."""
        stop = trial.control.stop
        decision = stop.decision if stop is not None else None
        if decision is None or not isinstance(step := decision.get("step"), int):
            return None
        evidence = decision.get("evidence")
        told = evidence if isinstance(evidence, dict) and evidence.get("statistic") == "reach" else {}
        window = told.get("window")
        looks = window if isinstance(window, list) else []
        return cls(
            step=step,
            rule=plain(decision.get("rule", "?"))[:LONGEST_RULE].replace("$", r"\$"),  # no formula
            threshold=_number(told.get("threshold")),
            window=tuple((_number(look[0]), _number(look[1])) for look in looks if _is_pair(look)),
        )


def _number(value: object) -> float:
    """A value of the evidence, which may be the text of what JSON has no word for."""
    try:
        return float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        return math.nan


def _is_pair(look: object) -> bool:
    return isinstance(look, Sequence) and not isinstance(look, str) and len(look) == len(("step", "reach"))
