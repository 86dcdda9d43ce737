"""The trial that W&B is prepared for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.auto.loggers.base import Log
from sweeper.record.values.params import Nesting, json_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The parameters and directory of the trial, and where its metrics go."""

    params: Mapping[str, object]
    directory: Path
    log: Log
    nesting: Nesting | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The parameters as W&B's agent gives them: grouped ones are nested."""
        config: dict[str, Any] = json.loads(json_of(self.params, self.nesting))
        return config


current: Setup | None = None


def refusal_of_agent(name: str) -> str:
    """Return what to tell a script that would start a W&B sweep inside a trial."""
    return (
        f"wandb.{name}(...) was called in a trial of sweeper, which takes the place of W&B's agent. Call the training "
        "function directly: wandb.init() gives it the parameters of this trial"
    )
