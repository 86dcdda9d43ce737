"""From a directory to a recording: a run of sweeper's, or TensorBoard logs of anybody's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.backtest.case import Case, Recording
from sweeper.backtest.truth import Row, read_truth, with_truth
from sweeper.errors import UsageError
from sweeper.record.events import REVIVED, Event, Metrics
from sweeper.record.progress import evaluations
from sweeper.record.reader import read_trials
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import HistoryEntry, State, TrialRecord
from sweeper.record.values.params import spelled

FEWEST = 2
"""A trial is judged by its siblings."""
SHOWN_TAGS = 30
MAXIMIZE, MINIMIZE = "maximize", "minimize"


class TooFewTrials(UsageError):
    """A run whose trials cannot be judged by each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """How runs are to be read: as the arguments of `read_recording`, with the rows of the file of known outcomes.

    `several` says whether these rows have to name their runs.
    """

    metric: str | None
    goal: str | None
    start: float | None
    truth: Sequence[Row] | None = None
    several: bool = False


def read_recording(
    path: Path, *, metric: str | None, goal: str | None, start: float | None = None, truth: Path | None = None
) -> Recording:
    """The trials of a run that ended by themselves.

    What a pruned trial would have become is not known, nor what one that failed or still runs: they are left out, and
    counted, as are those whose record cannot be read.

    Args:
        metric: the objective; by default the run's own. TensorBoard logs have none of their own.
        goal: ``maximize`` or ``minimize``; by default that of the run's own metric.
        start: the objective before anything is learned, where it is known.
        truth: the file of known outcomes (`backtest.truth`), by which trials are judged then.

    Raises:
        UsageError: there is nothing to read, nobody reported the metric, or fewer than two trials are left (fewer than
            one with known outcomes); or the file of known outcomes has a mistake.
    """
    rows = None if truth is None else read_truth(truth)
    return _read(path, _Asked(metric=metric, goal=goal, start=start, truth=rows))


def _read(path: Path, asked: _Asked) -> Recording:
    return _of_run(SweepDir(path), asked) if SweepDir(path).spec.exists() else _of_logs(path, asked)


def read_recordings(  # noqa: PLR0913 - one argument for each option of the command
    paths: Iterable[Path],
    *,
    metric: str | None = None,
    goal: str | None = None,
    start: float | None = None,
    truths: Sequence[Path] = (),
    say: Callable[[str], None],
) -> list[Recording]:
    """The recordings of several runs; one that cannot be judged is said and passed over, as among `runs/*`.

    Args:
        truths: files of known outcomes: none, one about all runs, or one for each run in their order.

    Raises:
        UsageError: one is no run, none of them can be judged, or a file of known outcomes has a mistake.
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
            recordings.append(_read(path, _Asked(metric=metric, goal=goal, start=start, truth=truth, several=several)))
        except TooFewTrials as error:
            reasons.append(error)
    if not recordings and reasons:
        raise reasons[-1]
    for reason in reasons:
        say(f"passed over: {reason}")
    return recordings


def _of_run(run: SweepDir, asked: _Asked) -> Recording:
    read, unreadable = read_trials(run)
    trials = [trial for trial, _ in read]
    if not trials:
        raise UsageError(f"{run.path}: expected a run with trials, got one without any")
    own = trials[0].facts
    name = own.metric if asked.metric is None else asked.metric
    if asked.goal is None and name != own.metric:
        raise UsageError(
            f"{run.path}: expected --goal with the metric {name}, which is not the run's own ({own.metric})"
        )
    ended = [(trial, entries) for trial, entries in read if trial.state is State.COMPLETE]
    cases = [case for trial, entries in ended if (case := _case(trial, entries, name)) is not None]
    left_out = Counter(trial.state.value for trial in trials if trial.state is not State.COMPLETE)
    left_out.update({"unreadable": len(unreadable)} if unreadable else {})
    return _checked(
        Recording(
            name=run.path.resolve().name,
            metric=name,
            maximize=own.maximize if asked.goal is None else asked.goal == MAXIMIZE,
            at_best=own.at == "best",
            cases=cases,
            left_out=_with_silent(left_out, len(ended) - len(cases), name),
            given_start=asked.start,
        ),
        run.path,
        [entry.event for _, entries in ended for entry in entries],
        asked,
        {*(trial.number for trial in trials), *unreadable},
    )


def _case(trial: TrialRecord, entries: Sequence[HistoryEntry], metric: str) -> Case | None:
    events = [entry.event for entry in entries]
    values = evaluations(events, metric)
    if not values:
        return None
    facts, latest, spared = trial.facts, trial.progress.latest, trial.continued
    ended = trial.newest.exit
    return Case(
        number=facts.number,
        label=", ".join(f"{name}={spelled(value)}" for name, value in facts.shown.items()),
        seed=facts.seed,
        events=events,
        evaluations=values,
        steps=trial.progress.step + 1,
        seconds=trial.seconds(latest),
        ended=latest if ended is None else ended.time,
        condemned_by="" if spared is None or spared.cause == REVIVED else spared.decision.version,
        params=facts.params,
        directory=trial.directory,
        attempts=[entry.attempt for entry in entries],
    )


def _of_logs(folder: Path, asked: _Asked) -> Recording:
    from sweeper.views.tensorboard.event_files import read_scalars  # TensorBoard takes a second to import

    runs = read_scalars(folder)
    if not runs:
        raise UsageError(
            f"{folder}: expected the directory of a run (it has a spec.json) or of TensorBoard logs "
            "(events.out.tfevents.* in it or below), found neither"
        )
    everything = [event for events in runs.values() for event in events]
    metric, goal = asked.metric, asked.goal
    if metric is None or goal is None:
        raise UsageError(
            f"{folder}: TensorBoard logs do not say what their objective is: expected --metric NAME and --goal "
            f"maximize or minimize; {_recorded(everything)}"
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
            given_start=asked.start,
        ),
        folder,
        everything,
        asked,
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
    recording: Recording, path: Path, events: Sequence[Event], asked: _Asked, numbers: Collection[int]
) -> Recording:
    if events and not recording.cases:
        raise UsageError(f"{path}: expected a metric that was recorded, got {recording.metric}; {_recorded(events)}")
    fewest = FEWEST if asked.truth is None else 1
    if len(recording.cases) < fewest:
        left = ", ".join(f"{count} {why}" for why, count in recording.left_out.items())
        trials = "trial that ended by itself"
        if asked.truth is None:
            trials = "trials that ended by themselves, to be judged by each other"
        raise TooFewTrials(
            f"{path}: expected at least {fewest} {trials}, got "
            f"{len(recording.cases)}{f' (left out: {left})' if left else ''}"
        )
    if asked.truth is None:
        return recording
    return with_truth(recording, asked.truth, numbers, several=asked.several)


def _recorded(events: Iterable[Event]) -> str:
    names = sorted({name for event in events if isinstance(event, Metrics) for name in event.values})
    more = f" and {len(names) - SHOWN_TAGS} more" if len(names) > SHOWN_TAGS else ""
    return f"recorded are {', '.join(names[:SHOWN_TAGS])}{more}" if names else "no scalar is recorded"
