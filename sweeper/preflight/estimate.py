"""Where a sweep's trials will run, how long they take and what they leave on the disk: from records, or said unknown.

1. No number without where it comes from: a slot is one that `sweeper run` would make, time and size are those of
   recorded trials that ran the same trainer or command.
2. What was recorded elsewhere, or beside other trials, was as fast as it was there: that is said, not corrected.
"""

from __future__ import annotations

import heapq
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.config import Local, Method, Ray, Slurm, SweepSpec
from sweeper.errors import RecordError
from sweeper.executors.executor import Slot
from sweeper.executors.machine import Machine, slots_on
from sweeper.executors.slurm.executor import PARALLELISM
from sweeper.orchestrator.search.studies import spec_of
from sweeper.preflight.summary import arms_of, schedules_of
from sweeper.record.ended import read_states
from sweeper.record.fold import State
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import Trial
from sweeper.results.wording import counted, duration, number
from sweeper.trainers import TRAINERS

MOST_MEASURED = 50
"""Trials of a run whose files are measured."""
MOST_NAMED = 8
COST = ("batch_size", "max_length")
"""Hyperparameters of a built-in trainer that decide, beside its model, how long a step takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precedent:
    """A recorded trial that ran to its end in one attempt, and that did what those of the sweep are to do.

    `kept` bytes of its `size` are checkpoints and best weights; `pictures` are its share of the run's TensorBoard.
    """

    run: str
    steps: int
    seconds: float
    size: int
    kept: int
    pictures: int


def precedents(spec: SweepSpec, runs: Iterable[SweepDir]) -> list[Precedent]:
    """The precedents in recorded runs: of the same trainer or command, and of a built-in trainer as large."""
    found = []
    for run in runs:
        try:
            recorded = spec_of(run)
        except RecordError:
            continue
        if (recorded.trainer, recorded.command, recorded.program) != (spec.trainer, spec.command, spec.program):
            continue
        complete = [trial for trial in read_states(run)[0] if _is_whole(trial) and _is_alike(spec, trial)]
        pictures = _size(run.tensorboard) // max(1, len(run.trials()))
        found += [_precedent(run, trial, pictures) for trial in complete[-MOST_MEASURED:]]
    return found


def _is_whole(trial: Trial) -> bool:
    return trial.state is State.COMPLETE and len(trial.control.launched) == 1


def _is_alike(spec: SweepSpec, trial: Trial) -> bool:
    trainer = TRAINERS.get(spec.trainer or "")
    if trainer is None or trainer.preflight is None:
        return True
    model, defaults = trainer.preflight.model_of, trainer.defaults

    def cost(params: Mapping[str, object]) -> tuple[object, ...]:
        return (*model(params), *(params.get(name, defaults[name]) for name in COST))

    return any(cost(arm) == cost(trial.facts.params) for arm in arms_of(spec) or [{}])


def _precedent(run: SweepDir, trial: Trial, pictures: int) -> Precedent:
    path = trial.directory.path
    return Precedent(
        run=str(run.path),
        steps=trial.progress.step + 1,
        seconds=trial.seconds(0.0),
        size=_size(path),
        kept=_size(path / "checkpoints") + _size(path / "best"),
        pictures=pictures,
    )


def _size(path: Path) -> int:
    """Bytes of the files below a path."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - many files
            except OSError:  # it went meanwhile
                continue
    return total


# ---- what is said of them --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """How many trials run at a time, None where only the cluster knows; and where, in words."""

    count: int | None
    text: str


def places(spec: SweepSpec, machine: Machine) -> Places:
    """Where the trials of a sweep will run.

    Raises:
        UsageError: no slot can be made of what there is.
    """
    match spec.executor:
        case Slurm() as slurm:
            count = machine.workers or slurm.array_parallelism or PARALLELISM
            return Places(count=count, text=f"at most {counted(count, 'job', 'jobs')} in Slurm's queue at a time")
        case Ray() as ray:
            where = "started on this machine" if ray.address is None else f"at {ray.address}"
            return Places(count=None, text=f"a Ray cluster {where}; how many at a time, it says once it is asked")
        case Local():
            slots = slots_on(machine, spec.resources)
            return Places(count=len(slots), text=_slots_text(slots, machine))
        case other:
            return Places(count=None, text=other.type)


def _slots_text(slots: Sequence[Slot], machine: Machine) -> str:
    names = [slot.name for slot in slots]
    shown = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
    threads = counted(int(slots[0].environment.get("OMP_NUM_THREADS", "1")), "thread", "threads")
    devices = counted(len(machine.devices), "CUDA device", "CUDA devices") if machine.devices else "no CUDA device"
    here = f"{counted(machine.cores, 'core', 'cores')} and {devices}"
    return f"{counted(len(slots), 'slot', 'slots')} on this machine: {shown}, with {threads} each, of {here}"


def time_text(spec: SweepSpec, found: Sequence[Precedent], *, examples: int | None, at_a_time: int | None) -> str:
    """How long the sweep takes if no trial is stopped early, and how that is known."""
    count = trials_of(spec)
    if not found:
        what = "of this trainer, model, batch and length" if spec.trainer in TRAINERS else "of this trainer or command"
        return f"unknown: no complete trial {what} was given. Run one, then plan again --against its run"
    if count is None:
        return "unknown: how many trials there will be is not"
    schedules = schedules_of(spec, examples) if all(one.steps and one.seconds for one in found) else None
    if schedules is None:
        seconds = [one.seconds for one in found]
        each, times = statistics.median(seconds), [statistics.median(seconds)] * count
        how = f"{counted(count, 'trial', 'trials')} of {duration(each)}"
        source = _source(found) + _range(duration(min(seconds)), duration(max(seconds)))
    else:
        rates = [one.steps / one.seconds for one in found]
        rate = statistics.median(rates)
        steps = [schedule.total_steps for schedule in schedules for _ in spec.seeds][:count]
        times = [total / rate for total in steps]
        how = f"{sum(steps):,} steps in {counted(count, 'trial', 'trials')} at {number(rate)} steps a second"
        source = _source(found) + _range(number(min(rates)), number(max(rates)))
    until = f"{duration(sum(times))} divided by how many run at a time" if at_a_time is None else ""
    until = until or f"about {duration(makespan(times, at_a_time or 1))}"
    return f"{until}, if none is stopped early: {how} ({source}). As fast as there, start and evaluations included"


def makespan(times: Sequence[float], at_a_time: int) -> float:
    """When the last trial ends, each beginning in its order where a slot is free first."""
    free = [0.0] * max(1, min(at_a_time, len(times)))
    for seconds in times:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free, default=0.0)


def disk_text(spec: SweepSpec, found: Sequence[Precedent], *, free: int) -> str:
    """What the sweep leaves on the disk, and how that is known.

    Args:
        free: bytes that are left where it is to be kept.
    """
    count, left = trials_of(spec), f"{_bytes(free)} are free there"
    if not found or count is None:
        why = "no complete trial of the kind was given" if not found else "how many trials there will be is not"
        keeps = "A trial keeps two checkpoints, each of weights and optimizer state, and what it calls its best"
        return f"unknown: {why}. {keeps}. {left}"
    each, kept = (statistics.median(sizes) for sizes in ([o.size for o in found], [o.kept for o in found]))
    pictures = statistics.median([one.pictures for one in found])
    total = count * (each + pictures)
    also = f", and {_bytes(pictures)} for TensorBoard" if pictures else ""
    weights = f"; {_bytes(kept)} of it checkpoints and best weights" if kept else ""
    parts = f"{counted(count, 'trial', 'trials')} of {_bytes(each)}{weights}{also}"
    warning = ": TOO LITTLE" if total > free else ""
    return f"about {_bytes(total)}: {parts} ({_source(found)}). {left}{warning}"


def trials_of(spec: SweepSpec) -> int | None:
    """How many trials a sweep starts at most; None where nothing says it."""
    of_grid = len(arms_of(spec)) * len(spec.seeds) if spec.method is Method.GRID else None
    known = [most for most in (of_grid, spec.run_cap, spec.budget.trials) if most is not None]
    return min(known, default=None)


def _range(least: str, most: str) -> str:
    return "" if least == most else f", {least} to {most}"


def _source(found: Sequence[Precedent]) -> str:
    runs = list(dict.fromkeys(one.run for one in found))
    named = ", ".join(runs[:2]) + (f" and {len(runs) - 2} more runs" if len(runs) > 2 else "")  # noqa: PLR2004 - a line's worth
    return f"the median of {counted(len(found), 'complete trial', 'complete trials')} of {named}"


def _bytes(size: float) -> str:
    """A size in the unit of 1000 that leaves two to four digits."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 - the unit's step
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"
