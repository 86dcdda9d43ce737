"""Confidence intervals of counts. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable

BISECTIONS = 60
"""Each halves the interval: 60 leave 1e-18, which is below the spacing of floats near 1."""


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided confidence interval of a probability from `k` successes in `n` independent trials.

    It contains the true probability at least as often as `confidence` says, for any probability. Its ends are the
    lowest and the highest probability at which `k` or more, and `k` or fewer, successes have a probability of at least
    (1 - confidence) / 2. The one-sided bound at 95% is an end of the two-sided interval at 90%. Source: Clopper and
    Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26.

    Args:
        k: successes, 0 to `n`.
        n: trials; without any, the interval is 0 to 1.
        confidence: 0 to 1, both excluded.

    Returns:
        The low and the high end, both in 0..1, with an error below 1e-12.

    Raises:
        ValueError: the counts or the confidence are out of their ranges.
    """
    if not 0 <= k <= n or not 0 < confidence < 1:
        message = f"expected 0 <= k <= n and 0 < confidence < 1, got k={k}, n={n}, confidence={confidence}"
        raise ValueError(message)
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else _rising_root(lambda p: _at_least(k, n, p) - tail)
    high = 1.0 if k == n else _rising_root(lambda p: tail - _at_least(n - k, n, 1 - p))
    return low, high


def _at_least(k: int, n: int, p: float) -> float:
    """Return the probability of `k` or more successes, each with the probability `p`."""
    if not 0 < p < 1:
        return float(p >= 1)
    log_p, log_q = math.log(p), math.log1p(-p)
    whole = math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_p + (n - i) * log_q)
        for i in range(k, n + 1)
    )


def _rising_root(function: Callable[[float], float]) -> float:
    """Return the root of a function that rises on 0..1, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return (low + high) / 2
