"""The failing runs that `benchmarks/repair.py` tries to save, what is tried, and in which order."""

from __future__ import annotations

import itertools
import math
import random
import statistics
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmarks.zoo.catalogue import case, tasks
from benchmarks.zoo.repaired import READS, parameters
from benchmarks.zoo.task import SCORE, Arm, Task

ZOO, BERT = "zoo", "BERT"
REPAIR, SEED, DRAW, THIRD = "repair", "seed", "draw", "third"
WAYS: Mapping[str, str] = {
    REPAIR: "repair",
    SEED: "(a) restart with another seed",
    DRAW: "(b) restart with a random draw",
    THIRD: "(c) restart with a third of the learning rate",
}
MOST_TRIES = 2
ZOO_SEED = 1
"""A recorded one: the outcome if left alone is known. Repairs were designed with seed 0 of the first half."""
ARMS_OF_A_TASK = 2
ZOO_FOR_EACH_BERT = 3
"""A BERT run takes as long as several runs of the zoo, and a part of the plan has to have both."""

DRAWN, ADDED = "drawn", "added"
TUNED = frozenset({"optimizer", "lr", "g_lr", "d_lr", "critic_lr", "schedule", "jump_at", "jump_to", "gain", "periods",
                   "warmup", "share", "clip", "weight_decay", "batch"})  # fmt: skip
"""Settings of an optimizer or a schedule. An arm in which nothing else is unusual fails because of a parameter."""
DECADES = 2.0
"""Learning rates are drawn from so many decades below a good one to so many above it."""

BERT_STEPS = 640
BERT_FIXED: Mapping[str, object] = {
    "epochs": 5,
    "batch_size": 16,
    "bias_correction": False,
    "eps": 1e-6,
    "hidden_size": 64,
    "num_hidden_layers": 12,
    "num_attention_heads": 2,
    "max_length": 80,
}
BERT_GOOD = 3e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingRun:
    """A training that fails if it is left alone.

    Attributes:
        part: `zoo` or `BERT`.
        half: the half of the zoo, or the recording of BERT.
        task: the task.
        arm: the arm, or the configuration of BERT.
        seed: the seed.
        group: `drawn`, or `added` for arms that were added so that each task has two which fail by a parameter.
        by_parameter: whether the run fails because of a parameter, and not because of a fault of its script.
        steps: planned steps.
        params: the parameters that a sweep may change.
        good_lr: a learning rate with which the task is learned.
    """

    part: str
    half: str
    task: str
    arm: str
    seed: int
    group: str
    by_parameter: bool
    steps: int
    params: Mapping[str, float]
    good_lr: float

    @property
    def key(self) -> tuple[str, str, int]:
        """What is unique to it."""
        return self.task, self.arm, self.seed

    @property
    def text(self) -> str:
        """Its name in words."""
        return f"{self.task}/{self.arm}, seed {self.seed}"

    @property
    def rates(self) -> Sequence[str]:
        """The names of its learning rates."""
        return [name for name in self.params if name == "lr" or name.endswith("_lr")]

    def tried(self, way: str, attempt: int) -> tuple[dict[str, float], int]:
        """Return the parameters and the seed of a restart.

        Args:
            way: one of `WAYS` but `repair`.
            attempt: 1 for the first restart, 2 for the second.
        """
        params, seed = dict(self.params), self.seed
        if way == SEED:
            return params, seed + 1000 * attempt
        if way == THIRD:
            return {**params, **{name: params[name] / 3**attempt for name in self.rates}}, seed
        dice = random.Random(zlib.crc32(f"{self.task}/{self.arm}:{seed}:{attempt}".encode()))
        drawn = {
            "lr": self.good_lr * 10 ** dice.uniform(-DECADES, DECADES),
            "warmup": dice.uniform(0, 0.5),
            "clip": 10 ** dice.uniform(-1, 1),
            "weight_decay": 10 ** dice.uniform(-5, -1),
        }
        roles = {**dict.fromkeys(self.rates, "lr"), "warmup_fraction": "warmup"}
        return {n: float(f"{drawn.get(roles.get(n, n), value):.3g}") for n, value in params.items()}, seed


# ---- the zoo ---------------------------------------------------------------------------------------------------------


def zoo_runs(truth: Mapping[str, Sequence[Mapping[str, Any]]], seed: int = ZOO_SEED) -> list[FailingRun]:
    """Return the failing runs of the zoo: two arms of each task by chance, and some more that fail by a parameter.

    Args:
        truth: the known outcomes of the recorded runs of each half.
        seed: a recorded seed.
    """
    half_of = {str(row["task"]): half for half, rows in truth.items() for row in rows}
    failed = {
        (str(row["task"]), str(row["arm"])) for rows in truth.values() for row in rows
        if row["seed"] == seed and row["failed"] and row["made_to_fail"]
    }  # fmt: skip
    found: list[tuple[int, FailingRun]] = []
    for task in tasks().values():
        arms = sorted(
            (arm for arm in task.arms if (task.name, arm.name) in failed),
            key=lambda arm: zlib.crc32(f"{task.name}/{arm.name}".encode()),
        )
        drawn = arms[:ARMS_OF_A_TASK]
        by_parameter = [arm for arm in arms if fails_by_parameter(task, arm)]
        added = [arm for arm in by_parameter[:ARMS_OF_A_TASK] if arm not in drawn]
        for place, (group, arm) in enumerate([*((DRAWN, a) for a in drawn), *((ADDED, a) for a in added)]):
            found.append((place, _zoo_run(task, arm, half_of[task.name], group, seed)))
    halves = sorted({run.half for _, run in found})
    ordered: list[FailingRun] = []
    for place in sorted({place for place, _ in found}):  # the first arm of each task, then the second ones
        sides = [[run for at, run in found if at == place and run.half == half] for half in halves]
        ordered += [run for pair in itertools.zip_longest(*sides) for run in pair if run is not None]
    return ordered


def _zoo_run(task: Task, arm: Arm, half: str, group: str, seed: int) -> FailingRun:
    return FailingRun(
        part=ZOO,
        half=half,
        task=task.name,
        arm=arm.name,
        seed=seed,
        group=group,
        by_parameter=fails_by_parameter(task, arm),
        steps=task.steps,
        params=parameters(task, arm),
        good_lr=good_rate(task, arm),
    )


def fails_by_parameter(task: Task, arm: Arm) -> bool:
    """Return whether nothing but the optimizer and the schedule of an arm differs from what good arms have."""
    usual = {(name, str(value)) for good in task.arms if not good.fails for name, value in good.settings.items()}
    return all(
        (name in TUNED and not (name == "gain" and task.name == "vanilla_rnn")) or (name, str(value)) in usual
        for name, value in arm.settings.items()
    )


def good_rate(task: Task, arm: Arm) -> float:
    """Return the learning rate of the first good arm with the optimizer of an arm, or else the task's default."""
    name = next(iter(READS[task.name]))
    default = READS[task.name][name]
    optimizer = arm.settings.get("optimizer")
    for good in task.arms:
        if not good.fails and not good.border and good.settings.get("optimizer") == optimizer:
            return float(good.settings.get(name, default))
    return default


# ---- BERT ------------------------------------------------------------------------------------------------------------


def bert_runs(rows: Iterable[Mapping[str, Any]], *, odd: bool = True) -> list[FailingRun]:
    """Return the recorded BERT runs with odd seeds that did not learn.

    Args:
        rows: for each of them its recording (`run`), `lr`, `warmup_fraction` and `seed`.
        odd: false for those with even seeds.
    """
    found = [
        FailingRun(
            part=BERT,
            half=str(row["run"]),
            task="BERT",
            arm=f"lr={row['lr']:g} warmup={row['warmup_fraction']:g}",
            seed=int(row["seed"]),
            group=DRAWN,
            by_parameter=True,
            steps=BERT_STEPS,
            params={
                "lr": float(row["lr"]),
                "warmup_fraction": float(row["warmup_fraction"]),
                "clip": 1.0,
                "weight_decay": 0.0,
            },
            good_lr=BERT_GOOD,
        )
        for row in rows
        if int(row["seed"]) % 2 == odd
    ]
    arms = sorted({run.arm for run in found})
    sides = [[run for run in found if run.arm == arm] for arm in arms]
    return [run for together in itertools.zip_longest(*sides) for run in together if run is not None]


def in_order(zoo: Sequence[FailingRun], bert: Sequence[FailingRun]) -> Iterator[FailingRun]:
    """Yield all runs, those of BERT between those of the zoo, so that a part of the plan has both."""
    left = iter(bert)
    for index, run in enumerate(zoo, 1):
        yield run
        if index % ZOO_FOR_EACH_BERT == 0:
            yield from itertools.islice(left, 1)
    yield from left


# ---- outcomes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """Tells a learner by its last score.

    Attributes:
        truth: the known outcomes of the recorded runs of each half of the zoo.
        bert: the accuracy from which on a BERT run of each recording has learned.
    """

    truth: Mapping[str, Sequence[Mapping[str, Any]]]
    bert: Mapping[str, float]

    @cached_property
    def references(self) -> Mapping[str, float]:
        """The median gain of the recorded good arms, by task, as in `benchmarks/zoo/truth.py`."""
        gains: dict[str, list[float]] = {}
        for rows in self.truth.values():
            for row in rows:
                task, arm = case(f"{row['task']}/{row['arm']}")
                if not arm.fails and not arm.border:
                    gains.setdefault(task.name, []).append(_gain(row["score"], task))
        return {task: statistics.median(found) for task, found in gains.items()}

    def outcome(self, run: FailingRun, score: float | None) -> str:
        """Return `learned`, `failed` or `between` for the last score of a run that was not stopped."""
        from benchmarks.zoo.truth import FAILED_BELOW, HEALTHY_FROM

        if run.part == BERT:
            return "learned" if score is not None and score >= self.bert[run.half] else "failed"
        gain, reference = _gain(score, tasks()[run.task]), self.references[run.task]
        if gain >= HEALTHY_FROM * reference:
            return "learned"
        return "failed" if gain < FAILED_BELOW * reference else "between"


def metric_of(run: FailingRun) -> str:
    """Return the name of the metric that decides."""
    return "accuracy/test" if run.part == BERT else SCORE


def _gain(score: float | None, task: Task) -> float:
    return 0.0 if score is None or not math.isfinite(score) else score - task.baseline
