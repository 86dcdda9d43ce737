"""`frozen`: the updates are too small for anything to come of them."""

from __future__ import annotations

import functools
import math
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Part
from sweeper.rules.diagnosis import Diagnosis, Effect, Reason, Told
from sweeper.rules.signals import Signals

FEWEST = 3
NOTHING = 0.005
"""Weights that can move by less than this part of themselves in the whole plan learn nothing, pretrained or not."""
REACHED, DEAD, ABOVE = 1e-3, 0.95, 1.5
"""What explains small updates: less reach, more dead units, or a loss that is so many times its start."""


class Frozen(Diagnosis):
    """Updates are below the resolution of the weights, or would move them by less than ``travel`` in the whole plan.

    The travel is the update ratio at the peak learning rate times the planned steps: how far the weights would come,
    as a part of themselves, if every step led in the same direction. A short fine-tuning moves them by a percent or so:
    where they move at all, the run has ``lasting`` of the plan to show a gain. Of a model of several networks, such as
    a generator and a discriminator, it is enough that one does not move.
    """

    name = "frozen"
    effect = Effect.STOPS
    source = "the spacing of floating-point numbers: 1.2e-7 of a weight in float32, 7.8e-3 in bfloat16"
    advice = "raise the peak learning rate, or keep the weights in float32 where they are in bfloat16"
    reads = (frozenset({"update_ratio"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.25
    travel: Part = 0.06

    def wait(self, signals: Signals) -> float:
        """Return that a short fine-tuning, which moves the weights by a percent or so, is given time to show a gain."""
        return 0.0 if signals.travel < NOTHING or self._one_is_frozen(signals) else self.lasting

    def judge(self, signals: Signals) -> Reason | None:
        """Return how small the updates are, where the run does not learn by them."""
        newest = signals.newest[-1] if signals.newest else None
        if newest is None or signals.progressing or newest.not_finite > 0 or newest.gradient_norm == 0:
            return None
        if self._has_another_cause(signals):
            return None
        rounded = [one.update_ratio for one in list(signals.newest)[-FEWEST:] if one.learning_rate > 0]
        if len(rounded) == FEWEST and max(rounded) == 0:
            return functools.partial(self._told, signals, 0.0)
        if self._one_is_frozen(signals):
            return functools.partial(self._told, signals, signals.slowest.level())
        if signals.ratio.count < FEWEST or not signals.travel < self.travel:
            return None
        return functools.partial(self._told, signals, signals.ratio.level())

    @staticmethod
    def _one_is_frozen(signals: Signals) -> bool:
        """Whether one of several networks does not move; an update of exactly 0 is that of a network to train later."""
        enough = signals.slowest.count >= FEWEST and signals.slowest.lowest > 0
        return enough and signals.shortest_travel < NOTHING

    @staticmethod
    def _has_another_cause(signals: Signals) -> bool:
        """Whether the gradient has vanished, units are dead, the loss is a wrong one, or the run has diverged."""
        if signals.blown or signals.mismatch:
            return True
        vanished = min(signals.window("reach", 1), default=1.0) < REACHED
        dead = signals.activation("dead", 1) >= DEAD
        rose = signals.natural and signals.loss.level() > ABOVE * signals.loss.start
        return vanished or dead or rose

    def _told(self, signals: Signals, ratio: float) -> Told:
        total, resolution = signals.total_steps, math.nan
        if signals.parameters is not None:
            resolution = signals.parameters.resolution
        if ratio == 0:
            text = "no weight changes: the updates are rounded away"
        else:
            assert total is not None  # noqa: S101 - without a plan the travel is not known
            whole = f"{ratio * total:.1e} in all {total} steps"
            which = "the weights of one network" if self._one_is_frozen(signals) else "the weights"
            text = f"{which} hardly move: an update is {ratio:.1e} of a weight, {whole}"
        if ratio < resolution:
            text += f", and the weights resolve {resolution:.1e}"
        evidence = {"statistic": "update_ratio", "median": ratio, "resolution": resolution, "threshold": self.travel}
        return f"{text}; {signals.gain_text()}", {**evidence, **signals.gain_evidence()}
