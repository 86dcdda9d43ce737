"""From a directory to a recording: a run of sweeper's, or TensorBoard logs of anybody's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from sweeper.backtest.case import Case, Recording
from sweeper.errors import UsageError
from sweeper.record.evaluation import evaluations
from sweeper.record.events import REVIVED, Event, Metrics
from sweeper.record.fold import State
from sweeper.record.layout import SweepDir
from sweeper.record.trial import Trial, read_trials, spelled

FEWEST = 2
"""A trial is judged by its siblings."""
SHOWN_TAGS = 30
MAXIMIZE, MINIMIZE = "maximize", "minimize"


class TooFewTrials(UsageError):
    """A run whose trials cannot be judged by each other."""


def read_recording(path: Path, *, metric: str | None, goal: str | None, start: float | None = None) -> Recording:
    """The trials of a run that ended by themselves.

    What a pruned trial would have become is not known, nor what one that failed or still runs: they are left out, and
    counted, as are those whose record cannot be read.

    Args:
        metric: the objective; by default the run's own. TensorBoard logs have none of their own.
        goal: ``maximize`` or ``minimize``; by default that of the run's own metric.
        start: the objective before anything is learned, where it is known.

    Raises:
        UsageError: there is nothing to read, nobody reported the metric, or fewer than two trials are left.
    """
    if SweepDir(path).spec.exists():
        return _of_run(SweepDir(path), metric, goal, start)
    return _of_logs(path, metric, goal, start)


def read_recordings(
    paths: Iterable[Path],
    *,
    metric: str | None = None,
    goal: str | None = None,
    start: float | None = None,
    say: Callable[[str], None],
) -> list[Recording]:
    """The recordings of several runs; one that cannot be judged is said and passed over, as among `runs/*`.

    Raises:
        UsageError: one is no run, or none of them can be judged.
    """
    recordings, reasons = [], []
    for path in paths:
        try:
            recordings.append(read_recording(path, metric=metric, goal=goal, start=start))
        except TooFewTrials as error:
            reasons.append(error)
    if not recordings and reasons:
        raise reasons[-1]
    for reason in reasons:
        say(f"passed over: {reason}")
    return recordings


def _of_run(run: SweepDir, metric: str | None, goal: str | None, start: float | None) -> Recording:
    read, unreadable = read_trials(run)
    histories = [[entry.event for entry in entries] for _, entries in read]
    trials = [trial for trial, _ in read]
    if not trials:
        raise UsageError(f"{run.path}: expected a run with trials, got one without any")
    own = trials[0].facts
    name = own.metric if metric is None else metric
    if goal is None and name != own.metric:
        raise UsageError(
            f"{run.path}: expected --goal with the metric {name}, which is not the run's own ({own.metric})"
        )
    ended = [(trial, events) for trial, events in zip(trials, histories, strict=True) if trial.state is State.COMPLETE]
    cases = [case for trial, events in ended if (case := _case(trial, events, name)) is not None]
    left_out = Counter(trial.state.value for trial in trials if trial.state is not State.COMPLETE)
    left_out.update({"unreadable": len(unreadable)} if unreadable else {})
    return _checked(
        Recording(
            name=run.path.resolve().name,
            metric=name,
            maximize=own.maximize if goal is None else goal == MAXIMIZE,
            at_best=own.at == "best",
            cases=cases,
            left_out=_with_silent(left_out, len(ended) - len(cases), name),
            given_start=start,
        ),
        run.path,
        [event for _, events in ended for event in events],
    )


def _case(trial: Trial, events: Sequence[Event], metric: str) -> Case | None:
    values = evaluations(events, metric)
    if not values:
        return None
    facts, latest, spared = trial.facts, trial.progress.latest, trial.control.spared
    ended = trial.exits.get(trial.control.attempt)
    return Case(
        number=facts.number,
        label=", ".join(f"{name}={spelled(value)}" for name, value in facts.shown.items()),
        seed=facts.seed,
        events=events,
        evaluations=values,
        steps=trial.progress.step + 1,
        seconds=trial.seconds(latest),
        ended=latest if ended is None else ended.time,
        condemned_by="" if spared is None or spared.spared == REVIVED else str(spared.decision.get("version", "")),
    )


def _of_logs(folder: Path, metric: str | None, goal: str | None, start: float | None) -> Recording:
    from sweeper.views.eventfiles import read_scalars  # TensorBoard takes a second to import

    runs = read_scalars(folder)
    if not runs:
        raise UsageError(
            f"{folder}: expected the directory of a run (it has a spec.json) or of TensorBoard logs "
            "(events.out.tfevents.* in it or below), found neither"
        )
    everything = [event for events in runs.values() for event in events]
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
            given_start=start,
        ),
        folder,
        everything,
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


def _checked(recording: Recording, path: Path, events: Sequence[Event]) -> Recording:
    if events and not recording.cases:
        raise UsageError(f"{path}: expected a metric that was recorded, got {recording.metric}; {_recorded(events)}")
    if len(recording.cases) < FEWEST:
        left = ", ".join(f"{count} {why}" for why, count in recording.left_out.items())
        raise TooFewTrials(
            f"{path}: expected at least {FEWEST} trials that ended by themselves, to be judged by each other, got "
            f"{len(recording.cases)}{f' (left out: {left})' if left else ''}"
        )
    return recording


def _recorded(events: Iterable[Event]) -> str:
    names = sorted({name for event in events if isinstance(event, Metrics) for name in event.values})
    more = f" and {len(names) - SHOWN_TAGS} more" if len(names) > SHOWN_TAGS else ""
    return f"recorded are {', '.join(names[:SHOWN_TAGS])}{more}" if names else "no scalar is recorded"
