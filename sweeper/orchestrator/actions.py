"""Carry out planned actions: each is written to the record first and then done."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from sweeper.config import ResumeArgs
from sweeper.errors import Unwritable
from sweeper.executors.executor import Executor
from sweeper.orchestrator.clocks import Clocks
from sweeper.orchestrator.plan import (
    AbandonAttempt,
    Action,
    ContinueTrial,
    DeclareLost,
    DiscardCheckpoints,
    KillAttempt,
    LaunchAttempt,
    MarkUnkillable,
    PauseTrial,
    RepeatStop,
    ResumeTrial,
    ReviveTrial,
    StopTrial,
)
from sweeper.orchestrator.resources.checkpoints import discard_checkpoints
from sweeper.orchestrator.resources.slots import SlotManager
from sweeper.orchestrator.trials import Trials
from sweeper.record.causes import Cause
from sweeper.record.decision import Decision
from sweeper.record.events import (
    CONVERGED,
    INTERRUPTED,
    PRUNED,
    Abandoned,
    Continued,
    Diagnosed,
    Event,
    KillSent,
    Launched,
    Lost,
    Measured,
    Paused,
    RetryGranted,
    Revived,
    StopRequested,
    Unpaused,
)
from sweeper.record.resumption import with_resume_args
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.command_line import why_not_started, why_too_long
from sweeper.results.restart import restart_text
from sweeper.results.wording import why_continued
from sweeper.rules.health import Change


@dataclass(slots=True)
class ActionRunner:
    """Carries out actions one at a time and reads back what each wrote to the trial's record."""

    trials: Trials
    executor: Executor
    slots: SlotManager
    clocks: Clocks
    say: Callable[[str], None]
    resume_args: ResumeArgs | None = None

    def run(self, action: Action) -> None:
        """Carry out an action."""
        self._with_trial(action.number, lambda trial: self._run(action, trial))

    def grant_retry(self, trial: TrialRecord) -> None:
        """Let a trial that failed in an earlier call run again, because calling `sweeper run` anew asks for that."""
        self.say(f"Trial {trial.facts.number:04d} failed in an earlier call and is retried")
        event = RetryGranted(attempt=trial.newest.number)
        self._with_trial(trial.facts.number, lambda trial: self._record(trial, event))

    def record_device_peak(self, trial: TrialRecord, peak_mb: float) -> None:
        """Record the peak device memory of the trial's newest attempt, in MiB."""
        event = Measured(attempt=trial.newest.number, device_peak_mb=peak_mb)
        self._with_trial(trial.facts.number, lambda trial: self._record(trial, event))

    def record_collected(self, trial: TrialRecord, events: Sequence[Event]) -> None:
        """Record metrics that were read from the files and the output of a trial."""
        self._with_trial(trial.facts.number, lambda trial: self._record_all(trial, events))

    def record(self, trial: TrialRecord, event: Event) -> None:
        """Record an event of a trial."""
        self._with_trial(trial.facts.number, lambda trial: self._record(trial, event))

    def record_health(self, trial: TrialRecord, changes: Sequence[Change]) -> None:
        """Record which diagnoses of the trial began or ended."""
        events = [Diagnosed(attempt=trial.newest.number, **asdict(change)) for change in changes]
        self._with_trial(trial.facts.number, lambda trial: [self._record(trial, one, sync=False) for one in events])

    def _with_trial(self, number: int, act: Callable[[TrialRecord], object]) -> None:
        """Act on a trial and read its record again. If the record was damaged meanwhile, the trial is dropped."""
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

    def _run(self, action: Action, trial: TrialRecord) -> None:  # noqa: C901 - one case per action
        match action:
            case LaunchAttempt(slot=slot):
                self._launch(trial, slot)
            case StopTrial(decision=decision):
                self._stop(trial, decision)
            case ContinueTrial(decision=decision, why=why):
                self._continue(trial, decision, why)
            case RepeatStop():
                self._request_stop(trial)
            case AbandonAttempt(cause=cause, reason=reason):
                self._abandon(trial, cause, reason)
            case KillAttempt():
                self._record(trial, KillSent(attempt=trial.newest.number))
                self.executor.kill(trial.attempt_dir)
                self.clocks.killed[action.number] = time.monotonic()
            case MarkUnkillable():
                self._mark_unkillable(trial)
            case DeclareLost():
                # Processes that left the session of the shim and do not hold its lease may still run.
                self.executor.kill(trial.attempt_dir)
                self._record(trial, Lost(attempt=trial.newest.number))
            case ReviveTrial():
                self._revive(trial)
            case PauseTrial():
                self._pause(trial)
            case ResumeTrial():
                self._resume(trial)
            case DiscardCheckpoints():
                discard_checkpoints(trial.directory)
                reason = "for lack of space (keep_parked_gb). If it is revived, it starts from step 0"
                self.say(f"Discarded the checkpoints of trial {action.number:04d} {reason}")

    def _launch(self, trial: TrialRecord, name: str) -> None:
        """Start the trial's next attempt if the slot can be reserved; otherwise a later tick tries again."""
        number, slot = trial.newest.number + 1, self.slots.by_name[name]
        slot = slot.exclusive if trial.needs_whole_device else slot
        command = self._command(trial, number)
        if why := why_too_long(command):
            self._refuse(trial, Launched(attempt=number, slot=name, gpus=slot.gpus), number, why)
            return
        reserved = self.executor.reserve(trial.directory, number, slot)
        self.slots.note_answer(name, reserved=reserved)
        if not reserved:
            return
        self._record(trial, Launched(attempt=number, slot=name, gpus=slot.gpus))
        try:
            self.executor.launch(trial.directory, number, command, slot)
        except OSError as error:
            if error.errno != errno.E2BIG:
                raise
            self._refuse(trial, None, number, why_not_started(command, error))
        self.trials.poll(trial.facts.number)
        if trial.facts.number in self.trials:
            self.trials.followers[trial.facts.number].launched()
            self.clocks.launched(self.trials[trial.facts.number], time.monotonic())
        else:
            self.executor.kill(trial.directory.attempt(number))  # its record can no longer be written

    def _refuse(self, trial: TrialRecord, launched: Launched | None, number: int, why: str) -> None:
        """Record an attempt that is not started, because its command is too long."""
        begun = [] if launched is None else [launched]
        self._record_all(
            trial, [*begun, Abandoned(attempt=number, cause=Cause.NOT_FOUND, reason=why), Lost(attempt=number)]
        )
        self.say(f"Trial {trial.facts.number:04d} cannot be started: {why}")

    def _command(self, trial: TrialRecord, number: int) -> list[str]:
        """Return the command of attempt `number`: the trial's, with the arguments to resume if it may have to.

        That is after the first attempt, or if the trial continues another one.
        """
        resume = self.resume_args if number > 1 or trial.facts.derived is not None else None
        args, path = (resume.args, resume.path) if resume else ((), "")
        return with_resume_args(trial.facts.command, args, path)

    def _stop(self, trial: TrialRecord, decision: Decision | None) -> None:
        if trial.state.ended:
            self.say(f"Trial {trial.facts.number:04d} was not stopped: it has already ended ({trial.state.value})")
            return
        cause = INTERRUPTED if decision is None else CONVERGED if decision.rule == CONVERGED else PRUNED
        self._record(trial, StopRequested(attempt=trial.newest.number, cause=cause, decision=decision))
        if trial.state is State.RUNNING:
            self._request_stop(trial)

    def _request_stop(self, trial: TrialRecord) -> None:
        self.executor.stop(trial.attempt_dir)
        self.clocks.stopped[trial.facts.number] = time.monotonic()

    def _continue(self, trial: TrialRecord, decision: Decision, why: str) -> None:
        known = dict(trial.constrained)
        if trial.facts.objectives and trial.values is not None:
            known |= zip([one.name for one in trial.facts.objectives], trial.values, strict=True)
        event = Continued(attempt=trial.newest.number, cause=why, decision=decision, value=trial.value, values=known)
        self._record(trial, event)
        flagged = f"Trial {trial.facts.number:04d} was flagged by {decision.rule} at step {decision.step}"
        self.say(f"{flagged} and continues ({why_continued(why)})")

    def _abandon(self, trial: TrialRecord, cause: Cause, reason: str) -> None:
        self._record(trial, Abandoned(attempt=trial.newest.number, cause=cause, reason=reason))
        self.say(f"Killing trial {trial.facts.number:04d}: {cause} ({reason})")
        if cause is Cause.HUNG:
            self.executor.dump(trial.attempt_dir)
            self.clocks.stacks[trial.facts.number] = time.monotonic()

    def _mark_unkillable(self, trial: TrialRecord) -> None:
        number, slot = trial.facts.number, trial.newest.slot
        self.clocks.unkillable.add(number)
        self.say(
            f"Trial {number:04d} did not exit after SIGKILL, so the sweep continues without it and without its slot. "
            f"See {trial.attempt_dir.path}"
        )
        self.slots.quarantine(slot, f"trial {number:04d} did not exit after SIGKILL")

    def _revive(self, trial: TrialRecord) -> None:
        name = f"Trial {trial.facts.number:04d}"
        if trial.state in (State.COMPLETE, State.FAIL):
            self.say(f"{name} was not revived: it is {trial.state.value}, not PRUNED")
            return
        self._record(trial, Revived(attempt=trial.newest.number))
        if trial.state is State.PRUNED:
            self.say(f"{name} is revived: {restart_text(trial, self.resume_args)}. No rule will stop it")
        else:
            self.say(f"{name} is exempt: no rule will stop it")

    def _pause(self, trial: TrialRecord) -> None:
        name = f"Trial {trial.facts.number:04d}"
        if trial.state.ended:
            self.say(f"{name} was not paused: it has already ended ({trial.state.value})")
        elif not trial.paused:
            self._record(trial, Paused(attempt=trial.newest.number))
            what = "is asked to save a checkpoint and exit" if trial.state is State.RUNNING else "is not started"
            self.say(f"{name} is paused: it {what}, until `sweeper resume`")

    def _resume(self, trial: TrialRecord) -> None:
        name = f"Trial {trial.facts.number:04d}"
        if not trial.paused:
            self.say(f"{name} was not resumed: it is {trial.state.value}, not PAUSED")
            return
        self._record(trial, Unpaused(attempt=trial.newest.number))
        self.say(f"{name} is resumed")

    @staticmethod
    def _record_all(trial: TrialRecord, events: Sequence[Event]) -> None:
        now = time.time()
        with JournalWriter(trial.directory.control) as control:
            control.extend(replace(event, time=now) for event in events)

    @staticmethod
    def _record(trial: TrialRecord, event: Event, *, sync: bool = True) -> None:
        with JournalWriter(trial.directory.control) as control:
            control.append(replace(event, time=time.time()), sync=sync)
