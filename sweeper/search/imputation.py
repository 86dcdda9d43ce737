"""The value that a search takes for trials that failed because of their parameters: the worst so far.

Samplers ignore trials without a value. After a failure they would propose again what has just failed.

The value follows from all results so far. So it is computed anew for each proposal, and an earlier failure counts with
a worse value once there is one. As long as no trial has a finite value, failures are left out: nothing is known yet
that would be better than they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from sweeper.search.proposal import Configuration


def worst_value(seen: Sequence[Configuration], *, maximize: bool) -> float | None:
    """Return the worst value of the configurations that have ended; None if none has a finite one.

    Args:
        seen: All configurations so far.
        maximize: Whether larger values of the metric are better.
    """
    values = [one.value for one in seen if one.ended and one.value is not None and math.isfinite(one.value)]
    return (min if maximize else max)(values, default=None)


def imputed(configuration: Configuration, worst: float | None) -> Configuration:
    """Return the configuration with the value that it counts with: `worst` stands in for its trials that failed."""
    if not configuration.failed or worst is None:
        return configuration
    own = worst if configuration.value is None else configuration.value
    return replace(configuration, value=own + configuration.failed * (worst - own))
