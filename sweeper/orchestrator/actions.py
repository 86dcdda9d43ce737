"""Doing what was planned: the record says it first, then it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from sweeper.errors import Unwritable
from sweeper.executors.executor import Executor
from sweeper.orchestrator.clocks import Clocks
from sweeper.orchestrator.plan import (
    Abandon,
    Action,
    DeclareLost,
    GiveUp,
    Hold,
    Kill,
    Launch,
    Release,
    Revive,
    Spare,
    Stop,
    StopAgain,
    Unpark,
)
from sweeper.orchestrator.resources.checkpoints import unpark
from sweeper.orchestrator.resources.slots import Places
from sweeper.orchestrator.trials import Trials
from sweeper.record.causes import Cause
from sweeper.record.events import (
    Abandoned,
    Condemned,
    Diagnosed,
    Event,
    Held,
    KillSent,
    Launched,
    Lost,
    Measured,
    Released,
    RetryGranted,
    Revived,
    StopRequested,
)
from sweeper.record.fold import CONVERGED, PRUNED, State
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.trial import Trial
from sweeper.rules.decision import Decision
from sweeper.rules.health import Change


@dataclass(slots=True)
class Acts:
    """Does actions, one at a time."""

    trials: Trials
    executor: Executor
    places: Places
    clocks: Clocks
    say: Callable[[str], None]

    def do(self, action: Action) -> None:
        """Do an action, and read what it left."""
        self._act(action.number, lambda trial: self._do(action, trial))

    def grant_retry(self, trial: Trial) -> None:
        """A new call of `sweeper run` is the user's word that what failed before may be tried again."""
        self.say(f"{trial.facts.number:04d} failed before; it is run again")
        event = RetryGranted(attempt=trial.control.attempt)
        self._act(trial.facts.number, lambda trial: self._record(trial, event))

    def keep_measure(self, trial: Trial, peak_mb: float) -> None:
        """Write down how much memory of its device the trial's newest attempt took."""
        event = Measured(attempt=trial.control.attempt, device_peak_mb=peak_mb)
        self._act(trial.facts.number, lambda trial: self._record(trial, event))

    def keep_health(self, trial: Trial, changes: Sequence[Change]) -> None:
        """Write down what has changed in the trial's health."""
        events = [Diagnosed(attempt=trial.control.attempt, **asdict(change)) for change in changes]
        self._act(trial.facts.number, lambda trial: [self._record(trial, event, sync=False) for event in events])

    def _act(self, number: int, act: Callable[[Trial], object]) -> None:
        """Act on a trial, and read what that left; one whose record somebody damaged meanwhile is read to be gone."""
        if number not in self.trials:
            return
        try:
            act(self.trials[number])
        except Unwritable:
            self.trials.poll(number)
            if number in self.trials:
                raise
        else:
            self.trials.poll(number)

    def _do(self, action: Action, trial: Trial) -> None:  # noqa: C901 - a table of what each action is
        attempt, name = trial.attempt, f"{action.number:04d}"
        match action:
            case Launch(slot=slot):
                self._launch(trial, slot)
            case Stop(decision=decision):
                self._end(trial, decision)
            case Spare(decision=decision, spared=spared):
                event = Condemned(attempt=attempt.number, spared=spared, decision=decision.to_json(), value=trial.value)
                self._record(trial, event)
                condemned = f"{name} is condemned by {decision.rule} at step {decision.step}"
                self.say(f"{condemned}; it runs on ({spared})")
            case StopAgain():
                self._stop(trial)
            case Abandon(cause=cause, reason=reason):
                self._record(trial, Abandoned(attempt=attempt.number, cause=cause, reason=reason))
                self.say(f"{name} is to be killed: {cause} ({reason})")
                if cause is Cause.HUNG:
                    self.executor.dump(attempt)
                    self.clocks.stacks[action.number] = time.monotonic()
            case Kill():
                self._record(trial, KillSent(attempt=attempt.number))
                self.executor.kill(attempt)
                self.clocks.killed[action.number] = time.monotonic()
            case GiveUp():
                self._give_up(trial)
            case DeclareLost():
                self.executor.kill(attempt)  # what has left its shim's session, and its lease, may still be there
                self._record(trial, Lost(attempt=attempt.number))
            case Revive() | Hold() | Release():
                {Revive: self._revive, Hold: self._hold, Release: self._release}[type(action)](trial)
            case Unpark():
                unpark(trial.directory)
                self.say(f"the checkpoints of {name} are given up, for keep_parked_gb: revived, it begins anew")

    def _launch(self, trial: Trial, name: str) -> None:
        """Start the trial's next attempt, if the slot is to be had; else the next tick asks again."""
        number, slot = trial.control.attempt + 1, self.places.slots.all[name]
        slot = slot.alone if trial.wants_alone else slot
        reserved = self.executor.reserve(trial.directory, number, slot)
        if not self.places.slots.answered(name, reserved=reserved):
            return
        self._record(trial, Launched(attempt=number, slot=name, gpus=slot.gpus))
        self.executor.launch(trial.directory, number, trial.facts.command, slot)
        self.trials.poll(trial.facts.number)
        if trial.facts.number in self.trials:
            self.trials.followers[trial.facts.number].launched()
            self.clocks.launched(self.trials[trial.facts.number], time.monotonic())
        else:
            self.executor.kill(trial.directory.attempt(number))  # nothing can be said of it

    def _end(self, trial: Trial, decision: Decision | None) -> None:
        if trial.state.ended:
            self.say(f"{trial.facts.number:04d} has ended: it is {trial.state.value}, and there is nothing to stop")
            return
        cause = "interrupted" if decision is None else CONVERGED if decision.rule == CONVERGED else PRUNED
        evidence = decision.to_json() if decision else None
        self._record(trial, StopRequested(attempt=trial.control.attempt, cause=cause, decision=evidence))
        if trial.state is State.RUNNING:
            self._stop(trial)

    def _stop(self, trial: Trial) -> None:
        self.executor.stop(trial.attempt)
        self.clocks.stopped[trial.facts.number] = time.monotonic()

    def _give_up(self, trial: Trial) -> None:
        """Wait no more for who cannot be killed; its slot stays its own."""
        name, slot = f"{trial.facts.number:04d}", trial.control.launched[trial.control.attempt].slot
        self.clocks.given_up.add(trial.facts.number)
        self.say(f"{name} was killed and lives on: it is waited for no more; see {trial.attempt.path}")
        self.places.quarantine(slot, f"{name} cannot be killed")

    def _revive(self, trial: Trial) -> None:
        name = f"{trial.facts.number:04d}"
        if trial.state in (State.COMPLETE, State.FAIL):
            self.say(f"{name} is not pruned, but {trial.state.value}: there is nothing to revive")
            return
        self._record(trial, Revived(attempt=trial.control.attempt))
        if trial.state is State.PRUNED:
            self.say(f"{name} is revived: it goes on from its checkpoint, and no rule stops it")
        else:
            self.say(f"{name} is spared: no rule stops it")

    def _hold(self, trial: Trial) -> None:
        name = f"{trial.facts.number:04d}"
        if trial.state.ended:
            self.say(f"{name} has ended: it is {trial.state.value}, and there is nothing to pause")
        elif not trial.control.held:
            self._record(trial, Held(attempt=trial.control.attempt))
            what = "it saves a checkpoint and ends" if trial.state is State.RUNNING else "it is not started"
            self.say(f"{name} is paused: {what}, until `sweeper resume`")

    def _release(self, trial: Trial) -> None:
        name = f"{trial.facts.number:04d}"
        if not trial.control.held:
            self.say(f"{name} is not paused, but {trial.state.value}")
            return
        self._record(trial, Released(attempt=trial.control.attempt))
        self.say(f"{name} goes on")

    @staticmethod
    def _record(trial: Trial, event: Event, *, sync: bool = True) -> None:
        with JournalWriter(trial.directory.control) as control:
            control.append(replace(event, time=time.time()), sync=sync)
