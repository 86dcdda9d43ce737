"""Estimate where the trials of a sweep will run, how long they take, and how much disk space they need.

1. Every number has a source. Slots are those that `sweeper run` would make. Time and size come from recorded trials of
   the same trainer or command; without such trials they are reported as unknown.
2. A trial that was recorded on another machine, or beside other trials, had another speed. The estimate says that it
   assumes the recorded speed; it does not correct for it.
"""

from __future__ import annotations

import contextlib
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
from sweeper.executors.slurm.executor import DEFAULT_JOBS
from sweeper.orchestrator.search.studies import spec_of
from sweeper.preflight.summary import arms_of, schedules_of
from sweeper.record.ended import read_states
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State, TrialRecord
from sweeper.results.wording import counted, duration, number
from sweeper.trainers import TRAINERS

MOST_MEASURED = 50
"""How many trials of a run have their files measured, at most."""
MOST_NAMED = 8
COST = ("batch_size", "max_length")
"""Hyperparameters of a built-in trainer that, beside its model, determine the time of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precedent:
    """A recorded complete trial of one attempt, which did the same work as the trials of the sweep will.

    Attributes:
        run: path of its run.
        steps: optimizer steps.
        seconds: wall time of the attempt.
        size: bytes of its directory.
        kept: bytes of its checkpoints and best weights, which are part of `size`.
        tensorboard: its share of the bytes of the run's TensorBoard files.
    """

    run: str
    steps: int
    seconds: float
    size: int
    kept: int
    tensorboard: int


def precedents(spec: SweepSpec, runs: Iterable[SweepDir]) -> list[Precedent]:
    """Return the precedents in recorded runs: same trainer or command and, for a built-in trainer, same size."""
    found = []
    for run in runs:
        try:
            recorded = spec_of(run)
        except RecordError:
            continue
        if (recorded.trainer, recorded.command, recorded.program) != (spec.trainer, spec.command, spec.program):
            continue
        complete = [trial for trial in read_states(run)[0] if _is_complete(trial) and _is_alike(spec, trial)]
        tensorboard = _size(run.tensorboard) // max(1, len(run.trials()))
        found += [_precedent(run, trial, tensorboard) for trial in complete[-MOST_MEASURED:]]
    return found


def _is_complete(trial: TrialRecord) -> bool:
    return trial.state is State.COMPLETE and len(trial.attempts) == 1


def _is_alike(spec: SweepSpec, trial: TrialRecord) -> bool:
    trainer = TRAINERS.get(spec.trainer or "")
    if trainer is None or trainer.preflight is None:
        return True
    model, defaults = trainer.preflight.model_of, trainer.defaults

    def cost(params: Mapping[str, object]) -> tuple[object, ...]:
        return (*model(params), *(params.get(name, defaults[name]) for name in COST))

    return any(cost(arm) == cost(trial.facts.params) for arm in arms_of(spec) or [{}])


def _precedent(run: SweepDir, trial: TrialRecord, tensorboard: int) -> Precedent:
    path = trial.directory.path
    return Precedent(
        run=str(run.path),
        steps=trial.progress.step + 1,
        seconds=trial.seconds(0.0),
        size=_size(path),
        kept=_size(path / "checkpoints") + _size(path / "best"),
        tensorboard=tensorboard,
    )


def _size(path: Path) -> int:
    """Return the bytes of all files below a path."""
    total, folders = 0, [os.fspath(path)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as found:  # it may be removed meanwhile
            for entry in found:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
    return total


# ---- the estimates in words ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many trials run concurrently (None: only the cluster knows), and where, in words."""

    count: int | None
    text: str


def capacity_of(spec: SweepSpec, machine: Machine) -> Capacity:
    """Where the trials of a sweep will run.

    Raises:
        UsageError: no slot can be made of what there is.
    """
    match spec.executor:
        case Slurm() as slurm:
            count = machine.workers or slurm.array_parallelism or DEFAULT_JOBS
            return Capacity(count=count, text=f"at most {counted(count, 'job', 'jobs')} in Slurm's queue")
        case Ray() as ray:
            where = "started on this machine" if ray.address is None else f"at {ray.address}"
            return Capacity(count=None, text=f"a Ray cluster {where}; its number of slots is not known yet")
        case Local():
            slots = slots_on(machine, spec.resources)
            return Capacity(count=len(slots), text=_slots_text(slots, machine))
        case other:
            return Capacity(count=None, text=other.type)


def _slots_text(slots: Sequence[Slot], machine: Machine) -> str:
    names = [slot.name for slot in slots]
    shown = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
    threads = counted(int(slots[0].environment.get("OMP_NUM_THREADS", "1")), "thread", "threads")
    devices = counted(len(machine.devices), "CUDA device", "CUDA devices") if machine.devices else "no CUDA device"
    here = f"{counted(machine.cores, 'core', 'cores')} and {devices}"
    return f"{counted(len(slots), 'slot', 'slots')} on this machine: {shown}, with {threads} each, of {here}"


def time_text(spec: SweepSpec, found: Sequence[Precedent], *, examples: int | None, concurrent: int | None) -> str:
    """Return an estimate of the time of the sweep if no trial is stopped early, with its source.

    Args:
        spec: the sweep.
        found: recorded trials of the same kind.
        examples: training examples of the built-in trainer's dataset, None if unknown.
        concurrent: how many trials run at the same time, None if unknown.
    """
    count = trials_of(spec)
    if not found:
        what = "of this trainer, model, batch and length" if spec.trainer in TRAINERS else "of this trainer or command"
        return f"unknown: no recorded run has a complete trial {what}. Run one, then plan again with --against its run"
    if count is None:
        return "unknown, because the number of trials is unknown"
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
        how = f"{sum(steps):,} steps in {counted(count, 'trial', 'trials')} at {number(rate)} steps per second"
        source = _source(found) + _range(number(min(rates)), number(max(rates)))
    until = f"{duration(sum(times))} divided by the number of concurrent trials" if concurrent is None else ""
    until = until or f"about {duration(makespan(times, concurrent or 1))}"
    speed = "at the speed recorded there with startup and evaluation"
    return f"{until} if no trial is stopped early: {how} ({source}), {speed}"


def makespan(times: Sequence[float], concurrent: int) -> float:
    """Return when the last trial ends if the trials start in this order, each in the slot that is free first.

    Args:
        times: seconds of each trial.
        concurrent: number of slots.
    """
    free = [0.0] * max(1, min(concurrent, len(times)))
    for seconds in times:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free, default=0.0)


def disk_text(spec: SweepSpec, found: Sequence[Precedent], *, free: int) -> str:
    """Return an estimate of the disk space of the sweep, with its source.

    Args:
        spec: the sweep.
        found: recorded trials of the same kind.
        free: free bytes on the disk of the run.
    """
    count, left = trials_of(spec), f"{_bytes(free)} are free"
    if not found or count is None:
        why = "no recorded run has a complete trial of this kind" if not found else "the number of trials is unknown"
        keeps = "A trial keeps two checkpoints, each with weights and optimizer state, and its best weights"
        return f"unknown, because {why}. {keeps}. {left}"
    each, kept = (statistics.median(sizes) for sizes in ([o.size for o in found], [o.kept for o in found]))
    tensorboard = statistics.median([one.tensorboard for one in found])
    total = count * (each + tensorboard)
    also = f", and {_bytes(tensorboard)} for TensorBoard" if tensorboard else ""
    weights = f" ({_bytes(kept)} of them checkpoints and best weights)" if kept else ""
    parts = f"{counted(count, 'trial', 'trials')} of {_bytes(each)}{weights}{also}"
    warning = ", which is TOO LITTLE" if total > free else ""
    return f"about {_bytes(total)}: {parts} ({_source(found)}). {left}{warning}"


def trials_of(spec: SweepSpec) -> int | None:
    """Return the maximum number of trials of a sweep; None if it is unlimited."""
    of_grid = len(arms_of(spec)) * len(spec.seeds) if spec.method is Method.GRID else None
    known = [most for most in (of_grid, spec.most_trials, spec.budget.trials) if most is not None]
    return min(known, default=None)


def _range(least: str, most: str) -> str:
    return "" if least == most else f", {least} to {most}"


def _source(found: Sequence[Precedent]) -> str:
    runs = list(dict.fromkeys(one.run for one in found))
    named = ", ".join(runs[:2]) + (f" and {len(runs) - 2} more runs" if len(runs) > 2 else "")  # noqa: PLR2004 - a line's worth
    return f"the median of {counted(len(found), 'complete trial', 'complete trials')} of {named}"


def _bytes(size: float) -> str:
    """Return a size in B, KB, MB, GB or TB (powers of 1000), with three significant digits."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 - the unit's step
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"
