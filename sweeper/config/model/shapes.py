"""The parameters with a shape in place of bounds: normal, log-normal and beta distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from sweeper.config.model.values import Conditional, number
from sweeper.mistakes import refused, shown

MOST_SIGMAS = 5
"""How many standard deviations from the mean a value lies at most: the outermost millionth is not drawn."""

MOST_EXPONENT = 700
"""Largest exponent of e that a float can represent, roughly."""

MOST_MULTIPLES = 2.0**53
"""How many multiples of `q` a distribution may reach: a float knows no more whole numbers."""

LEAST_BETA, MOST_BETA = 0.01, 1000.0
"""The parameters of a beta distribution for which its quantiles can be computed."""


class NormalShape(StrEnum):
    """The distributions with a mean `mu` and a standard deviation `sigma`. The names are W&B's."""

    NORMAL = "normal"
    Q_NORMAL = "q_normal"
    LOG_NORMAL = "log_normal"
    Q_LOG_NORMAL = "q_log_normal"

    @property
    def log(self) -> bool:
        """Whether the logarithm of the value is normally distributed."""
        return self in {NormalShape.LOG_NORMAL, NormalShape.Q_LOG_NORMAL}


class BetaShape(StrEnum):
    """The distributions from 0 to 1 with the parameters `a` and `b`. The names are W&B's."""

    BETA = "beta"
    Q_BETA = "q_beta"


Quantum = Annotated[int | float | None, PlainValidator(lambda q: q if q is None else number(q))]


def _fitting_q(q: float | None, info: ValidationInfo) -> float | None:
    shape = info.data.get("distribution")
    if q is not None and shape is not None and not shape.startswith("q_"):
        raise refused(f"no q for {shape}", hint=f"q_{shape} takes one")
    if q is not None and q <= 0:
        raise refused("a number above 0")
    if q is not None and shape is not None and _highest(info.data) / q > MOST_MULTIPLES:
        raise refused("a number that is not so small beside the values")
    return q


def _highest(data: Mapping[str, Any]) -> float:
    """Return a bound on the values of a distribution with these settings; 0 if some are invalid."""
    if isinstance(data["distribution"], BetaShape):
        return 1.0
    if "mu" not in data or "sigma" not in data:
        return 0.0
    reach = abs(data["mu"]) + MOST_SIGMAS * data["sigma"]
    return float(math.exp(reach) if data["distribution"].log else reach)


class Normal(Conditional):
    """A number around `mu` with the standard deviation `sigma`, for example `{distribution: normal, sigma: 0.1}`.

    With `log_normal`, the natural logarithm of the value is distributed so. With a `q_` distribution, values are
    rounded to multiples of `q`. The outermost millionth on either side is not drawn.
    """

    distribution: Annotated[NormalShape, Field(strict=False)]
    mu: Annotated[int | float, PlainValidator(number)] = 0.0
    sigma: Annotated[int | float, PlainValidator(number)] = 1.0
    q: Quantum = None

    _fits_shape = field_validator("q")(_fitting_q)

    @field_validator("sigma")
    @classmethod
    def _has_values(cls, sigma: float, info: ValidationInfo) -> int | float:
        if sigma <= 0:
            raise refused("a number above 0", hint="without a spread, write {value: ...}")
        shape, mu = info.data.get("distribution"), info.data.get("mu", 0.0)
        if shape is not None and shape.log and abs(mu) + MOST_SIGMAS * sigma > MOST_EXPONENT:
            raise refused(f"mu and sigma of the logarithm, with values below e^{MOST_EXPONENT}")
        return sigma


class Beta(Conditional):
    """A number from 0 to 1 with a beta distribution, for example `{distribution: beta, a: 2, b: 5}`.

    With `q_beta`, values are rounded to multiples of `q`.
    """

    distribution: Annotated[BetaShape, Field(strict=False)]
    a: Annotated[int | float, PlainValidator(number)] = 1.0
    b: Annotated[int | float, PlainValidator(number)] = 1.0
    q: Quantum = None

    _fits_shape = field_validator("q")(_fitting_q)

    @field_validator("a", "b")
    @classmethod
    def _is_in_range(cls, value: float) -> int | float:
        if not LEAST_BETA <= value <= MOST_BETA:
            raise refused(f"a number from {shown(LEAST_BETA)} to {shown(MOST_BETA)}")
        return value
