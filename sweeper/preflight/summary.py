"""Summarise what a sweep will do before it starts (`sweeper plan`); nothing is started and nothing is written."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.backtest import read_recording
from sweeper.config import Constant, Method, SweepSpec
from sweeper.config.model.population import DEFAULT_SIZE
from sweeper.errors import UsageError
from sweeper.mistakes import suggested
from sweeper.record.decision import Decision
from sweeper.record.ended import read_states
from sweeper.record.events import Continued
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import TrialRecord
from sweeper.record.values.params import spelled
from sweeper.record.values.redaction import redacted_values
from sweeper.results.columns import shorten
from sweeper.results.health.advice import stall_border
from sweeper.results.wording import counted, number, plain
from sweeper.search.grid import Grid
from sweeper.search.known import settings_of
from sweeper.trainers import TRAINERS, Preflight, Schedule

ARM_WIDTH = 36
"""Columns for the parameters of an arm, so that a row fits into 80."""


def arms_of(spec: SweepSpec) -> list[dict[str, object]]:
    """Return every configuration of a grid, in order; none if a search proposes them during the sweep."""
    if spec.method is not Method.GRID:
        return []
    return [dict(point) for point in Grid(spec.parameters, settings_of(spec)).points()]


def recorded(run: SweepDir) -> list[TrialRecord]:
    """Return the readable trials of a run, to compare a sweep with.

    A trial that stalled without being flagged, as its final value shows, is returned as if it had been flagged.
    """
    trials, _ = read_states(run)
    try:
        recording = read_recording(run.path, metric=None, goal=None)
    except UsageError:  # too few trials ended without being stopped to judge them by each other
        return trials
    stalls = {case.number for case in recording.cases if not recording.is_learner(case)}
    hindsight = Continued(attempt=0, cause="hindsight", decision=Decision.read({}))
    return [
        trial.after([hindsight]) if trial.facts.number in stalls and trial.continued is None else trial
        for trial in trials
    ]


def preflight_text(spec: SweepSpec, *, examples: tuple[str, int] | None, against: Sequence[TrialRecord]) -> str:
    """Return the summary of a sweep: trials, arms, and each arm's schedule if it uses the built-in trainer.

    Arms with a peak learning rate at which recorded trials stalled are marked.

    Args:
        spec: the sweep.
        examples: the name of the dataset and its number of training examples; None if unknown.
        against: recorded trials.

    Raises:
        UsageError: the trainer rejects a parameter of an arm.
    """
    arms = arms_of(spec)
    head = f"{plain(spec.title or spec.name)}: {size_text(spec)}"
    if not arms:
        return f"{head}\n"
    varied = [name for name, parameter in spec.parameters.items() if not isinstance(parameter, Constant)]
    safe = map(redacted_values, arms)
    names = [plain(", ".join(f"{name}={spelled(arm[name])}" for name in varied if name in arm)) or "-" for arm in safe]
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
    """Return the schedule of each arm for the built-in trainer and a number of training examples; None if unknown.

    Raises:
        UsageError: the trainer rejects a parameter of an arm.
    """
    known, arms = _known(spec), arms_of(spec)
    if known is None or examples is None or not arms:
        return None
    return [known.schedule_of(arm, examples) for arm in arms]


def size_text(spec: SweepSpec) -> str:
    """Return the number of trials in words, as far as it is known before the sweep runs."""
    if spec.population is not None:
        members = spec.population_size or DEFAULT_SIZE
        turns = spec.population
        return f"{counted(members, 'member', 'members')} x {turns.turns} turns of {turns.every_steps} steps."
    most, seeds = spec.most_trials, counted(len(spec.seeds), "seed", "seeds")
    if spec.method is not Method.GRID:
        whole = f" ({counted(spec.most_configurations or 0, 'arm', 'arms')} x {seeds})" if len(spec.seeds) > 1 else ""
        limit = "" if most is None else f"at most {counted(most, 'trial', 'trials')}{whole}; "
        return f"{limit}{spec.method.value} proposes its arms during the sweep."
    arms = len(arms_of(spec))
    count = arms * len(spec.seeds)
    capped = f", of which run_cap allows {most}" if most is not None and most < count else ""
    return f"{counted(count, 'trial', 'trials')} ({counted(arms, 'arm', 'arms')} x {seeds}){capped}"


def sources_lines(spec: SweepSpec) -> list[str]:
    """Return where the metrics are read that the script does not report, and whether the sweep's metric is one."""
    if not spec.metrics:
        return []
    read = [f"{name} from {one.kind} {getattr(one, one.short)}" for name, one in spec.metrics.items()]
    lines = [plain(f"read from what trials write and print: {', '.join(read)}")]
    for name in dict.fromkeys([*(goal.name for goal in spec.goals), *(one.name for one in spec.constraints)]):
        lines += _unread(spec, name)
    return lines


def _unread(spec: SweepSpec, name: str) -> list[str]:
    """Return a line if a metric that ranks trials is not among those that are read."""
    lines = []
    if name not in spec.metrics and spec.trainer is None:
        hint = suggested(name, spec.metrics)
        missing = f"the metric of the sweep, {name}, is not under metrics, so the script has to report it itself"
        lines.append(plain(f"{missing}; {hint}" if hint else missing))
    return lines


_NOT_BUILT_IN = "Schedules are known for the built-in trainer only; this script has its own."
_UNKNOWN = (
    "The number of training examples is unknown, because the data was not prepared on this machine.\n"
    "Use --examples N to see the steps and the peak effective learning rate of each arm."
)


def examples_of(spec: SweepSpec, given: int | None) -> tuple[str, int] | None:
    """Return the name of the data and its number of training examples: `given`, or as prepared on this machine."""
    if given is not None:
        return "the data", given
    known = _known(spec)
    return None if known is None else known.examples_of(spec.dataset)


def _known(spec: SweepSpec) -> Preflight | None:
    trainer = TRAINERS.get(spec.trainer or "")
    return None if trainer is None else trainer.preflight


def _mark(schedule: Schedule, alike: Sequence[TrialRecord]) -> str:
    """Return a note if recorded trials of the same model stalled at the peak learning rate of an arm; else empty."""
    border = stall_border(alike)
    if border is None or schedule.peak < border[0]:
        return ""
    rate, count = border
    return f"* stalled in {count} of {count} recorded trials at {number(rate)} or more"


def _notes(marks: Sequence[str], alike: Sequence[Sequence[TrialRecord]]) -> list[str]:
    """Return the notes of a comparison with recorded trials; `alike` has those with the model of each arm."""
    if not any(alike):
        return ["No recorded trial has the same model, and the stall border depends on the model's size."]
    marked = list(dict.fromkeys(mark for mark in marks if mark))
    return marked or ["No arm has a peak learning rate at which recorded trials stalled."]
