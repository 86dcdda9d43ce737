"""What became of recorded trials, by hindsight: who learned, and who stalled; pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def are_learners(evaluations: Sequence[Sequence[float]], *, maximize: bool) -> list[bool]:
    """For each trial of a run, whether it is a learner; one that is none is a stall.

    A *learner* ends with at least half of its best sibling's gain over the start. The *start* is what the metric is
    worth to a model that has learned nothing. A record says that nowhere, so it is the median of the worst quarter of
    the first evaluations: of the trials that had learned least by then.

    Args:
        evaluations: of each trial that ended by itself, all values of the metric, at least one, in their order.
        maximize: whether more is better.
    """
    sign = 1.0 if maximize else -1.0
    firsts = sorted(sign * values[0] for values in evaluations if math.isfinite(values[0]))
    start = statistics.median(firsts[: math.ceil(len(firsts) / 4)]) if firsts else math.nan
    gains = [sign * values[-1] - start for values in evaluations]
    best = max((gain for gain in gains if math.isfinite(gain)), default=0.0)
    return [best > 0 and math.isfinite(gain) and gain >= best / 2 for gain in gains]
