"""`frozen`: the updates are too small to change the weights."""

from __future__ import annotations

import functools
import math
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Explanation, Reason, Share
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals

FEWEST = 3
NOTHING = 0.005
"""If the relative change of the weights over all planned steps is below this, the run learns nothing."""
REACHED, DEAD, ABOVE = 1e-3, 0.95, 1.5
"""Other causes of small updates: reach below the first value, a share of dead units above the second, or a loss above
the third times its start.
"""


class Frozen(Diagnosis):
    """Updates are below the resolution of the weights, or change them by less than ``travel`` over all planned steps.

    The travel is the update ratio at the peak learning rate times the planned steps: the relative change of the weights
    if every step had the same direction. A short fine-tuning changes them by about a percent. So if they move at all,
    the run has the share ``lasting`` of the plan to show a gain. If a model consists of several networks, such as a
    generator and a discriminator, one of them is enough.
    """

    name = "frozen"
    effect = Effect.STOPS
    source = "the spacing of floating-point numbers: 1.2e-7 of a weight in float32, 7.8e-3 in bfloat16"
    advice = "raise the peak learning rate, or keep the weights in float32 if they are in bfloat16"
    reads = (frozenset({"update_ratio"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.25
    travel: Share = 0.06

    def wait(self, signals: Signals) -> float:
        """Return 0 if the weights do not move, and `lasting` for a short fine-tuning, to give it time to gain."""
        return 0.0 if signals.travel < NOTHING or self._one_is_frozen(signals) else self.lasting

    def judge(self, signals: Signals) -> Reason | None:
        """Return how small the updates are, if the run does not learn."""
        newest = signals.newest[-1] if signals.newest else None
        if newest is None or signals.is_learning or newest.not_finite > 0 or newest.gradient_norm == 0:
            return None
        if self._has_another_cause(signals):
            return None
        rounded = [one.update_ratio for one in list(signals.newest)[-FEWEST:] if one.learning_rate > 0]
        if len(rounded) == FEWEST and max(rounded) == 0:
            return functools.partial(self._explain, signals, 0.0)
        if self._one_is_frozen(signals):
            return functools.partial(self._explain, signals, signals.slowest.level())
        if signals.ratio.count < FEWEST or not signals.travel < self.travel:
            return None
        return functools.partial(self._explain, signals, signals.ratio.level())

    @staticmethod
    def _one_is_frozen(signals: Signals) -> bool:
        """Return whether one of several networks does not move; updates of 0 are those of one to train later."""
        enough = signals.slowest.count >= FEWEST and signals.slowest.lowest > 0
        return enough and signals.shortest_travel < NOTHING

    @staticmethod
    def _has_another_cause(signals: Signals) -> bool:
        """Return whether the gradient vanished, units are dead, the loss does not fit, or the run diverged."""
        if signals.blow_up or signals.mismatch:
            return True
        vanished = min(signals.window("reach", 1), default=1.0) < REACHED
        dead = signals.activation("dead", 1) >= DEAD
        rose = signals.is_nonnegative and signals.loss.level() > ABOVE * signals.loss.start
        return vanished or dead or rose

    def _explain(self, signals: Signals, ratio: float) -> Explanation:
        total, resolution = signals.total_steps, math.nan
        if signals.parameters is not None:
            resolution = signals.parameters.resolution
        if ratio == 0:
            text = "the weights do not change, because the updates are lost to rounding"
        else:
            assert total is not None  # noqa: S101 - without a plan the travel is not known
            which = "the updates of one network" if self._one_is_frozen(signals) else "the updates"
            text = (
                f"{which} are too small: an update changes a weight by a share of {ratio:.1e}, and all {total} steps "
            )
            text += f"by {ratio * total:.1e}"
        if ratio < resolution:
            text += f"; the resolution of the weights is {resolution:.1e}"
        evidence = {"statistic": "update_ratio", "median": ratio, "resolution": resolution, "threshold": self.travel}
        return f"{text}; {signals.gain_text()}", {**evidence, **signals.gain_evidence()}
