"""How a run failed: what broke, since which step, and what its updates and gradients were until then."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.record.events import Event, Observation
from sweeper.rules.signals.signals import LEARNED, Signals

MARGIN, OBSERVATIONS = 0.05, 2
"""A run is healthy until this share of the plan, and this number of observations, before the failure began."""
LOST = 0.1
"""Reach below this share of its level at the start belongs to the failure."""
RISEN = 1.02
"""A learning rate still rose if a later one is higher by this factor."""
FIRST = 3
"""What holds at one of the first observations was not caused by the updates before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A run that a diagnosis stopped.

    Attributes:
        number: the number of the trial.
        params: its parameters.
        diagnosis: the name of the diagnosis.
        step: the step of the decision.
        broke: the step at which the failure began, as far as the record shows; a diagnosis begins later.
        healthy_until: the last step of which a checkpoint counts as healthy; negative if there is none.
        total_steps: planned optimizer steps, or those that were done if there is no plan.
        from_start: whether what is diagnosed held before an update could have caused it.
        partial: whether only some of the weights have no gradient.
        largest_ratio: the largest update so far, as a share of the weights; 0 before one is known.
        peak_ratio: the same over the learning rate as a share of its peak, as a warmup makes the first updates small;
            if updates are lost to rounding, the most that it can be. NaN before it is known.
        travel: the relative change of the weights over all planned steps, if every step had the same direction.
        one_network: whether one of several networks stands still, and the others move.
        ramp: the learning rate when the failure began, as a share of its peak; NaN if it did not rise any more.
        norms: the norms of the gradient while the run was healthy.
    """

    number: int
    params: Mapping[str, object]
    diagnosis: str
    step: int
    broke: int
    healthy_until: int
    total_steps: int
    from_start: bool = False
    partial: bool = False
    largest_ratio: float = 0.0
    peak_ratio: float = math.nan
    travel: float = math.nan
    one_network: bool = False
    ramp: float = math.nan
    norms: Sequence[float] = field(default=())


def failure_of(  # noqa: PLR0913 - one argument for each part of a decision
    number: int,
    params: Mapping[str, object],
    events: Iterable[Event],
    *,
    diagnosis: str,
    step: int,
    evidence: Mapping[str, object],
) -> Failure:
    """Return how a run failed, from its history up to the decision.

    Args:
        number: the number of the trial.
        params: its parameters.
        events: its history; what is later than `step` is not read.
        diagnosis: the name of the diagnosis that stopped it.
        step: the step of the decision.
        evidence: that of the decision, with the step `since` which the diagnosis held.
    """
    signals, observations = Signals(), list[Observation]()
    for event in events:
        if getattr(event, "step", -1) > step:
            continue
        signals.take(event)
        if isinstance(event, Observation):
            observations.append(event)
    total = signals.total_steps or step + 1
    since = _since(evidence, step)
    broke = max(0, min(since, _window(evidence, since), _best(signals, evidence, since), _lost(observations, since)))
    seen = [one.step for one in observations]
    every = min((b - a for a, b in itertools.pairwise(seen) if b > a), default=0)
    healthy_until = broke - max(math.ceil(MARGIN * total), OBSERVATIONS * every)
    newest = observations[-1] if observations else None
    return Failure(
        number=number,
        params=params,
        diagnosis=diagnosis,
        step=step,
        broke=broke,
        healthy_until=healthy_until if healthy_until > 0 else -1,
        total_steps=total,
        from_start=_from_start(observations, diagnosis, evidence, since),
        partial=newest is not None and newest.gradient_norm > 0,
        largest_ratio=signals.largest_ratio,
        peak_ratio=_peak_ratio(signals, observations, evidence),
        travel=signals.travel,
        one_network=_one_network(signals, evidence, diagnosis),
        ramp=_ramp(signals, observations, broke),
        norms=[
            one.gradient_norm
            for one in observations
            if one.step <= max(healthy_until, 0) and math.isfinite(one.gradient_norm) and one.gradient_norm > 0
        ],
    )


def _since(evidence: Mapping[str, object], step: int) -> int:
    since = evidence.get("since")
    return since if type(since) is int and 0 <= since <= step else step


def _window(evidence: Mapping[str, object], since: int) -> int:
    """Return the first step of the observations that the diagnosis was made from; `since` if it names none."""
    window = evidence.get("window")
    first = window[0] if isinstance(window, list | tuple) and window else None
    at = first[0] if isinstance(first, list | tuple) and first else None
    return at if type(at) is int else since


def _best(signals: Signals, evidence: Mapping[str, object], since: int) -> int:
    """Return the last step at which the run still gained; `since` if it never gained anything."""
    at = evidence.get("at")
    if type(at) is int:
        return at
    return signals.loss.best_step if signals.gain >= LEARNED and signals.loss.best_step >= 0 else since


def _lost(observations: Sequence[Observation], since: int) -> int:
    """Return the step from which on reach was lost, up to the diagnosis; `since` if it was not.

    One observation in between that is not low counts as noise, because reach is a ratio of two small numbers.
    """
    known = [one for one in observations if not math.isnan(one.reach)]
    if not known:
        return since
    low = LOST * statistics.median(one.reach for one in known[:FIRST])
    first, others = since, 0
    for one in reversed([one for one in known if one.step <= since]):
        if one.reach < low:
            first, others = one.step, 0
        elif others:
            break
        else:
            others += 1
    return first


def _from_start(
    observations: Sequence[Observation], diagnosis: str, evidence: Mapping[str, object], since: int
) -> bool:
    """Return whether the diagnosis held at the first observations, which no update before them can have caused."""
    first = list(observations[:FIRST])
    if diagnosis == "vanishing_gradient":
        threshold = evidence.get("threshold")
        known = [one.reach for one in first[:1] if not math.isnan(one.reach)]
        return isinstance(threshold, float) and any(reach < threshold for reach in known)
    if diagnosis == "no_gradient":
        return not any(one.gradient_norm > 0 for one in first)
    if diagnosis in ("dead_units", "saturated"):
        return bool(first) and since <= first[-1].step and not max(one.update_ratio for one in first) > _LARGE
    return False


def _ramp(signals: Signals, observations: Sequence[Observation], broke: int) -> float:
    """Return the learning rate when the failure began, as a share of its peak; NaN if no later one is higher."""
    then = [one.learning_rate for one in observations if one.step <= broke] or [math.nan]
    later = [one.learning_rate for one in observations if one.step > broke]
    return then[-1] / signals.peak_lr if any(rate > RISEN * then[-1] for rate in later) else math.nan


_LARGE = 0.15
"""An update above this share of the weights is larger than in nearly all healthy runs."""
_STILL = 0.005
"""If the relative change of the weights over all planned steps is below this, they stand still."""


def _peak_ratio(signals: Signals, observations: Sequence[Observation], evidence: Mapping[str, object]) -> float:
    ratios = [signals.scheduled(one, one.update_ratio) for one in observations]
    largest = max((ratio for ratio in ratios if math.isfinite(ratio)), default=math.nan)
    resolution = evidence.get("resolution")
    if largest == 0 and isinstance(resolution, float):
        return resolution / 2  # a change of less than half of the spacing of numbers is rounded away
    return largest


def _one_network(signals: Signals, evidence: Mapping[str, object], diagnosis: str) -> bool:
    median, total = evidence.get("median"), signals.total_steps
    if diagnosis != "frozen" or not isinstance(median, float) or not total:
        return False
    return median > 0 and signals.travel >= _STILL > median * total
