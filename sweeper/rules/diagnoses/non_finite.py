"""`non_finite`: the loss, a gradient or a weight is not finite."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from sweeper.rules.base import Explanation, MetricName, Reason
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.metric_names import is_trained_loss
from sweeper.rules.signals.signals import Signals

AUTOMATIC = "auto"


class NonFinite(Diagnosis):
    """The loss, a gradient or a weight is NaN or infinite at ``patience`` observations in a row.

    Steps that a gradient scaler skipped are no failure: the scaler lowers its scale and tries again.
    """

    name = "non_finite"
    effect = Effect.STOPS
    source = "IEEE 754: NaN spreads through every sum, so a weight that is NaN never comes back"
    advice = "lower the peak learning rate, clip the gradient, or look for a division by zero or a logarithm of zero"
    reads = (frozenset({"loss", "gradient_norm"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 2
    metric: MetricName = AUTOMATIC

    @classmethod
    def needs(cls, settings: Mapping[str, Any]) -> list[frozenset[str]]:
        """Return what the diagnosis reads: the gradient norm, or the loss or the given metric."""
        metric = settings.get("metric", AUTOMATIC)
        return list(cls.reads) if metric == AUTOMATIC else [frozenset({str(metric), "gradient_norm"})]

    def judge(self, signals: Signals) -> Reason | None:
        """Return which values are not finite."""
        newest = signals.newest[-1] if signals.newest else None
        if newest is not None and not newest.skipped:
            if newest.not_finite > 0:
                return functools.partial(self._of_tensors, signals)
            if newest.not_finite < 0 and newest.gradient_norm in (float("inf"), float("-inf")):
                return functools.partial(self._of_tensors, signals)
        if newest is not None and newest.skipped:
            return None
        names = [name for name in signals.not_finite if self._is_read(name)]
        return functools.partial(self._of_value, signals, names[0]) if names else None

    def _is_read(self, name: str) -> bool:
        return is_trained_loss(name) if self.metric == AUTOMATIC else name == self.metric

    @staticmethod
    def _of_tensors(signals: Signals) -> Explanation:
        newest = signals.newest[-1]
        count = max(1, newest.not_finite)
        tensors = "1 watched tensor has" if count == 1 else f"{count} watched tensors have"
        text = f"{tensors} gradients or weights that are not finite, at step {newest.step}"
        return text, {
            "statistic": "not_finite",
            "value": count,
            "window": [[one.step, one.not_finite] for one in list(signals.newest)[-3:]],
        }

    @staticmethod
    def _of_value(signals: Signals, name: str) -> Explanation:
        count = signals.not_finite[name]
        text = f"{name} was not finite at the last {count} reports, up to step {signals.step}"
        return text, {"statistic": name, "reports_in_a_row": count}
