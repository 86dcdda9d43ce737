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
REACHED, DEAD, ABOVE, THROWN = 1e-3, 0.95, 1.5, 1.0
"""What explains small updates: less reach, more dead units, a loss that is so many times its start, or an update that
was larger than the weights, and threw them about."""


class Frozen(Diagnosis):
    """Updates are below the resolution of the weights, or would move them by less than ``travel`` in the whole plan.

    The travel is the update ratio at the peak learning rate times the planned steps: how far the weights would come,
    as a part of themselves, if every step led in the same direction. A short fine-tuning moves them by a percent or so:
    where they move at all, the run has ``lasting`` of the plan to show a gain.
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
        return self.lasting if signals.travel >= NOTHING else 0.0

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
        if signals.ratio.count < FEWEST or not signals.travel < self.travel:
            return None
        return functools.partial(self._told, signals, signals.ratio.level())

    @staticmethod
    def _has_another_cause(signals: Signals) -> bool:
        """Whether the gradient has vanished, units are dead, or the run has diverged, so that updates are small."""
        if max((one.update_ratio for one in signals.newest), default=0.0) > THROWN:
            return True
        vanished = min(signals.window("reach", 1), default=1.0) < REACHED
        dead = signals.activation("dead", 1) >= DEAD
        return vanished or dead or signals.loss.level() > ABOVE * signals.loss.start

    def _told(self, signals: Signals, ratio: float) -> Told:
        total, resolution = signals.total_steps, math.nan
        if signals.parameters is not None:
            resolution = signals.parameters.resolution
        if ratio == 0:
            text = "no weight changes: the updates are rounded away"
        else:
            assert total is not None  # noqa: S101 - without a plan the travel is not known
            whole = f"{ratio * total:.1e} in all {total} steps"
            text = f"the weights hardly move: an update is {ratio:.1e} of a weight, {whole}"
        if ratio < resolution:
            text += f", and the weights resolve {resolution:.1e}"
        evidence = {"statistic": "update_ratio", "median": ratio, "resolution": resolution, "threshold": self.travel}
        return f"{text}; {signals.gain_text()}", {**evidence, **signals.gain_evidence()}
