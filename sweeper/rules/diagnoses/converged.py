"""`converged`: the loss is at its floor, and nothing is left to gain."""

from __future__ import annotations

import functools

from sweeper.rules.base import Part
from sweeper.rules.diagnosis import Diagnosis, Effect, Reason, Told
from sweeper.rules.signals import Signals


class Converged(Diagnosis):
    """The loss has fallen by ``gain`` of its start or more, and no longer falls."""

    name = "converged"
    effect = Effect.INFORMS
    source = "Prechelt 1998, Early Stopping - But When?"
    advice = "nothing is wrong; `stop_when: converged` ends such trials early as COMPLETE"
    reads = (frozenset({"loss"}),)

    gain: Part = 0.3
    flat: Part = 0.002

    def judge(self, signals: Signals) -> Reason | None:
        """Return where the loss is, and since when it no longer falls."""
        loss = signals.loss
        if loss.count < 8 * loss.window or not signals.gain >= self.gain or not signals.kept > 0.9:  # noqa: PLR2004
            return None
        falls = loss.fell_by(0.25) > 2 and loss.change_over(0.25) > self.flat * abs(loss.start)  # noqa: PLR2004
        return None if falls else functools.partial(self._told, signals)

    @staticmethod
    def _told(signals: Signals) -> Told:
        loss = signals.loss
        now, name = loss.level(), signals.loss_name
        text = f"{name} has converged: it began at {loss.start:.4g} and no longer falls, at {now:.4g}"
        return text, {"statistic": signals.loss_name or "loss", "mean": loss.level(), "start": loss.start}
