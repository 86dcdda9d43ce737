"""Words that the report and the live page have in common: what charts show, and the states of trials."""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.record.trial import State

FRONT = (
    "Each point is a trial. A circle marks the Pareto front: no other trial within the constraints is at least as good "
    "in every objective and better in one."
)
PARALLEL = "Each line is a trial, from its parameters to its value at the right; the bluer, the better."
IMPORTANCE = (
    "The fraction of the variance of the values that each parameter explains (Optuna's fANOVA), over complete trials."
)
SLOTS = "Which trial ran where and when; each bar is an attempt."

STATES: Mapping[State, str] = {
    State.COMPLETE: "complete",
    State.PRUNED: "stopped early",
    State.FAIL: "failed",
    State.RUNNING: "running",
    State.PAUSED: "paused",
    State.WAITING: "waiting",
}
"""The states of trials, in the order of a legend."""
