"""`diverged`: the loss is far above its start and does not fall again, or updates are larger than the weights."""

from __future__ import annotations

import functools
import math
import statistics
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Explanation, Positive, Reason
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.diagnoses.dead_units import DeadUnits
from sweeper.rules.diagnoses.no_gradient import NoGradient
from sweeper.rules.diagnoses.saturated import Saturated
from sweeper.rules.diagnoses.stuck import Stuck
from sweeper.rules.diagnoses.vanishing_gradient import VanishingGradient
from sweeper.rules.signals.binned_series import BinnedSeries
from sweeper.rules.signals.signals import LEARNED, Signals

WINDOW, SEEN = 5, 2
SURE, RATHER = 3.0, 1.0
"""A difference counts if it is larger than this number of standard errors."""
FAR = 20.0
MOVES = 0.1
"""If the relative change of the weights over all planned steps is below this, they are frozen, not diverged."""


CONSEQUENCES = (NoGradient(), VanishingGradient(), DeadUnits(), Saturated(), Stuck())
"""The diagnoses that may hold as consequences, once a run blew up."""


class Diverged(Diagnosis):
    """The loss is above ``times`` its start, or ``times`` that of a constant prediction, and does not fall again.

    Or nothing was gained, and one update was larger than ``thrown`` times the weights, the median of several was larger
    than ``ratio`` times the weights, or activations were larger than ``scale`` times the inputs. Or the run blew up,
    and since then units are dead or saturated, or gradients are gone. The reason names these consequences.
    """

    name = "diverged"
    effect = Effect.STOPS
    source = "Cohen et al. 2021, Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability"
    advice = "lower the peak learning rate, clip the gradient, or lengthen the warmup"
    reads = (frozenset({"loss", "update_ratio"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 2
    times: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 1.5
    ratio: Positive = 0.5
    thrown: Positive = 1.0
    scale: Positive = 1e4
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.03

    def wait(self, signals: Signals) -> float:
        """Return 0 if the loss is far above its baseline, from where a healthy run does not come back."""
        return 0.0 if signals.loss_over_baseline > FAR or self._consequence(signals) else self.lasting

    def judge(self, signals: Signals) -> Reason | None:
        """Return how the run diverged."""
        loss = signals.loss
        # The loss of a constant prediction is known more precisely than the start of the run.
        noise = loss.error if signals.baseline < loss.start else math.hypot(loss.error, loss.start_error)
        above = loss.level() - self.times * signals.baseline > SURE * noise
        rose = signals.loss_over_baseline > self.times and above and self._rose(signals) and not self._comes_back(loss)
        if rose and not signals.score_improved:
            return functools.partial(self._of_loss, signals, loss.level())
        if signals.harmful_ratio > self.thrown and not signals.score_improved:
            return functools.partial(self._of_updates, signals, signals.harmful_ratio, self.thrown)
        scale = signals.activation("scale", SEEN)
        learns = signals.score_improved or (signals.is_nonnegative and signals.gain >= LEARNED)
        if scale > self.scale * max(1.0, signals.activation("input_scale", 1)) and not learns:
            return functools.partial(self._of_activations, signals, scale)
        if consequence := self._consequence(signals):
            return functools.partial(self._of_consequence, signals, consequence)
        if signals.weights_exploded and not signals.is_learning:
            return functools.partial(self._of_weights, signals)
        ratios = signals.window("update_ratio", WINDOW)
        if len(ratios) == WINDOW and statistics.median(ratios) > self.ratio and not signals.is_learning:
            return functools.partial(self._of_updates, signals, statistics.median(ratios), self.ratio)
        return None

    @staticmethod
    def _consequence(signals: Signals) -> Reason | None:
        """Return the diagnosis that holds since the run blew up; None if there is none, or it never blew up."""
        if not signals.blow_up or not signals.newest:
            return None
        found = (one.judge_any_cause(signals) for one in CONSEQUENCES)
        return next((reason for reason in found if reason is not None), None)

    @staticmethod
    def _of_consequence(signals: Signals, consequence: Reason) -> Explanation:
        text, evidence = consequence()
        return f"{signals.blow_up}, and since then {text}", evidence

    def _rose(self, signals: Signals) -> bool:
        """Return whether the loss rose above its start, or the weights move and it stays above its baseline."""
        if signals.loss.level() > self.times * signals.loss.start:
            return True
        return not signals.travel < MOVES

    @staticmethod
    def _comes_back(loss: BinnedSeries) -> bool:
        """Return whether the loss falls: its newest level is below the one before, beyond their noise."""
        return loss.level(1) - loss.level() > loss.error * RATHER

    def _of_loss(self, signals: Signals, now: float) -> Explanation:
        loss = signals.loss
        text = f"{signals.loss_name} is far above its start and does not fall again: it is {now:.4g}, and began at "
        text += f"{loss.start:.4g}"
        if signals.prior_loss < loss.start:
            text += f"; the loss of a constant prediction is {signals.prior_loss:.4g}"
        return text, {"statistic": signals.loss_name or "loss", "mean": now, "start": loss.start, "best": loss.best}

    @staticmethod
    def _of_activations(signals: Signals, scale: float) -> Explanation:
        text = f"the activations are too large: their root mean square is {scale:.2g}, and usually about 1; "
        text += signals.gain_text()
        return text, {"statistic": "activation scale", "median": scale, **signals.gain_evidence()}

    @staticmethod
    def _of_weights(signals: Signals) -> Explanation:
        grown = signals.largest_norm / signals.start_norm
        text = f"the weights grew to {grown:.2g} times their norm at the start; {signals.gain_text()}"
        return text, {"statistic": "weight norm", "value": grown, **signals.gain_evidence()}

    @staticmethod
    def _of_updates(signals: Signals, ratio: float, threshold: float) -> Explanation:
        text = f"the updates are too large: an update is {ratio:.2g} times the weights, above {threshold:g}; "
        evidence = {"statistic": "update_ratio", "value": ratio, "threshold": threshold}
        return text + signals.gain_text(), {**evidence, **signals.gain_evidence()}
