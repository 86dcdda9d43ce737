"""What the settings of every rule share, and the types of their values."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from sweeper.mistakes import STRICT

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Part = Annotated[float, Field(gt=0, lt=1)]
MetricName = Annotated[str, Field(min_length=1)]


class StopSettings(BaseModel):
    """The settings of any rule under ``early_stop.rules``."""

    model_config = STRICT


class RuleSettings(StopSettings):
    """The settings that all conditions share.

    A rule fires from step ``grace_steps`` on, once its condition has held at ``patience`` observations in a row. It
    skips observations that are fewer than ``every`` steps apart.
    """

    grace_steps: Annotated[int, Field(ge=0)] = 60
    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    every: Annotated[int, Field(ge=1)] = 1
