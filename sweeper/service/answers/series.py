"""Answers with many numbers, thinned to what fits a screen: curves, depth profiles, slots over time, and output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.service.answers import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric of one trial.

    Attributes:
        number: the number of the trial.
        metric: the name of the metric.
        x: optimizer steps; or seconds since the trial was first launched.
        y: the values; null for NaN and the infinities.
        recorded: number of recorded values, of which these are the first, the last, and the extremes in between.
        breaks: places in `x` and `y`, from 0, at which an attempt began that resumed.
    """

    number: int
    metric: str
    x: Sequence[float]
    y: Sequence[float | None]
    recorded: int
    breaks: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves(Answer):
    """Curves of trials.

    Attributes:
        by: `step` or `time`.
        points: the maximum number of points of a curve.
        metrics: the names of all metrics that these trials recorded, also of those without a curve here.
        launched: when each trial was first launched, in seconds since the epoch, by number.
        revision: that of `Sweep.revision`.
        curves: the curves.
    """

    by: str
    points: int
    metrics: Sequence[str]
    launched: Mapping[str, float]
    revision: int
    curves: Sequence[Curve]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The root-mean-square gradient of each layer at one observation.

    Attributes:
        step: the optimizer step.
        rms: the value of each layer, in the order of the data flow; null without a gradient, and if it is not finite.
        reach: how much of the gradient at the last layers arrives at the first; null if that is undefined.
    """

    step: int
    rms: Sequence[float | None]
    reach: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth(Answer):
    """The depth profile of a trial over time.

    Attributes:
        number: the number of the trial.
        layers: the names of the layers.
        networks: the network of each layer; empty if it is not known.
        observations: number of recorded observations, of which the profiles are a part that always has the newest.
        profiles: the profiles, by step; empty if the trial records none.
    """

    number: int
    layers: Sequence[str]
    networks: Sequence[int]
    observations: int
    profiles: Sequence[Profile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One attempt on its slot.

    Attributes:
        number: the number of the trial.
        attempt: the number of the attempt.
        slot: its slot.
        begin: when it was launched, in seconds since the epoch.
        end: when it ended; null while it runs.
        ended: how it ended: `running`, `completed`, `stopped`, or the cause of its end.
        state: the state of the trial.
    """

    number: int
    attempt: int
    slot: str
    begin: float
    end: float | None
    ended: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTimeline(Answer):
    """The attempts of a sweep over time.

    Attributes:
        slots: the names of all slots, those of now first.
        now: the moment that this answer describes, in seconds since the epoch.
        revision: that of `Sweep.revision`.
        spans: the attempts, by their begin.
        left_out: number of older attempts that are left out.
    """

    slots: Sequence[str]
    now: float
    revision: int
    spans: Sequence[Span]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Answer):
    """A part of what an attempt printed.

    Attributes:
        number: the number of the trial.
        attempt: the number of the attempt; 0 if the trial was never started.
        begin: the offset of the first byte.
        end: the offset at which the next reading begins.
        size: the size of the output now, in bytes.
        text: the output, without terminal codes and secrets.
        running: whether the attempt still runs, so that more may follow.
    """

    number: int
    attempt: int
    begin: int
    end: int
    size: int
    text: str
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance(Answer):
    """How much each parameter explains of each objective.

    Attributes:
        shares: the share of each parameter from 0 to 1, the largest first, by objective.
        problem: why there is none; else empty.
    """

    shares: Mapping[str, Mapping[str, float]]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontAxis:
    """An objective as the axis of a chart.

    Attributes:
        name: the objective.
        better: which values are better: `higher is better` or `lower is better`.
        maximize: whether a higher value is better.
        log: whether the axis is logarithmic.
        values: the value of each trial.
    """

    name: str
    better: str
    maximize: bool
    log: bool
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Front(Answer):
    """The trials of a sweep with several objectives over each pair of them; empty with one objective.

    Attributes:
        revision: that of `Sweep.revision`.
        caption: what the chart shows, in words.
        left_out: number of trials with values that are left out; none of them is on the front.
        numbers: the numbers of the trials.
        states: their states.
        feasible: whether each keeps to all constraints.
        front: the numbers of the trials on the Pareto front, best in the first objective first.
        axes: the objectives.
        pairs: pairs of axes, by their places.
        stepped: whether the front bounds the region that it dominates, because there are two objectives.
    """

    revision: int
    caption: str
    left_out: int
    numbers: Sequence[int]
    states: Sequence[str]
    feasible: Sequence[bool]
    front: Sequence[int]
    axes: Sequence[FrontAxis]
    pairs: Sequence[Sequence[int]]
    stepped: bool
