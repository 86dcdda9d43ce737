"""The built-in training scripts, which use the trial API like any script, and trainers that are functions.

Imports the standard library only, so that listing the trainers is fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sweeper.trainers.functions import RUNNER, is_function, signature_of
from sweeper.trainers.preflight import PREFLIGHT, Preflight, Schedule
from sweeper.trainers.settings import DEFAULTS

__all__ = [
    "TRAINERS",
    "Preflight",
    "Schedule",
    "Trainer",
    "is_function",
    "program_of",
    "signature_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """A training script that comes with sweeper.

    Attributes:
        module: the module that `python -m` runs for one trial.
        defaults: every hyperparameter of the trainer, with its default.
        prepare: the module that `python -m` runs once before the sweep, or None. See its docstring for the input.
        preflight: functions that estimate the trials before they start, or None.
    """

    module: str
    defaults: Mapping[str, object]
    prepare: str | None = None
    preflight: Preflight | None = None


TRAINERS: Mapping[str, Trainer] = MappingProxyType(
    {
        "text-classification": Trainer(
            module="sweeper.trainers.text_classification",
            defaults=DEFAULTS,
            prepare="sweeper.trainers.prepare",
            preflight=PREFLIGHT,
        ),
    }
)


def program_of(trainer: str) -> list[str]:
    """Return the module and arguments that `python -m` runs for a trial of a trainer."""
    return [RUNNER, trainer] if is_function(trainer) else [TRAINERS[trainer].module]
