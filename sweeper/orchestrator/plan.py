"""Decide what to do now: a pure function from the situation of a sweep to an ordered list of actions.

1. A running trial without processes and without an exit is declared lost.
2. A flagged trial may continue: rules only observe, the trial is audited, the rule is disabled, or a user revived the
   trial. That is recorded once.
3. A stop is recorded once per attempt, because of a decision or of an interrupt; a decision takes precedence. A stop
   that an earlier orchestrator recorded is requested again, because that orchestrator may have died before it sent it.
4. An attempt that made no step for `hang_after_s`, or that runs on a faulty slot, is abandoned: the cause is recorded,
   a hanging attempt is asked for its stacks, and the attempt is killed.
5. An attempt that does not end within the grace period is killed. If it survives SIGKILL, it is marked as unkillable
   and the sweep no longer waits for it.
6. A user's command takes precedence over a rule. A trial that a user stops is stopped even if it was continued. A
   paused trial is asked to stop as by an interrupt and is not launched until it is resumed. A revived trial continues
   whatever the rules decide.
7. The checkpoints of a pruned trial are discarded if they exceed the disk space granted to such checkpoints.
8. Unless the sweep is stopping, waiting trials take free slots in the given order. Trials that the budget does not
   cover, and retries before the end of their backoff, are skipped. A retry avoids the slot where the trial failed if
   another trial can take that slot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sweeper.record.causes import Cause
from sweeper.record.decision import Decision
from sweeper.record.storage.inbox import TrialCommand
from sweeper.record.trial import State, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How many seconds the orchestrator waits before it acts.

    `grace_s` is the time between a stop request and the kill, `stacks_s` the time for writing stacks, `kill_s` the time
    after which a killed attempt counts as unkillable, and `hang_after_s` the longest time without a step (None: no
    limit).
    """

    grace_s: float = 60.0
    stacks_s: float = 5.0
    kill_s: float = 30.0
    hang_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that a plan depends on. Times are monotonic seconds; sets and mappings are by trial number.

    Attributes:
        trials: the running trials, and as many waiting trials as there is room for.
        alive: running trials of which a process is alive.
        free_slots: names of the slots that may be used now, in order of preference.
        decisions: what rules and pruners decided about running trials.
        continued: why a trial continues although it was flagged.
        stop_since: when this orchestrator requested the stop of a running attempt.
        stacks_since: when it asked a hanging attempt for its stacks.
        kill_since: when it killed an attempt.
        unkillable: trials with an attempt that survived a kill.
        step_since: when a running trial was launched or made its newest step.
        end_since: when the newest attempt of a trial ended.
        faults: what is wrong with a slot, by the name of the slot.
        over_budget: waiting trials that the budget does not cover, or that are held since the first ones failed.
        commands: users' commands to trials.
        to_stop: the decisions to record for the trials that users stop.
        to_revive: further trials to revive, in this order.
        to_discard: pruned trials that lose their checkpoints.
        stopping: whether the sweep is interrupted or paused.
        killing: whether the workers are to be killed at once.
    """

    trials: Sequence[TrialRecord]
    alive: AbstractSet[int]
    free_slots: Sequence[str]
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    continued: Mapping[int, str] = field(default_factory=dict)
    stop_since: Mapping[int, float] = field(default_factory=dict)
    stacks_since: Mapping[int, float] = field(default_factory=dict)
    kill_since: Mapping[int, float] = field(default_factory=dict)
    unkillable: AbstractSet[int] = frozenset()
    step_since: Mapping[int, float] = field(default_factory=dict)
    end_since: Mapping[int, float] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    over_budget: AbstractSet[int] = frozenset()
    commands: Mapping[int, TrialCommand] = field(default_factory=dict)
    to_stop: Mapping[int, Decision] = field(default_factory=dict)
    to_revive: Sequence[int] = ()
    to_discard: Sequence[int] = ()
    stopping: bool = False
    killing: bool = False
    now: float = 0.0
    timeouts: Timeouts = field(default_factory=Timeouts)

    def commanded(self, command: TrialCommand) -> list[int]:
        """Return the numbers of the trials with this command."""
        return [number for number, given in self.commands.items() if given is command]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchAttempt:
    """Start the trial's next attempt on a slot."""

    number: int
    slot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTrial:
    """Stop the trial, because of a decision or, if there is none, of an interrupt."""

    number: int
    decision: Decision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinueTrial:
    """Record that the trial was flagged and continues, for the reason `why`."""

    number: int
    decision: Decision
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatStop:
    """Send the stop request again that the record says was sent."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AbandonAttempt:
    """Record why the attempt is to be killed; the kill follows."""

    number: int
    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KillAttempt:
    """Kill the trial's attempt."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkUnkillable:
    """Stop waiting for the trial's attempt, which survived a kill."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareLost:
    """Record that the attempt ended without an exit."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviveTrial:
    """Let the trial continue whatever the rules decide; a pruned trial resumes from its checkpoint, if it has one."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseTrial:
    """Record that the trial is paused."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeTrial:
    """Record that the paused trial may run again."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardCheckpoints:
    """Remove the checkpoints of the pruned trial."""

    number: int


Action = (
    LaunchAttempt
    | StopTrial
    | ContinueTrial
    | RepeatStop
    | AbandonAttempt
    | KillAttempt
    | MarkUnkillable
    | DeclareLost
    | ReviveTrial
    | PauseTrial
    | ResumeTrial
    | DiscardCheckpoints
)


def plan(situation: Situation) -> list[Action]:
    """Return the actions of this tick, in the order in which they are to be recorded and carried out."""
    running = [trial for trial in situation.trials if trial.state is State.RUNNING]
    actions: list[Action] = [PauseTrial(number=number) for number in situation.commanded(TrialCommand.PAUSE)]
    for trial in running:
        actions += _for_running(trial, situation)
    to_stop = situation.to_stop.items()
    actions += [StopTrial(number=n, decision=decision) for n, decision in to_stop if n not in situation.alive]
    actions += [ResumeTrial(number=number) for number in situation.commanded(TrialCommand.RESUME)]
    to_revive = (*situation.commanded(TrialCommand.REVIVE), *situation.to_revive)
    actions += [ReviveTrial(number=number) for number in to_revive]
    actions += [DiscardCheckpoints(number=number) for number in situation.to_discard]
    if situation.free_slots and not (situation.stopping or situation.killing):
        actions += _launches(situation)
    return actions


def _launches(situation: Situation) -> list[LaunchAttempt]:
    waiting = [trial for trial in situation.trials if trial.state is State.WAITING and _may_start(trial, situation)]
    launches: list[LaunchAttempt] = []
    for slot in situation.free_slots[: len(waiting)]:
        trial = next((trial for trial in waiting if not _failed_on(trial, slot)), waiting[0])
        waiting.remove(trial)
        launches.append(LaunchAttempt(number=trial.facts.number, slot=slot))
    return launches


def _may_start(trial: TrialRecord, situation: Situation) -> bool:
    number = trial.facts.number
    since_end = situation.now - situation.end_since.get(number, -math.inf)
    stays = situation.commands.get(number) in (TrialCommand.STOP, TrialCommand.PAUSE)
    return not stays and number not in situation.over_budget and since_end >= trial.backoff_s


def _failed_on(trial: TrialRecord, slot: str) -> bool:
    return trial.retry_number > 0 and trial.newest.slot == slot


def _for_running(trial: TrialRecord, situation: Situation) -> list[Action]:
    if trial.facts.number not in situation.alive:
        return [DeclareLost(number=trial.facts.number)]
    found = (
        _continue(trial, situation),
        _stop(trial, situation),
        _abandonment(trial, situation),
        _kill(trial, situation),
        _mark_unkillable(trial, situation),
    )
    return [action for action in found if action is not None]


def _continue(trial: TrialRecord, situation: Situation) -> ContinueTrial | None:
    """Let a flagged trial continue, unless that is on the record already."""
    number = trial.facts.number
    decision, why = situation.decisions.get(number), situation.continued.get(number)
    if decision is None or not why or trial.continued is not None:
        return None
    return ContinueTrial(number=number, decision=decision, why=why)


def _stop(trial: TrialRecord, situation: Situation) -> StopTrial | RepeatStop | None:
    number, newest = trial.facts.number, trial.newest
    by_user = situation.to_stop.get(number)
    if by_user is not None and not newest.flagged:
        return StopTrial(number=number, decision=by_user)
    if newest.stop is not None:
        return None if number in situation.stop_since else RepeatStop(number=number)
    decision = None if situation.continued.get(number) else situation.decisions.get(number)
    if decision is not None or situation.stopping or situation.commands.get(number) is TrialCommand.PAUSE:
        return StopTrial(number=number, decision=decision)
    return None


def _abandonment(trial: TrialRecord, situation: Situation) -> AbandonAttempt | None:
    """Return why the running attempt is to be abandoned, once; a stopping attempt has its grace period instead."""
    number, newest, limit = trial.facts.number, trial.newest, situation.timeouts.hang_after_s
    if newest.abandoned:
        return None
    fault = situation.faults.get(newest.slot)
    if fault is not None:
        return AbandonAttempt(number=number, cause=Cause.LOST, reason=fault)
    silent = situation.now - situation.step_since.get(number, situation.now)
    # An attempt that has not opened its trial, such as a plain command's, reports no steps that could be missed, unless
    # its metrics are read from what it writes.
    has_steps = newest.started is not None or newest.collected
    if limit is None or silent <= limit or newest.stop is not None or not has_steps:
        return None
    reason = f"no step for {silent:.0f} s, and hang_after_s is {limit:g}"
    return AbandonAttempt(number=number, cause=Cause.HUNG, reason=reason)


def _kill(trial: TrialRecord, situation: Situation) -> KillAttempt | None:
    number, now, timeouts = trial.facts.number, situation.now, situation.timeouts
    if number in situation.kill_since:
        return None
    abandoned = trial.newest.abandoned
    # Writing stacks takes a moment. An attempt that an earlier orchestrator abandoned has had that time.
    stacks_done = now - situation.stacks_since.get(number, -math.inf) > timeouts.stacks_s
    is_due = (
        situation.killing
        or now - situation.stop_since.get(number, now) > timeouts.grace_s
        or (abandoned is not None and (abandoned.cause != Cause.HUNG or stacks_done))
    )
    return KillAttempt(number=number) if is_due else None


def _mark_unkillable(trial: TrialRecord, situation: Situation) -> MarkUnkillable | None:
    number = trial.facts.number
    since_kill = situation.now - situation.kill_since.get(number, situation.now)
    if since_kill > situation.timeouts.kill_s and number not in situation.unkillable:
        return MarkUnkillable(number=number)
    return None
