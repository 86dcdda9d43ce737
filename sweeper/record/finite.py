"""Which trials trained on numbers that are not finite, whatever they report."""

from __future__ import annotations

from sweeper.record.trial import TrialRecord

NON_FINITE = "non_finite"
"""The diagnosis of gradients, weights or losses that are NaN or infinite."""


def was_non_finite(trial: TrialRecord) -> bool:
    """Return whether a trial was ever diagnosed as `non_finite`.

    Its values say nothing then: a loop may report 0 in place of a loss that is NaN. So it never counts as better than a
    trial that was not.
    """
    return any(event.holds and event.diagnosis == NON_FINITE for event in trial.diagnosed)
