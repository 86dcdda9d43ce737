"""What a condemned trial's siblings say about it: pure functions from the trials of a sweep to sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from sweeper.record.fold import State
from sweeper.record.trial import Trial, spelled
from sweeper.results.health.trial_health import has_failed, is_known
from sweeper.results.wording import number, plain

FEWEST = 2
"""On each side of a border, so that a sentence about it is worth reading."""
_RATE = re.compile(r"(lower|raise) the peak learning rate")
_OTHER_RATES = frozenset(["decay", "warmup", "min", "final", "end", "gamma", "schedule", "scheduler"])
"""Words in the names of parameters that shape a learning rate, and are none."""


def condemned(trial: Trial) -> bool:
    """Whether a rule decided against the trial, whatever came of that."""
    pruned = trial.state is State.PRUNED and not trial.control.ended_by_person
    return pruned or trial.control.spared is not None


def advice(trial: Trial, trials: Sequence[Trial]) -> list[str]:
    """Which parameters to change, by what the siblings did; nothing for a trial that no rule condemned.

    Args:
        trials: all trials of the sweep, the condemned one among them.
    """
    if not condemned(trial):
        return []
    judged = [other for other in trials if condemned(other) or other.state is State.COMPLETE]
    return [*_border(judged), *_neighbours(trial, judged)]


def stall_border(trials: Sequence[Trial]) -> tuple[float, int] | None:
    """The lowest effective learning rate from which on every trial was condemned, and how many reached it.

    None where fewer than `FEWEST` did. Trials that neither a rule condemned nor that ended by themselves say nothing.
    """
    rates = [(t.progress.effective_lr, condemned(t)) for t in trials if condemned(t) or t.state is State.COMPLETE]
    learned = max((rate for rate, is_condemned in rates if not is_condemned), default=-math.inf)
    high = [rate for rate, is_condemned in rates if is_condemned and rate > learned]
    return (min(high), len(high)) if len(high) >= FEWEST else None


def _border(judged: Sequence[Trial]) -> list[str]:
    """Where on the scale of effective learning rates stalls begin."""
    rates = [(trial.progress.effective_lr, condemned(trial)) for trial in judged]
    rates = sorted(rate for rate in rates if math.isfinite(rate[0]))
    stalled = [rate for rate, is_condemned in rates if is_condemned]
    learned = [rate for rate, is_condemned in rates if not is_condemned]
    if not stalled or not learned:
        return []
    high = [rate for rate in stalled if rate > max(learned)]
    low = [rate for rate in learned if rate < min(stalled)]
    parts = []
    if len(high) >= FEWEST:
        parts.append(f"{len(high)} of {len(high)} trials at {number(min(high))} or more stalled")
    if len(low) >= FEWEST:
        parts.append(f"{len(low)} of {len(low)} at {number(max(low))} or less learned")
    return ["by their highest effective lr, " + "; ".join(parts)] if parts else []


def _neighbours(trial: Trial, judged: Sequence[Trial]) -> list[str]:
    """The siblings that differ in one parameter alone, parameter by parameter."""
    shown, lines = trial.facts.shown, []
    for name in shown:
        fates: dict[str, list[bool]] = {}
        for other in judged:
            differing = [key for key in shown if other.facts.shown.get(key) != shown[key]]
            if differing == [name]:
                fates.setdefault(spelled(other.facts.shown.get(name)), []).append(not condemned(other))
        told = [f"{sum(learned)} of {len(learned)} learned with {value}" for value, learned in fates.items()]
        if any(any(learned) for learned in fates.values()):
            here = spelled(shown[name])
            lines.append(plain(f"{name}={here} here; {', '.join(told)}, all else being equal"))
    return lines


def by_learning_rate(trial: Trial, siblings: Sequence[Trial], advice: str) -> list[str]:
    """Return which learning rates are known to work, where the advice is to lower or to raise the peak.

    A sibling learned where it is complete and no diagnosis that stops has ever held.
    """
    asked = _RATE.search(advice)
    if asked is None:
        return []
    lower, lines = asked[1] == "lower", []
    names = [name for name in trial.facts.shown if _is_learning_rate(name)]
    for name in names:
        own = _rate(trial.facts.shown, name)
        rates = [(_rate(other.facts.shown, name), other) for other in siblings if _can_tell(other)]
        beyond = [(rate, other) for rate, other in rates if (rate < own if lower else rate > own)]
        learned = [rate for rate, other in beyond if _learned(other)]
        if not learned:
            continue
        nearest = max(learned) if lower else min(learned)
        further = [other for rate, other in beyond if (rate <= nearest if lower else rate >= nearest)]
        where = f"at or {'below' if lower else 'above'} {spelled(nearest)}"
        who = f"siblings {where} learned" if all(map(_learned, further)) else f"a sibling at {spelled(nearest)} learned"
        lines.append(who if len(names) == 1 else plain(f"{name}: {who}"))
    return lines


def _is_learning_rate(name: str) -> bool:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    words = set(re.split(r"[^a-z]+", spaced))
    return ("lr" in words or {"learning", "rate"} <= words) and not words & _OTHER_RATES


def _rate(params: Mapping[str, object], name: str) -> float:
    """The value of a parameter; NaN, which is neither below nor above another, where it is no number."""
    value = params.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _can_tell(trial: Trial) -> bool:
    return has_failed(trial) or condemned(trial) or (trial.state is State.COMPLETE and is_known(trial))


def _learned(trial: Trial) -> bool:
    return trial.state is State.COMPLETE and not has_failed(trial) and not condemned(trial)
