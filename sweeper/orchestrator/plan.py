"""What is to be done now: a pure function of the trials, who lives, and what is wanted.

1. A running trial whose processes are gone without an exit is lost.
2. Who is condemned but spared (rules only observe, or the trial is audited) has that written down once, and runs on.
3. A stop is recorded once an attempt, because of a decision or of an interrupt; a decision wins. One that an earlier
   orchestrator recorded is asked for again: it may have died between saying and doing.
4. Who does not end within the grace is killed.
5. While nobody asked the sweep to stop, waiting trials take free slots in the order of their numbers, but
   for those that the budget bars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.rules.decision import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a plan depends on. Times are monotonic seconds; sets and mappings are by trial number.

    `barred` are the waiting trials that the budget does not allow. `spared` says as what a trial is let run on though
    it is condemned. `stop_since` and `killed` are what this orchestrator did with the attempts that run.
    """

    trials: Sequence[Trial]
    alive: AbstractSet[int]
    free_slots: Sequence[str]
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    spared: Mapping[int, str] = field(default_factory=dict)
    stop_since: Mapping[int, float] = field(default_factory=dict)
    killed: AbstractSet[int] = frozenset()
    barred: AbstractSet[int] = frozenset()
    stopping: bool = False
    killing: bool = False
    now: float = 0.0
    grace_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Start the trial's next attempt on a slot."""

    number: int
    slot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Ask the trial's attempt to end: because of a decision, or of an interrupt where there is none."""

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
class Kill:
    """End the trial's attempt now."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareLost:
    """Nobody will write how the attempt ended."""

    number: int


Action = Launch | Stop | Spare | StopAgain | Kill | DeclareLost


def plan(situation: Situation) -> list[Action]:
    """The actions of this moment, in the order in which they are to be recorded and done."""
    running = [trial for trial in situation.trials if trial.state is State.RUNNING]
    actions: list[Action] = []
    for trial in running:
        actions += _for_running(trial, situation)
    if not (situation.stopping or situation.killing):
        waiting = (
            trial
            for trial in situation.trials
            if trial.state is State.WAITING and trial.facts.number not in situation.barred
        )
        actions += [
            Launch(number=trial.facts.number, slot=slot)
            for trial, slot in zip(waiting, situation.free_slots, strict=False)
        ]
    return actions


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
    if trial.control.stop is None and (decision or situation.stopping):
        actions.append(Stop(number=number, decision=decision))
    elif trial.control.stop is not None and number not in situation.stop_since:
        actions.append(StopAgain(number=number))
    overdue = situation.now - situation.stop_since.get(number, situation.now) > situation.grace_s
    if number not in situation.killed and (situation.killing or overdue):
        actions.append(Kill(number=number))
    return actions
