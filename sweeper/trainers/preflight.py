"""Predict the learning rate schedule of a `text-classification` trial before it starts. Standard library only."""

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
"""Hyperparameters that move the border between learning and stalling, for any schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The learning rate schedule of a trial.

    Attributes:
        total_steps: number of optimizer steps.
        peak: highest effective learning rate.
        peak_step: the step, counted from 0, at which it is reached.
    """

    total_steps: int
    peak: float
    peak_step: int


def schedule_of(params: Mapping[str, object], examples: int) -> Schedule:
    """Return the schedule of a trial, with the effect of a missing bias correction on the learning rate.

    Args:
        params: the parameters of the trial.
        examples: the number of training examples, from 1.

    Raises:
        UsageError: a parameter is invalid.
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
    """Return the values of the hyperparameters in `MODEL`, with defaults for those that are not set."""
    return tuple(params.get(name, DEFAULTS[name]) for name in MODEL)


def examples_of(datasets: Sequence[str], cache: Path | None = None) -> tuple[str, int] | None:
    """Return the first dataset that was prepared on this machine and its number of training examples, or None.

    Args:
        datasets: names of datasets; if empty, the trainer's defaults.
        cache: the folder of encodings; by default, the trainer's.
    """
    if cache is None:
        from sweeper.trainers.data.inputs import cache_dir  # imports numpy

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
    """Functions that predict the trials of a built-in trainer. See the functions of the same names in this module."""

    schedule_of: Callable[[Mapping[str, object], int], Schedule]
    model_of: Callable[[Mapping[str, object]], tuple[object, ...]]
    examples_of: Callable[[Sequence[str]], tuple[str, int] | None]


PREFLIGHT = Preflight(schedule_of=schedule_of, model_of=model_of, examples_of=examples_of)
