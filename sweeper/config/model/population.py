"""The setting `population`: how `method: pbt` trains its members in turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from sweeper.mistakes import STRICT

DEFAULT_SIZE = 8
"""The number of members if the sweep file does not give `population_size`."""


class Population(BaseModel):
    """How the members of `method: pbt` take turns, for example `population: {every_steps: 100, turns: 10}`.

    A member trains `every_steps` optimizer steps in each turn, `turns` times. After a turn, those that failed and the
    worst, at least the share `replaced` of the members, continue from a checkpoint of one of the best. Their numeric
    parameters are multiplied or divided by `factor`, and each is drawn anew with the probability `resample`.
    """

    model_config = STRICT
    every_steps: Annotated[int, Field(ge=1)]
    turns: Annotated[int, Field(ge=2)]
    replaced: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 1.2
    resample: Annotated[float, Field(ge=0, le=1)] = 0.1


def plain_turns(given: object) -> int:
    """Return the number of turns in a population that is not validated yet; 0 if it has none."""
    turns = given.get("turns") if isinstance(given, Mapping) else getattr(given, "turns", 0)
    return turns if isinstance(turns, int) else 0
