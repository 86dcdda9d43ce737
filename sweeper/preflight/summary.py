"""What a sweep is going to do, before a second of it is spent: `sweeper plan`. Starts nothing and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sweeper.backtest import read_recording
from sweeper.config import Constant, Method, SweepSpec
from sweeper.errors import UsageError
from sweeper.record.ended import read_states
from sweeper.record.events import Condemned
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import Trial, spelled
from sweeper.results.columns import shorten
from sweeper.results.health.advice import stall_border
from sweeper.results.wording import counted, number, plain
from sweeper.search.grid import Grid
from sweeper.trainers import TRAINERS, Preflight, Schedule

ARM_WIDTH = 36
"""Cells for the parameters of an arm; the row then fits 80."""


def arms_of(spec: SweepSpec) -> list[dict[str, object]]:
    """Every configuration of a grid, in its order; none where a search proposes them as it goes."""
    return [dict(point) for point in Grid(spec.parameters).points()] if spec.method is Method.GRID else []


def recorded(run: SweepDir) -> list[Trial]:
    """The trials of a run, to be held against: a stall that no rule condemned, known by hindsight, counts as one too.

    Trials that cannot be read are left out.
    """
    trials, _ = read_states(run)
    try:
        recording = read_recording(run.path, metric=None, goal=None)
    except UsageError:  # too few of them ended by themselves to judge each other by
        return trials
    stalls = {case.number for case in recording.cases if not recording.is_learner(case)}
    hindsight = {1: Condemned(attempt=1, spared="hindsight", decision={})}
    return [
        replace(trial, control=replace(trial.control, condemned=trial.control.condemned or hindsight))
        if trial.facts.number in stalls
        else trial
        for trial in trials
    ]


def preflight_text(spec: SweepSpec, *, examples: tuple[str, int] | None, against: Sequence[Trial]) -> str:
    """Trials and arms; of the built-in trainer each arm's schedule, and whether recorded trials say that it stalls.

    Args:
        examples: the name of the dataset and how many training examples it has; None where that is not known.
        against: recorded trials.

    Raises:
        UsageError: an arm has a parameter that the trainer refuses.
    """
    arms = arms_of(spec)
    head = f"{spec.name}: {size_text(spec)}"
    if not arms:
        return f"{head}\n"
    varied = [name for name, parameter in spec.parameters.items() if not isinstance(parameter, Constant)]
    names = [plain(", ".join(f"{name}={spelled(arm[name])}" for name in varied if name in arm)) or "-" for arm in arms]
    known = _known(spec)
    if known is None:
        return "\n".join([head, *(f"  {name}" for name in names), "", _NOT_BUILT_IN]) + "\n"
    if examples is None:
        return "\n".join([head, *(f"  {name}" for name in names), "", _UNKNOWN]) + "\n"
    schedules = schedules_of(spec, examples[1]) or []
    alike = [[t for t in against if known.model_of(t.facts.params) == known.model_of(arm)] for arm in arms]
    marks = [_mark(schedule, trials) for schedule, trials in zip(schedules, alike, strict=True)]
    rows = [f"{'arm':<{ARM_WIDTH}}  {'steps':>7}  {'peak effective lr':>17}  {'at step':>7}"]
    for name, schedule, mark in zip(names, schedules, marks, strict=True):
        shown = f"{shorten(name, ARM_WIDTH):<{ARM_WIDTH}}  {schedule.total_steps:>7}"
        rows.append(f"{shown}  {number(schedule.peak):>17}  {schedule.peak_step:>7}{' *' if mark else ''}")
    notes = [f"{examples[1]:,} training examples of {examples[0]}.", *(_notes(marks, alike) if against else [])]
    return "\n".join([head, "", *rows, "", *notes]) + "\n"


def schedules_of(spec: SweepSpec, examples: int | None) -> list[Schedule] | None:
    """The schedule of each arm, of the built-in trainer with so many training examples; None where it is not known.

    Raises:
        UsageError: an arm has a parameter that the trainer refuses.
    """
    known, arms = _known(spec), arms_of(spec)
    if known is None or examples is None or not arms:
        return None
    return [known.schedule_of(arm, examples) for arm in arms]


def size_text(spec: SweepSpec) -> str:
    """How many trials a sweep has, as far as that is known before it runs."""
    if spec.method is not Method.GRID:
        most = "" if spec.run_cap is None else f"at most {counted(spec.run_cap, 'trial', 'trials')}; "
        return f"{most}its arms are proposed by {spec.method.value} as it runs."
    arms = len(arms_of(spec))
    count = arms * len(spec.seeds)
    capped = f", of which run_cap allows {spec.run_cap}" if spec.run_cap is not None and spec.run_cap < count else ""
    times = f"{counted(arms, 'arm', 'arms')} x {counted(len(spec.seeds), 'seed', 'seeds')}"
    return f"{counted(count, 'trial', 'trials')} ({times}){capped}"


_NOT_BUILT_IN = "Its schedule is the script's own: that of the built-in trainer alone is known."
_UNKNOWN = (
    "How many training examples there are is not known: no such data was prepared on this machine.\n"
    "Give --examples N to see each arm's steps and its peak effective learning rate."
)


def examples_of(spec: SweepSpec, given: int | None) -> tuple[str, int] | None:
    """The training examples that are `given`, or those of the sweep's data where it was prepared on this machine."""
    if given is not None:
        return "the data", given
    known = _known(spec)
    return None if known is None else known.examples_of(spec.dataset)


def _known(spec: SweepSpec) -> Preflight | None:
    trainer = TRAINERS.get(spec.trainer or "")
    return None if trainer is None else trainer.preflight


def _mark(schedule: Schedule, alike: Sequence[Trial]) -> str:
    """What recorded trials of the same model say against an arm; empty where nothing."""
    border = stall_border(alike)
    if border is None or schedule.peak < border[0]:
        return ""
    rate, count = border
    return f"* stalled in {count} of {count} recorded trials at {number(rate)} or more"


def _notes(marks: Sequence[str], alike: Sequence[Sequence[Trial]]) -> list[str]:
    """What is to be said of arms held against recorded trials; `alike` are those of each arm's model."""
    if not any(alike):
        return ["No recorded trial is of the same model: the border moves with its size."]
    marked = list(dict.fromkeys(mark for mark in marks if mark))
    return marked or ["No arm is marked by the recorded trials."]
