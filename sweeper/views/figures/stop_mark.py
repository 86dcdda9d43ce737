"""The decision that stopped a trial, as pictures mark it; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sweeper.record.trial import TrialRecord
from sweeper.results.wording import plain

LONGEST_RULE = 18  # characters, as in vanishing_gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class StopMark:
    """The drawable parts of a stop decision.

    Args:
        threshold: the threshold of reach that the rule used; NaN if it did not.
        window: the steps and values of reach that the rule used; empty if it did not.
    """

    step: int
    rule: str
    threshold: float
    window: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, trial: TrialRecord) -> Self | None:
        """Return the mark of the decision that stopped the newest attempt of a trial; None if there is none."""
        stop = trial.newest.stop
        decision = stop.decision if stop is not None else None
        if decision is None or decision.step < 0:
            return None
        evidence = decision.evidence
        about_reach = evidence if evidence.get("statistic") == "reach" else {}
        window = about_reach.get("window")
        pairs = window if isinstance(window, list) else []
        return cls(
            step=decision.step,
            rule=plain(decision.rule)[:LONGEST_RULE].replace("$", r"\$"),  # no formula
            threshold=_number(about_reach.get("threshold")),
            window=tuple((_number(pair[0]), _number(pair[1])) for pair in pairs if _is_pair(pair)),
        )


def _number(value: object) -> float:
    """Return a value of the evidence as a float; NaN and infinity are recorded as text."""
    try:
        return float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        return math.nan


def _is_pair(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == len(("step", "reach"))
