"""The incomplete beta function, with the standard library only: for Student's t and for beta distributions."""

from __future__ import annotations

import math

MOST_TERMS = 10_000
"""Maximum number of terms of the continued fraction, which needs about the square root of the larger parameter."""
TINY = 1e-300


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), in [0, 1], for x in [0, 1] and positive a and b."""
    if not 0 < x < 1:
        return float(x >= 1)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    # The fraction converges fast on one side of the mean; the other side follows by symmetry.
    if x > (a + 1) / (a + b + 2):
        return 1 - math.exp(scale) * _fraction(1 - x, b, a) / b
    return math.exp(scale) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8; Lentz's method)."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    product = d
    for m in range(1, MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        factor = 1.0
        for term in (even, odd):
            d, c = 1 / _not_zero(1 + term * d), _not_zero(1 + term / c)
            factor = c * d
            product *= factor
        if abs(factor - 1) < math.ulp(1.0):
            break
    return product


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
