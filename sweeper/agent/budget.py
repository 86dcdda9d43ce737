"""The budget of agents: how many trials and GPU hours they may cause, counted from the record.

What counts is what agents did in this folder of runs, whichever server and client it was: an agent can rename itself
and have its server started anew, but it cannot take a command off the record. Of a run that an agent started, its
trials count from then on; while it runs, all that are planned do, and what its own budget of GPU hours allows. Of
other runs, the trials of configurations that an agent added count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from sweeper.agent.answers import Allowance
from sweeper.agent.author import is_agent
from sweeper.config import SweepSpec, identity
from sweeper.errors import RecordError, UsageError
from sweeper.record.budget import HOUR_S
from sweeper.record.events import CommandGiven
from sweeper.record.storage.inbox import AddConfiguration, DeriveTrial, received
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir, read_json
from sweeper.record.trial import TrialRecord
from sweeper.service.open_run import OpenRun
from sweeper.service.service import Service

_Key: TypeAlias = tuple[tuple[str, tuple[object, ...]], ...]
_RUNS = ("RUNNING", "PAUSED")
RAISE = "a person can raise it where `sweeper mcp` is started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What agents may cause; None is no limit."""

    trials: int | None = None
    gpu_hours: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What agents caused in one run, or in all.

    Attributes:
        trials: trials that were started, or that are planned in a run that runs.
        gpu_hours: what they used.
        reserved: GPU hours that a running sweep may still use.
    """

    trials: int = 0
    gpu_hours: float = 0.0
    reserved: float = 0.0

    def __add__(self, other: Share) -> Share:
        return Share(
            trials=self.trials + other.trials,
            gpu_hours=self.gpu_hours + other.gpu_hours,
            reserved=self.reserved + other.reserved,
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of agents in a folder of runs.

    Attributes:
        limits: what they may cause.
        service: the runs.
    """

    limits: Limits
    service: Service

    def allowance(self) -> Allowance | None:
        """Return what was used and what is allowed; None without limits."""
        if self.limits == Limits():
            return None
        used = self.used()
        has_trials, has_hours = self.limits.trials is not None, self.limits.gpu_hours is not None
        return Allowance(
            trials_used=used.trials if has_trials else None,
            max_trials=self.limits.trials,
            gpu_hours_used=round(used.gpu_hours + used.reserved, 3) if has_hours else None,
            max_gpu_hours=self.limits.gpu_hours,
        )

    def used(self, without: str = "") -> Share:
        """Return what agents caused in all runs, or in all others than one."""
        names = (name for name in self.service.names() if name != without)
        return sum((share_of(self.service.run(name)) for name in names), Share())

    def require_start(self, name: str, spec: SweepSpec) -> None:
        """Refuse to run a sweep that would need more trials than are left.

        Args:
            name: the name of its run, which may not exist yet.
            spec: the sweep.

        Raises:
            UsageError: they are not left, or the sweep has no end.
        """
        limit, planned = self.limits.trials, planned_of(spec)
        if limit is None:
            return
        if planned is None:
            raise UsageError(
                f"{name}: this sweep has no end, and agents may cause {limit} trials in this folder; set run_cap"
            )
        more = planned
        if name in self.service.names():
            run = self.service.run(name)
            more = share_of(run, starting=spec).trials - share_of(run).trials
        self.require_trials(more, name)

    def require_trials(self, more: int, what: str) -> None:
        """Refuse what would need more trials than are left.

        Args:
            more: how many it needs at most.
            what: what it is.

        Raises:
            UsageError: they are not left.
        """
        limit = self.limits.trials
        if limit is None or more <= 0:
            return
        used = self.used().trials
        if used + more > limit:
            raise UsageError(
                f"{what} needs {more} more trials, and {used} of {limit} that agents may cause are used or planned; "
                f"make it smaller, or tell the user: {RAISE} (--max-trials)"
            )

    def require_hours(self, what: str) -> None:
        """Refuse what would use GPUs after the hours are used.

        Raises:
            UsageError: they are used.
        """
        limit = self.limits.gpu_hours
        if limit is not None and (used := self.used().gpu_hours) >= limit:
            raise UsageError(
                f"{what}: agents have used {used:.3g} of {limit:g} GPU hours in this folder; tell the user: {RAISE} "
                "(--max-gpu-hours)"
            )

    def hours_for(self, name: str) -> float | None:
        """Return the GPU hours that the sweep of a run may use in all; None without a limit.

        Raises:
            UsageError: none are left for it.
        """
        limit = self.limits.gpu_hours
        if limit is None:
            return None
        others = self.used(without=name)
        own, spent = Share(), 0.0
        if name in self.service.names():
            run = self.service.run(name)
            own, spent = share_of(run), hours_of(run.view.trials, run.view.now)
        left = limit - others.gpu_hours - others.reserved - own.gpu_hours
        if left <= 0:
            used = others.gpu_hours + own.gpu_hours
            raise UsageError(
                f"{name}: of {limit:g} GPU hours that agents may use in this folder, {used:.3g} are used and "
                f"{others.reserved:.3g} are reserved by sweeps that run; wait for their ends, set budget.gpu_hours in "
                f"their files, or tell the user: {RAISE} (--max-gpu-hours)"
            )
        return spent + left


def share_of(run: OpenRun, *, starting: SweepSpec | None = None) -> Share:
    """Return what agents caused in a run.

    Args:
        run: the run.
        starting: the sweep of a file with which an agent is about to run or resume it; None if none is.
    """
    found = _asked(run.directory)
    run.refresh()  # a view may be a moment old
    view = run.view
    if starting is None and not (found.started or found.added or found.deriving or any(map(_is_derived, view.trials))):
        return Share()
    if starting is not None:
        found = replace(found, began=min(found.began, view.now))
    spec = starting or spec_of(run.directory)
    running = starting is not None or view.state in _RUNS
    added = [trial for trial in view.trials if found.has_added(trial) or _is_derived(trial)]
    waiting = len(found.added) - len({found.key_of(trial) for trial in view.trials} - {None})
    if found.started and running:
        earlier = sum(_first_launch(trial) < found.began for trial in view.trials)
        count = max(planned_of(spec) or 0, len(view.trials)) - earlier
    else:
        own = {trial.number for trial in view.trials if found.began <= _first_launch(trial) < math.inf}
        count = len(own | {trial.number for trial in added})
    hours = hours_of(view.trials, view.now, since=found.began) + hours_of(added, view.now, until=found.began)
    limit, reserved = view.limits.gpu_hours, 0.0
    if found.started and running and limit is not None:
        reserved = max(0.0, limit - hours_of(view.trials, view.now))
    return Share(trials=count + waiting * len(spec.seeds) + found.deriving, gpu_hours=hours, reserved=reserved)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What agents asked of a run: when one first ran it, and when each configuration was first added.

    `deriving` is the number of derived trials that are not made yet.
    """

    began: float
    added: Mapping[_Key, float]
    deriving: int = 0

    @property
    def started(self) -> bool:
        return self.began < math.inf

    def key_of(self, trial: TrialRecord) -> _Key | None:
        """Return which of the added configurations a trial has; None if none of them."""
        for names in dict.fromkeys(tuple(name for name, _ in key) for key in self.added):
            key = _key({name: trial.facts.params.get(name) for name in names})
            if key in self.added:
                return key
        return None

    def has_added(self, trial: TrialRecord) -> bool:
        """Return whether a trial is of a configuration that an agent added before the trial was launched."""
        key = self.key_of(trial)
        return key is not None and _first_launch(trial) >= self.added[key]


def _asked(run: SweepDir) -> _Asked:
    given = [event for event in read_journal(run.log) if isinstance(event, CommandGiven) and is_agent(event.by)]
    added = {_key(event.params): event.time for event in reversed(given) if event.do == "add"}
    deriving = 0
    for _, command in received(run):
        if isinstance(command, AddConfiguration) and is_agent(command.by):
            added.setdefault(_key(command.params), math.inf)
        deriving += isinstance(command, DeriveTrial) and is_agent(command.by)
    return _Asked(min((event.time for event in given if event.do == "run"), default=math.inf), added, deriving)


def _is_derived(trial: TrialRecord) -> bool:
    """Return whether an agent derived a trial from another one."""
    return trial.facts.derived is not None and is_agent(trial.facts.derived.by)


def planned_of(spec: SweepSpec) -> int | None:
    """Return the maximum number of trials of a sweep; None if it is not limited."""
    from sweeper.preflight.estimate import trials_of

    return trials_of(spec)


def spec_of(run: SweepDir) -> SweepSpec:
    """Return the sweep of a run.

    Raises:
        RecordError: its `spec.json` cannot be read, or the run is a script that was run by itself.
    """
    spec = read_json(run.spec).get("spec")
    if not isinstance(spec, Mapping):
        raise RecordError(f"{run.spec}: expected the sweep of a sweep file; this run was started without one")
    return SweepSpec.from_json(spec)


def hours_of(trials: Iterable[TrialRecord], now: float, since: float = 0.0, until: float = math.inf) -> float:
    """Return the GPU hours of attempts that were launched since a moment, and before another."""
    attempts = (one for trial in trials for one in trial.attempts if since <= one.launch_time < until)
    return sum(attempt.seconds(now) * attempt.gpus for attempt in attempts) / HOUR_S


def _first_launch(trial: TrialRecord) -> float:
    return min((attempt.launch_time for attempt in trial.attempts), default=math.inf)


def _key(params: Mapping[str, object]) -> _Key:
    return tuple(sorted((name, identity(value)) for name, value in params.items()))
