"""`loss_mismatch`: a loss function is given an input that it does not expect."""

from __future__ import annotations

from sweeper.rules.base import Explanation, Reason
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals


class LossMismatch(Diagnosis):
    """Cross entropy is given probabilities instead of logits, or the squared error is used for classes."""

    name = "loss_mismatch"
    effect = Effect.WARNS
    source = "NeuraLint (Nikanjam et al. 2021) and UMLAUT (Schoop et al. 2021): wrong loss or last activation"
    advice = "give cross_entropy the logits, without a softmax before it; use cross entropy for classes"
    reads = (frozenset({"activations"}),)

    def judge(self, signals: Signals) -> Reason | None:
        """Return the mismatch, if one was observed and the run does not learn well."""
        return self._explain if signals.mismatch and not signals.gain >= 0.5 else None  # noqa: PLR2004 - half of the loss

    @staticmethod
    def _explain() -> Explanation:
        text = "a loss function is given the probabilities of classes instead of logits, or squares their errors"
        return text, {"statistic": "loss_mismatch", "value": 1}
