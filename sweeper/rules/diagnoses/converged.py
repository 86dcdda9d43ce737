"""`converged`: the loss has fallen, and no longer falls."""

from __future__ import annotations

import functools

from sweeper.rules.base import Explanation, Reason, Share
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals


class Converged(Diagnosis):
    """The loss has fallen by at least the share ``gain`` of its start, and no longer falls."""

    name = "converged"
    effect = Effect.INFORMS
    source = "Prechelt 1998, Early Stopping - But When?"
    advice = "this is no failure; `stop_when: converged` ends such trials early as COMPLETE"
    reads = (frozenset({"loss"}),)

    gain: Share = 0.3
    flat: Share = 0.002

    def judge(self, signals: Signals) -> Reason | None:
        """Return the loss at the start and now."""
        loss = signals.loss
        if loss.count < 8 * loss.window or not signals.gain >= self.gain or not signals.gain_kept > 0.9:  # noqa: PLR2004
            return None
        falls = loss.fell_by(0.25) > 2 and loss.change_over(0.25) > self.flat * abs(loss.start)  # noqa: PLR2004
        return None if falls else functools.partial(self._explain, signals)

    @staticmethod
    def _explain(signals: Signals) -> Explanation:
        loss = signals.loss
        now, name = loss.level(), signals.loss_name
        text = f"{name} has converged: it began at {loss.start:.4g}, is now {now:.4g}, and no longer falls"
        return text, {"statistic": signals.loss_name or "loss", "mean": loss.level(), "start": loss.start}
