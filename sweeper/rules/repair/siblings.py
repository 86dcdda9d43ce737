"""The other trials of a sweep: with which parameters they learned, and with which they failed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.record.decision import CONVERGED
from sweeper.record.trial import State, TrialRecord
from sweeper.rules.diagnoses import STOPPING
from sweeper.rules.repair.recipes import RECIPES

FEWEST = 3
"""With fewer complete trials, their values are not compared: each that no diagnosis holds for has learned."""
ALIKE = 2.0
"""Numbers of two trials are alike if they differ by no more than this factor."""
NEAR = 1.5
"""Trials with learning rates that differ by no more than this factor are counted together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """A trial with a known outcome.

    Attributes:
        number: the number of the trial.
        params: its parameters.
        learned: whether it learned.
    """

    number: int
    params: Mapping[str, object]
    learned: bool


def siblings_of(trials: Iterable[TrialRecord]) -> list[Sibling]:
    """Return the trials with a known outcome.

    A trial that a diagnosis stopped has failed. A complete one has learned if no diagnosis that stops trials holds at
    its end, and it has at least half of the best gain. Gains are measured from the median of the worst quarter of the
    first values.
    """
    trials = list(trials)
    complete = [trial for trial in trials if trial.state is State.COMPLETE]
    border = _border(complete)
    found = []
    for trial in trials:
        if trial.state is State.COMPLETE:
            learned = not trial.health.keys() & set(STOPPING) and _signed(trial) >= border
        elif is_stopped_by_diagnosis(trial):
            learned = False
        else:
            continue
        found.append(Sibling(number=trial.number, params=trial.facts.params, learned=learned))
    return found


def is_stopped_by_diagnosis(trial: TrialRecord) -> bool:
    """Return whether a diagnosis of a failure stopped the trial, and no person did. A revived trial is not PRUNED."""
    stop = trial.newest.stop
    if trial.state is not State.PRUNED or stop is None or stop.decision is None:
        return False
    return not stop.by_person and stop.cause != CONVERGED and stop.decision.rule in RECIPES


def _border(complete: Sequence[TrialRecord]) -> float:
    """Return the value from which on a trial has learned, signed so that more is better."""
    sign = {trial.number: 1.0 if trial.facts.maximize else -1.0 for trial in complete}
    values = [value for trial in complete if math.isfinite(value := _signed(trial))]
    firsts = sorted(
        sign[trial.number] * trial.series.first
        for trial in complete
        if trial.series is not None and math.isfinite(trial.series.first)
    )
    if len(values) < FEWEST or not firsts:
        return -math.inf
    start = statistics.median(firsts[: math.ceil(len(firsts) / 4)])
    best = max(values)
    return start + (best - start) / 2 if best > start else math.inf


def _signed(trial: TrialRecord) -> float:
    """Return the last value of the metric, signed so that more is better; -inf if there is none."""
    last = math.nan if trial.series is None else trial.series.last
    value = last if trial.facts.maximize else -last
    return value if math.isfinite(value) else -math.inf


def is_alike(one: Mapping[str, object], other: Mapping[str, object], but: Iterable[str]) -> bool:
    """Return whether two trials have comparable parameters.

    Numbers may differ by the factor `ALIKE`, and everything else has to be equal.

    Args:
        one: the parameters of one trial.
        other: those of the other.
        but: the names of parameters that are not compared.
    """
    names = (one.keys() | other.keys()) - set(but)
    return all(name in one and name in other and _is_near(one[name], other[name], ALIKE) for name in names)


def _is_near(one: object, other: object, factor: float) -> bool:
    a, b = as_number(one), as_number(other)
    if a is None or b is None or not a * b > 0:
        return one == other
    return max(a / b, b / a) <= factor * (1 + 1e-9)


def is_near(one: float, other: float) -> bool:
    """Return whether two values of a parameter are counted together."""
    return _is_near(one, other, NEAR)


def as_number(value: object) -> float | None:
    """Return a parameter as a number; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
