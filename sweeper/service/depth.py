"""The depth profile of a trial by step: the gradient of each layer at observations that are spread over the trial."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.errors import UsageError
from sweeper.record.events import Watching
from sweeper.record.reader import read_row
from sweeper.record.values.depth_profile import depth_profile
from sweeper.service.answers.series import Depth, Profile
from sweeper.service.histories import History, Observed
from sweeper.service.thinning import evenly
from sweeper.service.trials import finite

PROFILES, MOST = 64, 1000
"""Observations that are read by default, and at most."""
GRADIENT_NORM = "grad_norm"


def depth_of(number: int, history: History, most: int) -> Depth:
    """Return the depth profile at no more than `most` observations with the layers of the newest one.

    Args:
        number: the number of the trial.
        history: its history.
        most: maximum number of observations.

    Raises:
        UsageError: `most` is out of its range.
    """
    if not 1 <= most <= MOST:
        raise UsageError(f"most: expected 1 to {MOST} observations, got {most}")
    watching = history.observed[-1].watching if history.observed else None
    known = [one for one in history.observed if watching is not None and one.watching.layers == watching.layers]
    read = ((known[place], rms) for place in evenly(len(known), most) if (rms := _rms(known[place])) is not None)
    return Depth(
        number=number,
        layers=() if watching is None else watching.layers,
        networks=() if watching is None else watching.networks,
        observations=len(known),
        profiles=[
            Profile(
                step=one.observation.step,
                rms=[finite(float(f"{value:.4g}")) for value in rms],
                reach=finite(one.observation.reach),
            )
            for one, rms in read
        ],
    )


def _rms(one: Observed) -> Sequence[float] | None:
    """Return the root-mean-square gradient of each layer; None if its row is torn, or not written yet."""
    watching: Watching = one.watching
    if GRADIENT_NORM not in watching.statistics:
        return None
    row = read_row(one.attempt, one.observation.row, watching.row_width, one.observation.row_crc)
    if row is None:
        return None
    width = len(watching.statistics)
    norms = row[watching.statistics.index(GRADIENT_NORM) : watching.of_tensors : width]
    return depth_profile(norms.tolist(), watching.sizes, watching.layer_of, len(watching.layers))
