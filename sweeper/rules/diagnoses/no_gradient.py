"""`no_gradient`: nothing is trained, because every gradient is exactly 0 or missing, or the optimizer never steps."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Explanation, Reason, Share
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals

LATEST = 3
"""The share of weights without a gradient is the median of this number of observations."""
UNSEEN_LEAST, UNSEEN_MOST = 256, 1024
"""Bounds on the reported step from which an optimizer without an observed step is taken not to step at all.

Before, it may be accumulating gradients over many micro-batches, each of which the script reports as a step. Half of
the plan counts if it lies between the bounds.
"""


class NoGradient(Diagnosis):
    """Every gradient is exactly 0 or missing, or the optimizer never steps, and the loss is not at its floor.

    Or for the share ``lasting`` of the plan, at least ``share`` of the weights had no gradient, and the run gained
    nothing.
    """

    name = "no_gradient"
    effect = Effect.STOPS
    source = "Zhang et al. 2021, AUTOTRAINER: dying ReLU; a softmax over one unit is constant, and has no gradient"
    advice = (
        "check the output layer and the loss: usual causes are a ReLU that is never active, a softmax over one unit, a "
        "detach, parameters that are frozen or in no optimizer, and a step that is never called"
    )
    reads = (frozenset({"gradient_norm"}),)

    floor: float = 1e-3
    share: Share = 0.4
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def wait(self, signals: Signals) -> float:
        """Return 0 if nothing at all is trained, else `lasting`."""
        newest = signals.newest[-1] if signals.newest else None
        some = newest is not None and newest.gradient_norm > 0
        return self.lasting if some else 0.0

    def judge(self, signals: Signals) -> Reason | None:
        """Return why nothing is trained."""
        parameters = signals.parameters
        if parameters is not None and parameters.trained == 0:
            return functools.partial(self._nothing_trained, signals)
        if not signals.observations:
            half = UNSEEN_MOST if signals.total_steps is None else signals.total_steps / 2
            late = signals.reported_step >= min(max(UNSEEN_LEAST, half), UNSEEN_MOST)
            return functools.partial(self._never_stepped, signals) if parameters is not None and late else None
        # A run that lost its gradients after it blew up has diverged.
        return None if signals.blow_up and signals.norm.count else self.judge_any_cause(signals)

    def judge_any_cause(self, signals: Signals) -> Reason | None:
        """Return which gradients are gone, even if the run blew up before."""
        newest = signals.newest[-1]
        if newest.skipped or newest.not_finite > 0:
            return None
        missing = signals.watching is not None and newest.missing == len(signals.watching.tensors)
        if missing or newest.gradient_norm == 0:
            return None if self._is_done(signals) else functools.partial(self._zero, signals, missing=missing)
        share = signals.weight("without_gradient", LATEST)
        judged = signals.loss.count >= 2 * signals.loss.window or signals.objective.count > 1
        if share >= self.share and judged and not signals.is_learning:
            return functools.partial(self._of_most, signals, share)
        return None

    def _is_done(self, signals: Signals) -> bool:
        """Return whether the loss is at its floor, where a gradient of 0 is correct, as for a hinge loss."""
        loss = signals.loss
        return loss.count > 0 and signals.is_nonnegative and loss.level() <= self.floor * abs(loss.start)

    @staticmethod
    def _zero(signals: Signals, *, missing: bool) -> Explanation:
        newest = signals.newest[-1]
        what = "no watched tensor has a gradient" if missing else "every gradient is exactly 0"
        steps = [one.step for one in list(signals.newest)[-3:]]
        text = f"{what} at the observations of steps {steps[0]} to {steps[-1]}"
        return text, {"statistic": "gradient_norm", "value": newest.gradient_norm, "steps": steps}

    @staticmethod
    def _of_most(signals: Signals, share: float) -> Explanation:
        text = f"{share:.0%} of the weights have no gradient or a gradient of exactly 0; {signals.gain_text()}"
        return text, {"statistic": "weights without a gradient", "value": share, **signals.gain_evidence()}

    @staticmethod
    def _nothing_trained(signals: Signals) -> Explanation:
        parameters = signals.parameters
        assert parameters is not None  # noqa: S101 - asked only where it is known
        parts = [f"{parameters.frozen:,} parameters are frozen"] if parameters.frozen else []
        parts += [f"{parameters.unowned:,} belong to no optimizer"] if parameters.unowned else []
        parts += [f"{parameters.foreign:,} in the optimizer are not the model's"] if parameters.foreign else []
        text = f"nothing is trained: {', '.join(parts) or 'the model has no parameters'}"
        return text, {"statistic": "trained parameters", "value": 0, "unowned": list(parameters.names)}

    @staticmethod
    def _never_stepped(signals: Signals) -> Explanation:
        text = f"the watched optimizer never stepped, although the script reports step {signals.reported_step}"
        return text, {"statistic": "optimizer steps", "value": 0, "reported_step": signals.reported_step}
