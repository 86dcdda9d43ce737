"""The built-in training scripts: ordinary users of the trial API, each a module that `python -m` runs.

Standard library only: who lists the trainers has not yet decided to train.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sweeper.trainers.arguments import Argument, ArgumentKind, Arguments, arguments_of
from sweeper.trainers.functions import RUNNER, is_function, signature_of
from sweeper.trainers.preflight import PREFLIGHT, Preflight, Schedule
from sweeper.trainers.settings import DEFAULTS

__all__ = [
    "TRAINERS",
    "Argument",
    "ArgumentKind",
    "Arguments",
    "Preflight",
    "Schedule",
    "Trainer",
    "arguments_of",
    "is_function",
    "program_of",
    "signature_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """A training script that comes with sweeper.

    Attributes:
        module: what `python -m` runs for one trial.
        defaults: every hyperparameter that it knows, with the value it has when the sweep does not set it.
        prepare: what `python -m` runs once before the sweep (see its module for what it reads and writes), or None.
        preflight: what is known of its trials before they start, or None.
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
    """What `python -m` runs for a trial of a trainer: a module and its arguments."""
    return [RUNNER, trainer] if is_function(trainer) else [TRAINERS[trainer].module]
