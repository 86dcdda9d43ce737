"""Read a directory as a recording: a run of sweeper, or TensorBoard logs of any program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.backtest.case import Case, Recording
from sweeper.backtest.truth import Row, read_truth, with_truth
from sweeper.errors import UsageError
from sweeper.record.derivation import START
from sweeper.record.events import REVIVED, Event, Metrics
from sweeper.record.progress import evaluations
from sweeper.record.reader import read_trials
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import HistoryEntry, State, TrialRecord
from sweeper.record.values.params import spelled
from sweeper.record.values.redaction import redacted_values

FEWEST = 2
"""Minimum number of trials of a run that are judged by their siblings."""
SHOWN_TAGS = 30
MAXIMIZE, MINIMIZE = "maximize", "minimize"


class TooFewTrials(UsageError):
    """A run has too few trials to judge them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The arguments of `read_recording`, with the rows of the file of known outcomes.

    `several` says whether each row has to name its run.
    """

    metric: str | None
    goal: str | None
    start: float | None
    truth: Sequence[Row] | None = None
    several: bool = False


def read_recording(
    path: Path, *, metric: str | None, goal: str | None, start: float | None = None, truth: Path | None = None
) -> Recording:
    """Return the trials of a run that ended by themselves.

    The outcome of a trial that was stopped, failed or still runs is not known. Such trials are left out and counted, as
    are trials with unreadable records.

    Args:
        path: the directory of a run, or of TensorBoard logs.
        metric: the objective; by default that of the run. For TensorBoard logs it is required.
        goal: ``maximize`` or ``minimize``; by default that of the run's own metric.
        start: the metric of a model that has learned nothing, if it is known.
        truth: the file of known outcomes (`backtest.truth`); None judges trials by their siblings.

    Raises:
        UsageError: there is nothing to read, no trial reported the metric, fewer than two trials are left (fewer than
            one with known outcomes), or the file of known outcomes has a mistake.
    """
    rows = None if truth is None else read_truth(truth)
    return _read(path, _Options(metric=metric, goal=goal, start=start, truth=rows))


def _read(path: Path, options: _Options) -> Recording:
    return _of_run(SweepDir(path), options) if SweepDir(path).spec.exists() else _of_logs(path, options)


def read_recordings(  # noqa: PLR0913 - one argument for each option of the command
    paths: Iterable[Path],
    *,
    metric: str | None = None,
    goal: str | None = None,
    start: float | None = None,
    truths: Sequence[Path] = (),
    say: Callable[[str], None],
) -> list[Recording]:
    """Return the recordings of several runs. Runs with too few trials are skipped with a message.

    Args:
        paths: the directories of the runs.
        metric: as in `read_recording`.
        goal: as in `read_recording`.
        start: as in `read_recording`.
        truths: files of known outcomes: none, one for all runs, or one for each run in their order.
        say: prints a message.

    Raises:
        UsageError: a path is no run, all runs have too few trials, or a file of known outcomes has a mistake.
    """
    paths = list(paths)
    if len(truths) not in (0, 1, len(paths)):
        raise UsageError(f"expected one --truth, or one for each of the {len(paths)} runs, got {len(truths)}")
    read = [read_truth(truth) for truth in truths]
    rows: Sequence[Sequence[Row] | None] = read * len(paths) if len(read) == 1 else read or [None] * len(paths)
    recordings, reasons = [], []
    for path, truth in zip(paths, rows, strict=True):
        several = len(read) == 1 and len(paths) > 1
        try:
            recordings.append(
                _read(path, _Options(metric=metric, goal=goal, start=start, truth=truth, several=several))
            )
        except TooFewTrials as error:
            reasons.append(error)
    if not recordings and reasons:
        raise reasons[-1]
    for reason in reasons:
        say(f"skipped: {reason}")
    return recordings


def _of_run(run: SweepDir, options: _Options) -> Recording:
    read, unreadable = read_trials(run)
    trials = [trial for trial, _ in read]
    if not trials:
        raise UsageError(f"{run.path}: expected a run with trials, got one without any")
    own = trials[0].facts
    name = own.metric if options.metric is None else options.metric
    known = {goal.name: goal.maximize for goal in own.goals}
    if options.goal is None and name not in known:
        raise UsageError(
            f"{run.path}: expected --goal with the metric {name}, which is not the run's own ({', '.join(known)})"
        )
    whole = [(trial, entries) for trial, entries in read if trial.state is State.COMPLETE and not trial.altered]
    ended = [(trial, entries) for trial, entries in whole if not _continues(trial)]
    cases = [case for trial, entries in ended if (case := _case(trial, entries, name)) is not None]
    left_out = Counter(trial.state.value for trial in trials if trial.state is not State.COMPLETE)
    damaged = sum(bool(trial.altered) and trial.state is State.COMPLETE for trial in trials)
    left_out.update({"damaged": damaged} if damaged else {})
    continuing = len(whole) - len(ended)
    left_out.update({"continued from a checkpoint of another trial": continuing} if continuing else {})
    left_out.update({"unreadable": len(unreadable)} if unreadable else {})
    return _checked(
        Recording(
            name=run.path.resolve().name,
            metric=name,
            maximize=known[name] if options.goal is None else options.goal == MAXIMIZE,
            objectives=tuple(known),
            at_best=own.at == "best",
            cases=cases,
            left_out=_with_silent(left_out, len(ended) - len(cases), name),
            given_start=options.start,
        ),
        run.path,
        [entry.event for _, entries in ended for entry in entries],
        options,
        {*(trial.number for trial in trials), *unreadable},
    )


def _continues(trial: TrialRecord) -> bool:
    """Return whether a trial continued from a checkpoint of another one, so that its record is a part of a run."""
    derived = trial.facts.derived
    return derived is not None and derived.step != START and trial.progress.first_step > derived.step


def flagged_by(trial: TrialRecord) -> str:
    """Return the version of the rule that flagged a trial that continued; empty if none did, or if it was revived."""
    continued = trial.continued
    return "" if continued is None or continued.cause == REVIVED else continued.decision.version


def _case(trial: TrialRecord, entries: Sequence[HistoryEntry], metric: str) -> Case | None:
    events = [entry.event for entry in entries]
    values = evaluations(events, metric)
    if not values:
        return None
    facts, latest, ended = trial.facts, trial.progress.latest, trial.newest.exit
    return Case(
        number=facts.number,
        label=", ".join(f"{name}={spelled(value)}" for name, value in redacted_values(facts.shown).items()),
        seed=facts.seed,
        events=events,
        evaluations=values,
        steps=trial.progress.step + 1,
        seconds=trial.seconds(latest),
        ended=latest if ended is None else ended.time,
        flagged_by=flagged_by(trial),
        params=facts.params,
        directory=trial.directory,
        attempts=[entry.attempt for entry in entries],
    )


def _of_logs(folder: Path, options: _Options) -> Recording:
    from sweeper.views.tensorboard.event_files import read_scalars  # TensorBoard takes a second to import

    runs = read_scalars(folder)
    if not runs:
        raise UsageError(
            f"{folder}: expected the directory of a run, with a spec.json, or of TensorBoard logs, with files "
            "events.out.tfevents.* in it or below; found neither"
        )
    everything = [event for events in runs.values() for event in events]
    metric, goal = options.metric, options.goal
    if metric is None or goal is None:
        raise UsageError(
            f"{folder}: TensorBoard logs do not name their objective: expected --metric NAME and --goal maximize or "
            f"minimize; {_recorded(everything)}"
        )
    cases = [
        case
        for number, (name, events) in enumerate(runs.items())
        if (case := _logged(number, name, events, metric)) is not None
    ]
    return _checked(
        Recording(
            name=folder.resolve().name,
            metric=metric,
            maximize=goal == MAXIMIZE,
            cases=cases,
            left_out=_with_silent({}, len(runs) - len(cases), metric),
            given_start=options.start,
        ),
        folder,
        everything,
        options,
        range(len(runs)),
    )


def _logged(number: int, name: str, events: Sequence[Metrics], metric: str) -> Case | None:
    values = evaluations(events, metric)
    if not values:
        return None
    return Case(
        number=number,
        label=name,
        events=events,
        evaluations=values,
        steps=events[-1].step + 1,
        seconds=max(event.time for event in events) - min(event.time for event in events),
        ended=max(event.time for event in events),
    )


def _with_silent(left_out: Mapping[str, int], silent: int, metric: str) -> dict[str, int]:
    return {**left_out, **({f"without {metric}": silent} if silent else {})}


def _checked(
    recording: Recording, path: Path, events: Sequence[Event], options: _Options, numbers: Collection[int]
) -> Recording:
    if events and not recording.cases:
        raise UsageError(f"{path}: expected a metric that was recorded, got {recording.metric}; {_recorded(events)}")
    fewest = FEWEST if options.truth is None else 1
    if len(recording.cases) < fewest:
        left = ", ".join(f"{count} {why}" for why, count in recording.left_out.items())
        trials = "trial that ended by itself"
        if options.truth is None:
            trials = "trials that ended by themselves, to judge them by each other"
        raise TooFewTrials(
            f"{path}: expected at least {fewest} {trials}, got "
            f"{len(recording.cases)}{f' (left out: {left})' if left else ''}"
        )
    if options.truth is None:
        return recording
    return with_truth(recording, options.truth, numbers, several=options.several)


def _recorded(events: Iterable[Event]) -> str:
    names = sorted({name for event in events if isinstance(event, Metrics) for name in event.values})
    more = f" and {len(names) - SHOWN_TAGS} more" if len(names) > SHOWN_TAGS else ""
    return f"recorded metrics: {', '.join(names[:SHOWN_TAGS])}{more}" if names else "no metric is recorded"
