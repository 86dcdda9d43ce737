"""`diverged`: the loss is well above its start and does not come back, or the weights are thrown about."""

from __future__ import annotations

import functools
import math
import statistics
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Positive
from sweeper.rules.course import Course
from sweeper.rules.diagnoses.dead_units import DeadUnits
from sweeper.rules.diagnoses.no_gradient import NoGradient
from sweeper.rules.diagnoses.saturated import Saturated
from sweeper.rules.diagnoses.stuck import Stuck
from sweeper.rules.diagnoses.vanishing_gradient import VanishingGradient
from sweeper.rules.diagnosis import Diagnosis, Effect, Reason, Told
from sweeper.rules.signals import LEARNED, Signals

WINDOW, SEEN = 5, 2
SURE, RATHER = 3.0, 1.0
"""Standard errors."""
FAR = 20.0
MOVES = 0.1
"""Weights that move less than this part of themselves in the whole plan are frozen, wherever the loss began."""


CONSEQUENCES = (NoGradient(), VanishingGradient(), DeadUnits(), Saturated(), Stuck())
"""What a run that blew up may be left with."""


class Diverged(Diagnosis):
    """The loss is above ``times`` its start, or that of a constant prediction, and is not coming back.

    Or nothing was gained, and one update was larger than ``thrown`` times the weights, the median of several than
    ``ratio`` times, or activations than ``scale`` times the inputs. Or the run blew up, and since then units are dead
    or saturated, or gradients are gone: these are consequences, and named in the reason.
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
        """Return that a loss far above its baseline needs no wait: a healthy run does not come back from there."""
        return 0.0 if signals.excess > FAR or self._consequence(signals) else self.lasting

    def judge(self, signals: Signals) -> Reason | None:
        """Return how far off the run is."""
        loss = signals.loss
        # Where a constant prediction is the baseline, its loss is known better than one's own start.
        noise = loss.error if signals.baseline < loss.start else math.hypot(loss.error, loss.start_error)
        above = loss.level() - self.times * signals.baseline > SURE * noise
        rose = signals.excess > self.times and above and self._rose(signals) and not self._comes_back(loss)
        if rose and not signals.scoring:
            return functools.partial(self._of_loss, signals, loss.level())
        if signals.thrown > self.thrown and not signals.scoring:
            return functools.partial(self._of_updates, signals, signals.thrown, self.thrown)
        scale = signals.activation("scale", SEEN)
        learns = signals.scoring or (signals.natural and signals.gain >= LEARNED)
        if scale > self.scale * max(1.0, signals.activation("input_scale", 1)) and not learns:
            return functools.partial(self._of_activations, signals, scale)
        if consequence := self._consequence(signals):
            return functools.partial(self._of_consequence, signals, consequence)
        if signals.wrecked and not signals.progressing:
            return functools.partial(self._of_weights, signals)
        ratios = signals.window("update_ratio", WINDOW)
        if len(ratios) == WINDOW and statistics.median(ratios) > self.ratio and not signals.progressing:
            return functools.partial(self._of_updates, signals, statistics.median(ratios), self.ratio)
        return None

    @staticmethod
    def _consequence(signals: Signals) -> Reason | None:
        """Return what is left of a run that blew up and does not learn; None where it is in order, or never did."""
        if not signals.blown or not signals.newest:
            return None
        found = (one.found(signals) for one in CONSEQUENCES)
        return next((reason for reason in found if reason is not None), None)

    @staticmethod
    def _of_consequence(signals: Signals, consequence: Reason) -> Told:
        text, evidence = consequence()
        return f"{signals.blown}, and since then {text}", evidence

    def _rose(self, signals: Signals) -> bool:
        """Whether the loss is above its start, or the run moves and stays above the loss of a constant prediction."""
        if signals.loss.level() > self.times * signals.loss.start:
            return True
        return not signals.travel < MOVES

    @staticmethod
    def _comes_back(loss: Course) -> bool:
        """Whether the loss falls: its newest level is below the one before it, beyond their noise."""
        return loss.level(1) - loss.level() > loss.error * RATHER

    def _of_loss(self, signals: Signals, now: float) -> Told:
        loss = signals.loss
        text = f"{signals.loss_name} is {now:.4g} and does not come back: it began at {loss.start:.4g}"
        if signals.prior_loss < loss.start:
            text += f", and a constant prediction has {signals.prior_loss:.4g}"
        return text, {"statistic": signals.loss_name or "loss", "mean": now, "start": loss.start, "best": loss.best}

    @staticmethod
    def _of_activations(signals: Signals, scale: float) -> Told:
        text = f"the activations are of the order of {scale:.2g}, where 1 is usual; {signals.gain_text()}"
        return text, {"statistic": "activation scale", "median": scale, **signals.gain_evidence()}

    @staticmethod
    def _of_weights(signals: Signals) -> Told:
        grown = signals.largest_norm / signals.start_norm
        text = f"the weights grew to {grown:.2g} times their norm at the start; {signals.gain_text()}"
        return text, {"statistic": "weight norm", "value": grown, **signals.gain_evidence()}

    @staticmethod
    def _of_updates(signals: Signals, ratio: float, threshold: float) -> Told:
        text = f"the weights are thrown about: an update is {ratio:.2g} times the weights, above {threshold:g}; "
        evidence = {"statistic": "update_ratio", "value": ratio, "threshold": threshold}
        return text + signals.gain_text(), {**evidence, **signals.gain_evidence()}
