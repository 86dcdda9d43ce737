"""The budget of agents: how many trials and GPU hours they may cause, counted from the record.

What counts is what agents did in this folder of runs, whichever server and client it was: an agent can rename itself
and have its server started anew, but it cannot take a command off the record. Of a run that an agent started, its
trials count from then on; while it runs, all that are planned do, with all repairs that its file allows, and what its
own budget of GPU hours allows. Of other runs, the trials of configurations that an agent added count, with their
repairs, and the GPU hours of trials since an agent resumed or revived them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from sweeper.agent.answers import Allowance
from sweeper.agent.author import is_agent
from sweeper.agent.text import shown
from sweeper.config import SweepSpec, identity, repair_of
from sweeper.errors import RecordError, UsageError
from sweeper.record.budget import HOUR_S
from sweeper.record.derivation import REPAIR
from sweeper.record.events import CommandGiven
from sweeper.record.storage.inbox import AddConfiguration, DeriveTrial, received
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir, read_json
from sweeper.record.trial import TrialRecord
from sweeper.results.wording import counted
from sweeper.service.open_run import OpenRun
from sweeper.service.service import Service

_Key: TypeAlias = tuple[tuple[str, tuple[object, ...]], ...]
_RUNS = ("RUNNING", "PAUSED")
_CONTINUES = ("resume", "revive")
MOST_NAMED = 5
"""Maximum number of runs that cannot be read and are named."""
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
        shares, unread = self._shares()
        used = sum(shares, Share())
        has_trials, has_hours = self.limits.trials is not None, self.limits.gpu_hours is not None
        return Allowance(
            trials_used=used.trials if has_trials else None,
            max_trials=self.limits.trials,
            gpu_hours_used=round(used.gpu_hours + used.reserved, 3) if has_hours else None,
            max_gpu_hours=self.limits.gpu_hours,
            not_counted=[shown(name) for name in unread[:MOST_NAMED]] or None,
        )

    def used(self, without: str = "") -> Share:
        """Return what agents caused in all runs, or in all others than one.

        Raises:
            UsageError: a run cannot be read, so that what agents caused in it is not known.
        """
        shares, unread = self._shares(without)
        if unread:
            named = ", ".join(shown(name) for name in unread[:MOST_NAMED])
            raise UsageError(
                f"{self.service.folder}: expected runs that can be read, because what agents caused is counted from "
                f"them, got damage in {named}; tell the user: `sweeper verify RUN` says what is damaged, and "
                "a person can mend the run or move it elsewhere"
            )
        return sum(shares, Share())

    def _shares(self, without: str = "") -> tuple[list[Share], list[str]]:
        """Return what agents caused in each run that can be read, and the names of the others."""
        shares, unread = list[Share](), list[str]()
        for name in self.service.names():
            if name != without:
                try:
                    shares.append(share_of(self.service.run(name)))
                except (RecordError, UsageError, OSError):
                    unread.append(name)
        return shares, unread

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
        more, each = planned, repairs_of(spec)
        if name in self.service.names():
            run = self.service.run(name)
            more = share_of(run, starting=spec).trials - share_of(run).trials
        repaired = f", with {counted(each, 'repair', 'repairs')} of each trial," if each else ""
        self.require_trials(more, f"{name}{repaired}")

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
    if starting is None and not (found.any or any(map(_is_derived, view.trials))):
        return Share()
    if starting is not None:
        found = replace(found, began=min(found.began, view.now))
    spec = starting or spec_of(run.directory)
    running = starting is not None or view.state in _RUNS
    added = _added(found, view.trials)
    waiting = len(found.added) - len({found.key_of(trial) for trial in view.trials} - {None})
    if found.started and running:
        count = _planned(spec, view.trials, found.began)
    else:
        own = {trial.number for trial in view.trials if found.began <= _first_launch(trial) < math.inf}
        count = len(own | {trial.number for trial in added})
        if running:
            repairs = sum(map(_is_repair, added))
            count += max(0, (len(added) - repairs) * repairs_of(spec) - repairs)
    limit, reserved = view.limits.gpu_hours, 0.0
    if found.started and running and limit is not None:
        reserved = max(0.0, limit - hours_of(view.trials, view.now))
    asked = waiting * len(spec.seeds) + found.deriving
    hours = _hours(found, view.trials, added, view.now)
    return Share(trials=count + asked * (1 + repairs_of(spec)), gpu_hours=hours, reserved=reserved)


def _planned(spec: SweepSpec, trials: Sequence[TrialRecord], began: float) -> int:
    """Return how many trials a sweep may have at most, repairs included, without those launched before a moment."""
    repairs = sum(map(_is_repair, trials))
    searched = sum(trial.facts.is_searched for trial in trials)
    planned = max(_plain_of(spec) or 0, searched) + len(trials) - searched - repairs  # derived trials are on top
    earlier = sum(_first_launch(trial) < began for trial in trials)
    return planned + max(planned * repairs_of(spec), repairs) - earlier


def _added(found: _Asked, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that agents added or derived, and the repairs of them."""
    known, added = {trial.number: trial for trial in trials}, list[TrialRecord]()
    for trial in trials:
        origin = _origin(trial, known)
        if found.has_added(origin) or _is_derived(origin):
            added.append(trial)
    return added


def _origin(trial: TrialRecord, known: Mapping[int, TrialRecord]) -> TrialRecord:
    """Return the trial of which a trial is a repair, or a repair of a repair; the trial itself if it is none."""
    seen = set[int]()
    while _is_repair(trial) and trial.number not in seen and trial.facts.derived is not None:
        seen.add(trial.number)
        trial = known.get(trial.facts.derived.parent, trial)
    return trial


def _hours(found: _Asked, trials: Sequence[TrialRecord], added: Sequence[TrialRecord], now: float) -> float:
    """Return the GPU hours that agents caused: since one ran the sweep, and before of trials that agents let run."""
    own = {trial.number for trial in added}
    hours = hours_of(trials, now, since=found.began) + hours_of(added, now, until=found.began)
    for trial in trials:
        if trial.number in found.continued and trial.number not in own:
            hours += hours_of([trial], now, since=found.continued[trial.number], until=found.began)
    return hours


@dataclass(frozen=True, slots=True)
class _Asked:
    """What agents asked of a run: when one first ran it, and when each configuration was first added.

    `continued` is when an agent first resumed or revived each trial, and `deriving` is the number of derived trials
    that are not made yet.
    """

    began: float
    added: Mapping[_Key, float]
    continued: Mapping[int, float] = field(default_factory=dict)
    deriving: int = 0

    @property
    def any(self) -> bool:
        """Whether agents asked for anything that uses trials or GPU hours."""
        return self.started or bool(self.added or self.continued or self.deriving)

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
    continued = {number: event.time for event in reversed(given) if event.do in _CONTINUES for number in event.trials}
    deriving = 0
    for _, command in received(run):
        if isinstance(command, AddConfiguration) and is_agent(command.by):
            added.setdefault(_key(command.params), math.inf)
        deriving += isinstance(command, DeriveTrial) and is_agent(command.by)
    began = min((event.time for event in given if event.do == "run"), default=math.inf)
    return _Asked(began, added, continued, deriving)


def _is_derived(trial: TrialRecord) -> bool:
    """Return whether an agent derived a trial from another one."""
    return trial.facts.derived is not None and is_agent(trial.facts.derived.by)


def _is_repair(trial: TrialRecord) -> bool:
    return trial.facts.derived is not None and trial.facts.derived.by == REPAIR


def planned_of(spec: SweepSpec) -> int | None:
    """Return the maximum number of trials of a sweep with all repairs that it allows; None if it is not limited."""
    plain = _plain_of(spec)
    return None if plain is None else plain * (1 + repairs_of(spec))


def _plain_of(spec: SweepSpec) -> int | None:
    from sweeper.preflight.estimate import trials_of

    return trials_of(spec)


def repairs_of(spec: SweepSpec) -> int:
    """Return how often each trial of a sweep may be repaired; each time is a new trial."""
    settings = repair_of(spec)
    return 0 if settings is None else settings.max_repairs


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
