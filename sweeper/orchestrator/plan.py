"""What is to be done now: a pure function of the trials, who lives, and what is wanted.

1. A running trial whose processes are gone without an exit is lost.
2. Who is condemned but spared (rules only observe, or the trial is audited) has that written down once, and runs on.
3. A stop is recorded once an attempt, because of a decision or of an interrupt; a decision wins. One that an earlier
   orchestrator recorded is asked for again: it may have died between saying and doing.
4. Who made no step for `hang_after_s`, or whose slot has a fault, is given up: that is written down with its cause,
   who hangs is asked for its stacks, and it is killed.
5. Who does not end within the grace is killed. Who lives on after that is waited for no more.
6. A person's word comes before a rule's: who is to end is ended whatever he does, who is paused is asked to stop as by
   an interrupt and launched no more until released, who is to go on after all is revived, or spared while he runs.
7. A pruned trial whose checkpoints there is no room for gives them up.
8. While nobody asked the sweep to stop, waiting trials take free slots in the order in which they are given, but
   for those that the budget bars, and those whose pause before a retry is not over. A retry leaves the slot where
   the trial ended to another one, if there is any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sweeper.record.causes import Cause
from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.rules.decision import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How many seconds are waited: after a stop, for stacks, after a kill, and for a step (None: without an end)."""

    grace_s: float = 60.0
    stacks_s: float = 5.0
    kill_s: float = 30.0
    hang_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a plan depends on. Times are monotonic seconds; sets and mappings are by trial number.

    `trials` are those that run, and as many of those that wait as there is room for. `barred` are the waiting trials
    that the budget does not allow. `ending`, `holding`, `releasing` and `victims` are what persons want: who is ended,
    by which decision, who is paused, who goes on, and who goes on whatever rules say. `spared` says as what a trial is
    let run on though it is condemned. `faults` says
    what is wrong with a slot, by its name. `stop_since`, `stacks_since`, `kill_since` and `given_up` are what this
    orchestrator did with the attempts that run; `step_since` is when it saw them launched, or make their newest step;
    `end_since` when it saw the newest attempt of a trial end.
    """

    trials: Sequence[Trial]
    alive: AbstractSet[int]
    free_slots: Sequence[str]
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    spared: Mapping[int, str] = field(default_factory=dict)
    stop_since: Mapping[int, float] = field(default_factory=dict)
    stacks_since: Mapping[int, float] = field(default_factory=dict)
    kill_since: Mapping[int, float] = field(default_factory=dict)
    given_up: AbstractSet[int] = frozenset()
    step_since: Mapping[int, float] = field(default_factory=dict)
    end_since: Mapping[int, float] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    barred: AbstractSet[int] = frozenset()
    ending: Mapping[int, Decision] = field(default_factory=dict)
    holding: Sequence[int] = ()
    releasing: Sequence[int] = ()
    victims: Sequence[int] = ()
    unparked: Sequence[int] = ()
    stopping: bool = False
    killing: bool = False
    now: float = 0.0
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Start the trial's next attempt on a slot."""

    number: int
    slot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End the trial, or ask its attempt to end: because of a decision, or of an interrupt where there is none."""

    number: int
    decision: Decision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spare:
    """Write down that the trial is condemned, and let it run on as what `spared` says."""

    number: int
    decision: Decision
    spared: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAgain:
    """Ask the attempt once more to end, as its record says that it was asked."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """Write down why the trial's attempt is given up; it is killed next."""

    number: int
    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """End the trial's attempt now."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """Wait no more for the trial's attempt, which cannot be killed."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareLost:
    """Nobody will write how the attempt ended."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revive:
    """Let the trial go on whatever rules say: a pruned one from its checkpoint."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Write down that the trial is paused."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Let the paused trial go on."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpark:
    """Remove the checkpoints of the pruned trial."""

    number: int


Action = Launch | Stop | Spare | StopAgain | Abandon | Kill | GiveUp | DeclareLost | Revive | Hold | Release | Unpark


def plan(situation: Situation) -> list[Action]:
    """The actions of this moment, in the order in which they are to be recorded and done."""
    running = [trial for trial in situation.trials if trial.state is State.RUNNING]
    actions: list[Action] = [Hold(number=number) for number in situation.holding]
    for trial in running:
        actions += _for_running(trial, situation)
    ending = situation.ending.items()
    actions += [Stop(number=n, decision=decision) for n, decision in ending if n not in situation.alive]
    actions += [Release(number=number) for number in situation.releasing]
    actions += [Revive(number=number) for number in situation.victims]
    actions += [Unpark(number=number) for number in situation.unparked]
    if situation.free_slots and not (situation.stopping or situation.killing):
        actions += _launches(situation)
    return actions


def _launches(situation: Situation) -> list[Launch]:
    waiting = [trial for trial in situation.trials if trial.state is State.WAITING and _may_start(trial, situation)]
    launches: list[Launch] = []
    for slot in situation.free_slots[: len(waiting)]:
        # Who is retried leaves the slot where it ended to somebody else, if anybody else waits.
        trial = next((trial for trial in waiting if not _ended_on(trial, slot)), waiting[0])
        waiting.remove(trial)
        launches.append(Launch(number=trial.facts.number, slot=slot))
    return launches


def _may_start(trial: Trial, situation: Situation) -> bool:
    number = trial.facts.number
    since = situation.now - situation.end_since.get(number, -math.inf)
    unwanted = number in situation.barred or number in situation.ending or number in situation.holding
    return not unwanted and since >= trial.pause_s


def _ended_on(trial: Trial, slot: str) -> bool:
    return trial.retry > 0 and trial.control.launched[trial.control.attempt].slot == slot


def _for_running(trial: Trial, situation: Situation) -> list[Action]:
    number = trial.facts.number
    if number not in situation.alive:
        return [DeclareLost(number=number)]
    actions: list[Action] = []
    decision = situation.decisions.get(number)
    spared = situation.spared.get(number)
    if decision and spared:
        if trial.control.spared is None:
            actions.append(Spare(number=number, decision=decision, spared=spared))
        decision = None
    ending = situation.ending.get(number)
    stopping = situation.stopping or number in situation.holding
    if ending and not trial.control.is_condemned(trial.control.attempt):
        actions.append(Stop(number=number, decision=ending))
    elif trial.control.stop is None and (decision or stopping):
        actions.append(Stop(number=number, decision=decision))
    elif trial.control.stop is not None and number not in situation.stop_since:
        actions.append(StopAgain(number=number))
    abandon = _abandoned(trial, situation)
    if abandon is not None:
        actions.append(abandon)
    if number not in situation.kill_since and _is_to_be_killed(trial, situation):
        actions.append(Kill(number=number))
    deaf = situation.now - situation.kill_since.get(number, situation.now) > situation.patience.kill_s
    if deaf and number not in situation.given_up:
        actions.append(GiveUp(number=number))
    return actions


def _abandoned(trial: Trial, situation: Situation) -> Abandon | None:
    """Why the running attempt is to be given up, once; an attempt that was asked to stop has its grace for a hang."""
    number, attempt, after = trial.facts.number, trial.control.attempt, situation.patience.hang_after_s
    if attempt in trial.control.abandoned:
        return None
    fault = situation.faults.get(trial.control.launched[attempt].slot)
    if fault is not None:
        return Abandon(number=number, cause=Cause.LOST, reason=fault)
    silent = situation.now - situation.step_since.get(number, situation.now)
    # An attempt that has not opened its trial, such as a plain command's, reports no steps that could be missed.
    if after is None or silent <= after or trial.control.stop is not None or trial.progress.attempt != attempt:
        return None
    return Abandon(number=number, cause=Cause.HUNG, reason=f"no step for {silent:.0f} s, and hang_after_s is {after:g}")


def _is_to_be_killed(trial: Trial, situation: Situation) -> bool:
    number, now, patience = trial.facts.number, situation.now, situation.patience
    abandoned = trial.control.abandoned.get(trial.control.attempt)
    if situation.killing or now - situation.stop_since.get(number, now) > patience.grace_s:
        return True
    if abandoned is None:
        return False
    # Stacks take a moment to be written; who hangs since an earlier orchestrator has had it.
    asked = situation.stacks_since.get(number, -math.inf)
    return abandoned.cause != Cause.HUNG or now - asked > patience.stacks_s
