"""What a trial of `text-classification` will do with its learning rate, before it starts. Standard library only."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.record.values.schedule import effective_lr
from sweeper.trainers.optimizer import learning_rate, uncorrected
from sweeper.trainers.settings import DEFAULTS, Settings, parse

MODEL = ("pretrained", "hidden_size", "num_hidden_layers")
"""Hyperparameters with which the border between learning and stalling moves, whatever the schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Optimizer steps in all, the highest effective learning rate, and the step, from 0, at which it is reached."""

    total_steps: int
    peak: float
    peak_step: int


def schedule_of(params: Mapping[str, object], examples: int) -> Schedule:
    """The schedule of a trial with these parameters; the missing bias correction is counted.

    Args:
        examples: in the training set, from 1.

    Raises:
        UsageError: a parameter is not what it may be.
    """
    settings = parse(params)
    total = settings.epochs * math.ceil(examples / settings.batch_size)
    betas = uncorrected(settings)

    def rate(step: int) -> float:
        fraction, peak = settings.warmup_fraction, settings.lr
        return effective_lr(
            learning_rate(step, total_steps=total, warmup_fraction=fraction, peak=peak), step, uncorrected=betas
        )

    step = max(range(total), key=rate)
    return Schedule(total_steps=total, peak=rate(step), peak_step=step)


def model_of(params: Mapping[str, object]) -> tuple[object, ...]:
    """What of the parameters a border depends on; defaults where they are not set."""
    return tuple(params.get(name, DEFAULTS[name]) for name in MODEL)


def examples_of(datasets: Sequence[str], cache: Path | None = None) -> tuple[str, int] | None:
    """The first of the datasets that was prepared on this machine, and its training examples; None where none was.

    Args:
        datasets: names, the trainer's own where there are none.
        cache: where encodings are kept, by default where the trainer keeps them.
    """
    if cache is None:
        from sweeper.trainers.data.inputs import cache_dir  # brings numpy

        cache = cache_dir()
    sizes: dict[str, int] = {}
    for path in sorted((cache / "encodings").glob("*/meta.json")):
        try:
            dataset = json.loads(path.read_bytes())["provenance"]["dataset"]
            sizes[dataset["name"]] = int(dataset["train"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return next(((name, sizes[name]) for name in datasets or Settings().dataset if name in sizes), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What a built-in trainer knows of its trials before they start: see the functions of these names."""

    schedule_of: Callable[[Mapping[str, object], int], Schedule]
    model_of: Callable[[Mapping[str, object]], tuple[object, ...]]
    examples_of: Callable[[Sequence[str]], tuple[str, int] | None]


PREFLIGHT = Preflight(schedule_of=schedule_of, model_of=model_of, examples_of=examples_of)
