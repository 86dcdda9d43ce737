"""Advice on a flagged trial, based on its siblings: the other trials of the sweep; pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.params import spelled
from sweeper.record.values.redaction import redacted_value
from sweeper.results.health.trial_health import has_failed, is_known
from sweeper.results.wording import number, plain

FEWEST = 2
"""Trials on each side of a learning rate border that a sentence about the border needs."""
_RATE = re.compile(r"(lower|raise) the peak learning rate")
_OTHER_RATES = frozenset(["decay", "warmup", "min", "final", "end", "gamma", "schedule", "scheduler"])
"""Words in the names of parameters that shape a learning rate schedule but are not a learning rate."""


def was_flagged(trial: TrialRecord) -> bool:
    """Return whether a rule flagged the trial, whether or not the trial was stopped."""
    pruned = trial.state is State.PRUNED and not trial.newest.stopped_by_person
    return pruned or trial.continued is not None


def advice(trial: TrialRecord, trials: Sequence[TrialRecord]) -> list[str]:
    """Return which parameters to change according to the siblings; empty for a trial that no rule flagged.

    Args:
        trials: all trials of the sweep, including the flagged one.
    """
    if not was_flagged(trial):
        return []
    decided = [other for other in trials if was_flagged(other) or other.state is State.COMPLETE]
    return [*_border(decided), *_neighbours(trial, decided)]


def stall_border(trials: Sequence[TrialRecord]) -> tuple[float, int] | None:
    """Return the lowest effective learning rate from which on every trial was flagged, and how many trials reached it.

    None if fewer than `FEWEST` trials reached it. Only trials that a rule flagged or that are complete are counted.
    """
    rates = [(t.progress.effective_lr, was_flagged(t)) for t in trials if was_flagged(t) or t.state is State.COMPLETE]
    learned = max((rate for rate, flagged in rates if not flagged), default=-math.inf)
    high = [rate for rate, flagged in rates if flagged and rate > learned]
    return (min(high), len(high)) if len(high) >= FEWEST else None


def _border(decided: Sequence[TrialRecord]) -> list[str]:
    """Return above which effective learning rate trials stall, and below which they learn."""
    rates = [(trial.progress.effective_lr, was_flagged(trial)) for trial in decided]
    rates = sorted(rate for rate in rates if math.isfinite(rate[0]))
    stalled = [rate for rate, flagged in rates if flagged]
    learned = [rate for rate, flagged in rates if not flagged]
    if not stalled or not learned:
        return []
    high = [rate for rate in stalled if rate > max(learned)]
    low = [rate for rate in learned if rate < min(stalled)]
    parts = []
    if len(high) >= FEWEST:
        parts.append(f"{len(high)} of {len(high)} trials at {number(min(high))} or more stalled")
    if len(low) >= FEWEST:
        parts.append(f"{len(low)} of {len(low)} at {number(max(low))} or less learned")
    return ["highest effective learning rate: " + "; ".join(parts)] if parts else []


def _neighbours(trial: TrialRecord, decided: Sequence[TrialRecord]) -> list[str]:
    """Return one line per parameter: how many siblings learned that differ in that parameter only."""
    shown, lines = trial.facts.shown, []
    alike: dict[str, list[TrialRecord]] = {name: [] for name in shown}
    for other in decided:
        theirs = other.facts.shown
        differing = [name for name, value in shown.items() if theirs.get(name) != value]
        if len(differing) == 1:
            alike[differing[0]].append(other)
    for name, others in alike.items():
        outcomes: dict[str, list[bool]] = {}
        for other in others:
            outcomes.setdefault(_spelled(other, name), []).append(not was_flagged(other))
        counts = [f"{sum(learned)} of {len(learned)} learned with {value}" for value, learned in outcomes.items()]
        if any(any(learned) for learned in outcomes.values()):
            here = _spelled(trial, name)
            lines.append(plain(f"{name}={here} here; {', '.join(counts)}, all else equal"))
    return lines


def _spelled(trial: TrialRecord, name: str) -> str:
    return spelled(redacted_value(name, trial.facts.shown.get(name)))


def by_learning_rate(trial: TrialRecord, siblings: Sequence[TrialRecord], advice: str) -> list[str]:
    """Return which learning rates worked for siblings; empty unless the advice is to lower or raise the peak.

    A sibling learned if it is complete and no diagnosis that stops trials ever held.

    Args:
        advice: the advice of the diagnosis, for example "lower the peak learning rate".
    """
    asked = _RATE.search(advice)
    if asked is None:
        return []
    lower, lines = asked[1] == "lower", []
    names = [name for name in trial.facts.shown if _is_learning_rate(name)]
    for name in names:
        own = _rate(trial.facts.shown, name)
        rates = [(_rate(other.facts.shown, name), other) for other in siblings if _is_known(other)]
        beyond = [(rate, other) for rate, other in rates if (rate < own if lower else rate > own)]
        learned = [rate for rate, other in beyond if _learned(other)]
        if not learned:
            continue
        nearest = max(learned) if lower else min(learned)
        further = [other for rate, other in beyond if (rate <= nearest if lower else rate >= nearest)]
        where = f"at or {'below' if lower else 'above'} {spelled(nearest)}"
        all_learned = all(map(_learned, further))
        line = f"siblings {where} learned" if all_learned else f"a sibling at {spelled(nearest)} learned"
        lines.append(line if len(names) == 1 else plain(f"{name}: {line}"))
    return lines


def _is_learning_rate(name: str) -> bool:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    words = set(re.split(r"[^a-z]+", spaced))
    return ("lr" in words or {"learning", "rate"} <= words) and not words & _OTHER_RATES


def _rate(params: Mapping[str, object], name: str) -> float:
    """Return the value of a parameter; NaN, which compares as false, if it is not a number."""
    value = params.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _is_known(trial: TrialRecord) -> bool:
    """Return whether it is known if the trial learned."""
    return has_failed(trial) or was_flagged(trial) or (trial.state is State.COMPLETE and is_known(trial))


def _learned(trial: TrialRecord) -> bool:
    return trial.state is State.COMPLETE and not has_failed(trial) and not was_flagged(trial)
