"""`unused_parameters`: some parameters are in no optimizer, or never have a gradient."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Part
from sweeper.rules.diagnosis import Diagnosis, Effect, Reason, Told
from sweeper.rules.signals import Signals

CALLED, STILL = 3, 5
"""Observations in a row at which a tensor has no gradient, and at which it may be 0 by chance."""
DEAD = 0.95


class UnusedParameters(Diagnosis):
    """At least ``share`` of the parameters that require a gradient belong to no optimizer.

    Or at least ``without_gradient`` of the watched tensors have none, as layers before a detach; or gradients are
    exactly 0 for ``zero`` of the weights, as those of a network whose loss has the weight 0, and nothing is learned.
    """

    name = "unused_parameters"
    effect = Effect.WARNS
    source = "PyTorch issue reports collected by TrainCheck (Jiang et al. 2025)"
    advice = "give the optimizer all parameters that are to be trained, or set requires_grad to False on the others"
    reads = (frozenset({"gradient_norm"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    share: Part = 0.01
    without_gradient: Part = 0.2
    zero: Part = 0.4

    def judge(self, signals: Signals) -> Reason | None:
        """Return how many parameters nothing trains."""
        parameters = signals.parameters
        if parameters is None or not parameters.trained:
            return None
        if parameters.unowned >= self.share * (parameters.trained + parameters.unowned):
            return functools.partial(self._told, signals)
        newest = list(signals.newest)[-CALLED:]
        tensors = 0 if signals.watching is None else len(signals.watching.tensors)
        without = min((one.missing for one in newest), default=0)
        if len(newest) == CALLED and self.without_gradient * tensors <= without < tensors:
            return functools.partial(self._without_gradient, without, tensors)
        idle = [one.weights.get("without_gradient", 0.0) for one in list(signals.newest)[-STILL:]]
        explained = signals.activation("dead", 1) >= DEAD or signals.blown or signals.progressing
        if len(idle) == STILL and self.zero <= min(idle) < 1 and not explained:
            return functools.partial(self._zero, min(idle))
        return None

    @staticmethod
    def _zero(share: float) -> Told:
        text = f"{share:.0%} of the weights have a gradient of exactly 0, at {STILL} observations in a row"
        return text, {"statistic": "weights without a gradient", "value": share}

    @staticmethod
    def _without_gradient(without: int, tensors: int) -> Told:
        text = f"{without} of {tensors} watched tensors have no gradient, at {CALLED} observations in a row"
        return text, {"statistic": "tensors without a gradient", "value": without, "of": tensors}

    @staticmethod
    def _told(signals: Signals) -> Told:
        parameters = signals.parameters
        assert parameters is not None  # noqa: S101 - asked only where it is known
        whole = parameters.trained + parameters.unowned
        text = (
            f"{parameters.unowned:,} of {whole:,} parameters that require a gradient belong to no optimizer: "
            f"{', '.join(parameters.names)}"
        )
        return text, {"statistic": "unowned parameters", "value": parameters.unowned, "names": list(parameters.names)}
