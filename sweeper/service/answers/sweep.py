"""Answers about runs as a whole: the runs of a folder, a sweep, and the status that `sweeper status --json` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.service.answers import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best trial of a sweep.

    Attributes:
        number: its number.
        value: its value of the sweep's metric.
        values: the value of each objective, by name.
        params: its varied parameters.
    """

    number: int
    value: float
    values: Mapping[str, float]
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run of a folder.

    Attributes:
        name: the name of its directory.
        path: its directory.
        title: the name in the sweep file, if it differs; else empty.
        state: the state of the sweep: RUNNING, PAUSED, COMPLETE, FAIL or STOPPED; UNREADABLE if it cannot be read.
        trials: number of trials.
        counts: number of trials in each state.
        metric: the sweep's metric.
        maximize: whether its goal is to maximize it.
        best: the best trial; null without a value.
        started: when it first started, in seconds since the epoch; null if it never did.
        latest: when something was last recorded, in seconds since the epoch; null if nothing was.
        problem: why it cannot be read; else empty.
    """

    name: str
    path: str
    title: str = ""
    state: str
    trials: int = 0
    counts: Mapping[str, int]
    metric: str = ""
    maximize: bool = False
    best: Best | None = None
    started: float | None = None
    latest: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs(Answer):
    """The runs of a folder, the one that was active last first.

    Attributes:
        folder: the folder.
        runs: its runs.
    """

    folder: str
    runs: Sequence[RunRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPart:
    """One limit of the sweep's budget.

    Attributes:
        name: `trials`, `hours`, `gpu_hours` or `target`.
        limit: the limit; null if there is none.
        used: what was used; of `target`, the best value so far, null without one.
        spent: whether the limit is reached.
    """

    name: str
    limit: float | None
    used: float | None
    spent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What trials wait for although the sweep has free slots.

    Attributes:
        since: since when, in seconds since the epoch.
        reasons: what they wait for.
        sweeps: the run directories of the other sweeps among the reasons.
    """

    since: float
    reasons: Sequence[str]
    sweeps: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCommand:
    """A command that a person or an agent gave.

    Attributes:
        do: `stop`, `pause`, `resume`, `revive`, `first`, `add`, `derive` or `run`.
        trials: the trials that it was for; empty for the whole sweep.
        time: when it was carried out, in seconds since the epoch.
        by: who gave it; empty if that was not recorded.
        because: why; empty if no reason was given.
        params: the parameters of a configuration that was added, or the changes of a derived trial.
    """

    do: str
    trials: Sequence[int]
    time: float
    by: str
    because: str
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep(Answer):
    """A sweep as recorded now, without its trials.

    Attributes:
        name: the name of the run.
        state: `RUNNING` or `PAUSED` while an orchestrator runs it; else `COMPLETE`, `FAIL`, or `STOPPED` if trials are
            left.
        unreadable: a text for each trial that cannot be read.
        damage: a text for each other damaged place, with file and line.
        unmet: rules and metrics that wait for values that no trial records.
        front: the numbers of the trials on the Pareto front; empty with one objective.
        waiting: why trials wait although the sweep has free slots; null if they do not.
        path: the directory of the run.
        title: the name in the sweep file, if it differs; else empty.
        metric: the sweep's metric, or its first objective.
        maximize: whether its goal is to maximize it.
        objectives: the objectives by name, with their goals; one without several objectives.
        verdict: one sentence on how the sweep stands, and on its best trial.
        significance: whether the best configuration is significantly better; empty for fewer than two.
        health: how many trials have each diagnosis, in words; empty if that is not known.
        savings: what early stopping saved; empty if nothing.
        counts: number of trials in each state.
        total: number of trials.
        best: the best trial; null without a value.
        budget: each limit of the budget.
        unstarted: says that the budget is spent or the target is reached, and how many trials were not started; empty
            otherwise.
        messages: why trials failed, what is damaged, and what fills the disk.
        slots: the names of the slots.
        slots_in_use: how many of them run a trial.
        started: when the sweep first started, in seconds since the epoch.
        now: the moment that this answer describes, in seconds since the epoch.
        seconds_left: the estimated seconds until the sweep ends; null if that is not known.
        revision: a number that grows whenever the record of a trial was seen to change.
        commands: the newest commands that people and agents gave, oldest first.
    """

    name: str
    state: str
    unreadable: Sequence[str] = ()
    damage: Sequence[str] = ()
    unmet: Sequence[str] = ()
    front: Sequence[int] = ()
    waiting: Wait | None = None
    path: str
    title: str = ""
    metric: str
    maximize: bool
    objectives: Mapping[str, str]
    verdict: str
    significance: str
    health: str
    savings: str
    counts: Mapping[str, int]
    total: int
    best: Best | None
    budget: Sequence[BudgetPart]
    unstarted: str = ""
    messages: Sequence[str] = ()
    slots: Sequence[str]
    slots_in_use: int
    started: float
    now: float
    seconds_left: float | None
    revision: int
    commands: Sequence[GivenCommand] = ()
