"""`collapsed`: the run had learned, and lost it again."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Explanation, Reason, Share
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals

SURE = 3.0
"""Standard errors."""


class Collapsed(Diagnosis):
    """Of a gain of at least ``gain`` less than ``kept`` is left, for ``lasting`` of the plan, without a way back."""

    name = "collapsed"
    effect = Effect.STOPS
    source = "Mosbach et al. 2021: fine-tuning that fails late; PaLM (Chowdhery et al. 2022) on loss spikes"
    advice = "lower the learning rate from the step where the gain was lost, or clip the gradient"
    reads = (frozenset({"loss"}),)

    gain: Share = 0.1
    kept: Share = 0.25
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.05

    def judge(self, signals: Signals) -> Reason | None:
        """Return what was gained, and what is left of it."""
        loss = signals.loss
        if not signals.gain >= self.gain or not signals.kept < self.kept or signals.scoring:
            return None
        if loss.level(1) - loss.level() > SURE * loss.error:
            return None  # it is coming back
        if loss.level() - loss.best < SURE * loss.error:
            return None  # the best level was one of many, and low by chance
        return functools.partial(self._explain, signals)

    @staticmethod
    def _explain(signals: Signals) -> Explanation:
        loss, now = signals.loss, signals.loss.level()
        text = (
            f"what was learned is lost: {signals.loss_name} began at {loss.start:.4g}, was {loss.best:.4g} at step "
            f"{loss.best_step}, and is {now:.4g}"
        )
        return text, {
            "statistic": signals.loss_name or "loss",
            "mean": now,
            "start": loss.start,
            "best": loss.best,
            "at": loss.best_step,
        }
