"""The one loop: read, fold, judge, ask, plan, write down, act, show; then sleep until something happens."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from types import FrameType
from typing import Protocol

from sweeper.errors import Unwritable
from sweeper.executors.executor import Executor, HasFileno
from sweeper.orchestrator.audits import Audits, version_of
from sweeper.orchestrator.clocks import Clocks
from sweeper.orchestrator.comparisons import Comparisons
from sweeper.orchestrator.follower import Follower
from sweeper.orchestrator.opening import Run
from sweeper.orchestrator.parking import trim, worth
from sweeper.orchestrator.plan import (
    Abandon,
    Action,
    DeclareLost,
    GiveUp,
    Kill,
    Launch,
    Patience,
    Situation,
    Spare,
    Stop,
    StopAgain,
    plan,
)
from sweeper.orchestrator.proposals import Proposals
from sweeper.orchestrator.slots import Slots
from sweeper.orchestrator.views import ViewsProcess
from sweeper.record import inbox
from sweeper.record.budget import Budget, barred, spent
from sweeper.record.causes import Cause
from sweeper.record.events import (
    Abandoned,
    Condemned,
    Event,
    KillSent,
    Launched,
    Lost,
    Measured,
    RetryGranted,
    Revived,
    StopRequested,
    SweepEnded,
    SweepStarted,
)
from sweeper.record.fold import State
from sweeper.record.journal import JournalWriter, read_journal
from sweeper.record.layout import AttemptDir, TrialDir
from sweeper.record.trial import Trial, open_trials
from sweeper.rules.decision import Decision, Rule
from sweeper.search import Search
from sweeper.views.receipt import again_text, cause_text
from sweeper.views.snapshot import SweepView
from sweeper.views.wording import counted

LONGEST_SLEEP_S = 0.25
LEAST_FREE = 1 << 16
"""Bytes; with less on the disk, it is full to whoever writes."""


class Show(Protocol):
    """Whoever shows the sweep to a person."""

    def update(self, sweep: SweepView) -> None:
        """The sweep as it is now."""


class Orchestrator:
    """Runs the trials of an opened run; `patience` is the defaults', with what the sweep file says of hanging."""

    def __init__(  # noqa: PLR0913 - what it runs, with what, and who watches
        self,
        run: Run,
        *,
        executor: Executor,
        search: Search,
        rules: Sequence[Rule],
        show: Show,
        patience: Patience | None = None,
    ) -> None:
        self._run = run
        self._executor = executor
        self._rules = rules
        self._show = show
        self._slots = Slots.of(executor.slots())
        self._patience = patience or Patience(hang_after_s=run.spec.hang_after_s)
        self._proposals = Proposals(run, search)
        self._audits = Audits(run.directory, run.spec.name, run.spec.early_stop)
        self._comparisons = Comparisons.of(run.directory, run.spec.metric, run.spec.early_stop)
        readers, unreadable = open_trials(run.directory)
        self._followers = {reader.trial.facts.number: Follower(reader, rules) for reader in readers}
        self._gone: dict[int, Trial] = {}
        self._clocks = Clocks()
        self._parked = 0
        self._interrupts = 0
        self._messages: list[str] = []
        self._started, self._began = time.time(), time.monotonic()
        self._budget = Budget(**run.spec.budget.model_dump())
        self._log_events: Sequence[Event] = ()
        for number, why in unreadable.items():
            self._say(f"{number:04d} cannot be read and stays as it is; its configuration is run anew: {why}")

    def run(self) -> str:
        """Run to the end, `complete` or `failed`, until the budget is `spent`, or until `interrupted`.

        The record is complete when this returns.
        """
        spec = self._run.spec
        started = SweepStarted(
            pid=os.getpid(), host=socket.gethostname(), profile=spec.profile or "", slots=tuple(self._slots.all)
        )
        self._log(started)
        self._log_events = read_journal(self._run.directory.log)  # nobody else appends while we hold the run
        views = ViewsProcess(self._run.directory, spec.figures)
        with self._signals() as wake:
            self._poll()
            self._grant_retries()
            self._follow(self._proposals.initial())
            while self._tick():
                views.keep()
                _sleep(wake, self._executor.ends())
            outcome = self._outcome()
            self._executor.close()
            views.finish()
            seen = self._interrupts
            while not views.ended() and self._interrupts == seen:
                self._update("drawing what is left")
                _sleep(wake)
            if views.code:
                self._say(
                    f"the TensorBoard files are not complete: see {self._run.directory.views_log}; "
                    f"`sweeper tensorboard {self._run.directory.path}` draws what is missing"
                )
        self._log(SweepEnded(outcome=outcome, seconds=time.monotonic() - self._began))
        self._update(outcome)
        return outcome

    @property
    def known_of_rules(self) -> list[str]:
        """How often each rule that condemned anybody here is known to be wrong, a line each."""
        return self._audits.texts(self.trials)

    @property
    def trials(self) -> list[Trial]:
        """All trials as last read."""
        return [follower.trial for follower in self._followers.values()]

    # ---- one tick -------------------------------------------------------------------------------------------------

    def _tick(self) -> bool:
        """Everything that is to be done now; False when there is nothing left to wait for."""
        self._poll()
        self._comparisons.look(self._followers.values())
        self._look_at_ends()
        self._look_at_slots()
        self._carry_out_commands()
        self._audit()
        self._park()
        self._proposals.tell(self.trials)
        if not (self._interrupts or self._spent()):
            self._follow(self._proposals.further(self.trials, len(self._slots.usable)))
        for action in plan(self._situation()):
            try:
                self._act(action)
            except Unwritable:
                if self._followers[action.number].trial.directory.path.is_dir():
                    raise
                # Somebody removed the trial's directory: the next look finds it gone.
        self._tell_troubles()
        self._update("stopping" if self._interrupts else "running")
        running = {trial.facts.number for trial in self.trials if trial.state is State.RUNNING}
        if running - self._clocks.given_up:
            return True
        return self._launchable() and not self._interrupts and bool(self._slots.usable)

    def _look_at_ends(self) -> None:
        """Of attempts that have ended: which of them are retried and why, and what that says of their slots."""
        for trial in self._clocks.look(self.trials, time.monotonic()):
            attempt, name = trial.control.attempt, f"{trial.facts.number:04d}"
            asked, slot = trial.control.stop is not None, trial.control.launched[attempt].slot
            if (peak := self._executor.device_peak_mb(trial.attempt)) is not None:
                self._record(trial, Measured(attempt=attempt, device_peak_mb=peak))
            if trial.state is State.WAITING and not asked:
                self._say(f"{name} ended: {cause_text(trial, attempt)}; {again_text(trial)}")
            if trial.cause(attempt) == Cause.LOST and shutil.disk_usage(trial.directory.path).free < LEAST_FREE:
                # The worker, and who was to write how it ended, could not even say so.
                self._say(f"{trial.directory.path}: No space left on device; free some, and call `sweeper run` again")
            if self._slots.ended(slot, number=trial.facts.number, cause=trial.cause(attempt), asked=asked):
                self._say_quarantined(slot)

    def _look_at_slots(self) -> None:
        self._slots.take_in(self._executor.slots())
        for slot, fault in self._executor.faults().items():
            if self._slots.quarantine(slot, fault):
                self._say_quarantined(slot)

    def _say_quarantined(self, slot: str) -> None:
        why = self._slots.quarantined[slot]
        self._say(f"nothing more is launched on the slot {slot}, until `sweeper run` is called again: {why}")
        if not self._slots.usable:
            waiting = sum(trial.state is State.WAITING for trial in self.trials)
            left = f"; {counted(waiting, 'trial waits', 'trials wait')}" if waiting else ""
            self._say(f"no slot is left, and the sweep ends with what runs{left}")

    def _tell_troubles(self) -> None:
        for trouble in self._executor.troubles():
            if trouble not in self._messages:
                self._say(trouble)

    def _poll(self) -> None:
        for follower in self._followers.values():
            if not follower.trial.state.ended:
                self._executor.fetch(follower.trial.directory)
                follower.poll()
        for number in [number for number, follower in self._followers.items() if follower.gone]:
            self._go_on_without(self._followers.pop(number))

    def _go_on_without(self, follower: Follower) -> None:
        """Go on without a trial whose record is gone: nothing can be said of it there, so nothing is left running."""
        trial = follower.trial
        self._gone[trial.facts.number] = trial
        self._say(f"{trial.facts.number:04d} is given up, and the next call runs it anew: {follower.gone}")
        if trial.state is State.RUNNING:
            self._executor.kill(trial.attempt)

    def _situation(self) -> Situation:
        running = [trial for trial in self.trials if trial.state is State.RUNNING]
        followers = {trial.facts.number: self._followers[trial.facts.number] for trial in running}
        compared = self._comparisons.decisions
        found = ((number, f.decision or compared.get(number)) for number, f in followers.items())
        decisions = {number: decision for number, decision in found if decision is not None}
        dying = [trial for trial in self._gone.values() if self._executor.is_alive(trial.attempt)]
        taken = {
            launched.slot
            for trial in (*running, *dying)
            if (launched := trial.control.launched.get(trial.control.attempt)) is not None
        }
        return Situation(
            trials=self.trials,
            alive={trial.facts.number for trial in running if self._lives(trial)},
            free_slots=self._slots.free(taken),
            decisions=decisions,
            spared=self._spared(decisions),
            stop_since=self._clocks.stopped,
            stacks_since=self._clocks.stacks,
            kill_since=self._clocks.killed,
            given_up=self._clocks.given_up,
            step_since=self._clocks.steps,
            end_since=self._clocks.ended,
            faults=self._executor.faults(),
            barred=self._barred(),
            stopping=self._interrupts > 0,
            killing=self._interrupts > 1,
            now=time.monotonic(),
            patience=self._patience,
        )

    def _spent(self) -> list[str]:
        return spent(self._budget, self.trials, self._log_events, now=self._now(), running=True)

    def _barred(self) -> AbstractSet[int]:
        return barred(self._budget, self.trials, self._log_events, now=self._now(), running=True)

    def _now(self) -> float:
        """Seconds since the epoch as of the start of this call: nobody who sets the clock meanwhile spends a budget."""
        return self._started + time.monotonic() - self._began

    def _launchable(self) -> bool:
        """Whether a trial waits that the budget allows."""
        waiting = {trial.facts.number for trial in self.trials if trial.state is State.WAITING}
        return bool(waiting - self._barred())

    def _spared(self, decisions: Mapping[int, Decision]) -> dict[int, str]:
        """Which of the condemned are let run on, and as what."""
        spared = {n: self._audits.spared(self._followers[n].trial, decision) for n, decision in decisions.items()}
        return {number: why for number, why in spared.items() if why is not None}

    def _audit(self) -> None:
        """Where a rule turns out to be wrong too often, say so, and let its victims go on, the best first."""
        for version in self._audits.look(self.trials):
            self._say(
                f"the breaker of {version} is broken, and it stops nobody: {self._audits.ledgers[version].text()}"
            )
            victims = [t for t in self.trials if t.state is State.PRUNED and version_of(t) == version]
            for trial in sorted(victims, key=worth, reverse=True):
                self._revive(trial.facts.number)

    def _park(self) -> None:
        """Keep the checkpoints of pruned trials within what the sweep grants them."""
        pruned = sum(trial.state is State.PRUNED for trial in self.trials)
        early_stop = self._run.spec.early_stop
        if early_stop is None or early_stop.keep_parked_gb is None or pruned == self._parked:
            return
        self._parked = pruned
        for number in trim(self.trials, early_stop.keep_parked_gb):
            self._say(f"the checkpoints of {number:04d} are given up, for keep_parked_gb: revived, it begins anew")

    def _lives(self, trial: Trial) -> bool:
        """Whether the attempt lives; one that ended since it was read is read again before anybody calls it lost."""
        if self._executor.is_alive(trial.attempt):
            return True
        follower = self._followers[trial.facts.number]
        follower.poll()
        return follower.trial.state is not State.RUNNING

    def _act(self, action: Action) -> None:
        follower = self._followers[action.number]
        trial, attempt = follower.trial, follower.trial.attempt
        match action:
            case Launch(slot=slot):
                self._launch(follower, slot)
            case Stop(decision=decision):
                cause = "pruned" if decision else "interrupted"
                evidence = decision.to_json() if decision else None
                self._record(trial, StopRequested(attempt=attempt.number, cause=cause, decision=evidence))
                self._stop(action.number, attempt)
            case Spare(decision=decision, spared=spared):
                event = Condemned(attempt=attempt.number, spared=spared, decision=decision.to_json(), value=trial.value)
                self._record(trial, event)
                condemned = f"{action.number:04d} is condemned by {decision.rule} at step {decision.step}"
                self._say(f"{condemned}; it runs on ({spared})")
            case StopAgain():
                self._stop(action.number, attempt)
            case Abandon(cause=cause, reason=reason):
                self._record(trial, Abandoned(attempt=attempt.number, cause=cause, reason=reason))
                self._say(f"{action.number:04d} is to be killed: {cause} ({reason})")
                if cause is Cause.HUNG:
                    self._ask_for_stacks(action.number, attempt)
            case Kill():
                self._record(trial, KillSent(attempt=attempt.number))
                self._executor.kill(attempt)
                self._clocks.killed[action.number] = time.monotonic()
            case GiveUp():
                self._give_up(trial)
            case DeclareLost():
                self._executor.kill(attempt)  # what has left its shim's session, and its lease, may still be there
                self._record(trial, Lost(attempt=attempt.number))
        follower.poll()

    def _launch(self, follower: Follower, slot: str) -> None:
        """Start the trial's next attempt, if the slot is to be had; else the next tick asks again."""
        trial, place = follower.trial, self._slots.all[slot]
        number, place = trial.control.attempt + 1, place.alone if trial.wants_alone else place
        reserved = self._executor.reserve(trial.directory, number, place)
        if not self._slots.answered(slot, reserved=reserved):
            return
        self._record(trial, Launched(attempt=number, slot=slot, gpus=place.gpus))
        self._executor.launch(trial.directory, number, trial.facts.command, place)
        follower.poll()
        self._clocks.launched(follower.trial, time.monotonic())

    def _stop(self, number: int, attempt: AttemptDir) -> None:
        self._executor.stop(attempt)
        self._clocks.stopped[number] = time.monotonic()

    def _ask_for_stacks(self, number: int, attempt: AttemptDir) -> None:
        self._executor.dump(attempt)
        self._clocks.stacks[number] = time.monotonic()

    def _give_up(self, trial: Trial) -> None:
        """Wait no more for who cannot be killed; its slot stays its own."""
        name, slot = f"{trial.facts.number:04d}", trial.control.launched[trial.control.attempt].slot
        self._clocks.given_up.add(trial.facts.number)
        self._say(f"{name} was killed and lives on: it is waited for no more; see {trial.attempt.path}")
        if self._slots.quarantine(slot, f"{name} cannot be killed"):
            self._say_quarantined(slot)

    def _carry_out_commands(self) -> None:
        """What was asked for from other terminals; see `record.inbox`."""
        for path, command in inbox.received(self._run.directory):
            match command:
                case {"do": "revive", "number": int(number)} if number in self._followers:
                    self._revive(number)
                case {"do": "add", "params": dict(params)}:
                    self._follow(self._proposals.add(params))
                case _:
                    self._say(f"a command that is none was passed over: {path.name}")
            path.unlink(missing_ok=True)

    def _revive(self, number: int) -> None:
        follower = self._followers[number]
        if follower.trial.state is not State.PRUNED:
            self._say(f"{number:04d} is not pruned, but {follower.trial.state.value}: there is nothing to revive")
            return
        self._record(follower.trial, Revived(attempt=follower.trial.control.attempt))
        follower.poll()
        self._say(f"{number:04d} is revived: it goes on from its checkpoint, and no rule stops it")

    # ---- the record, the person, the signals ----------------------------------------------------------------------

    def _follow(self, made: Sequence[TrialDir]) -> None:
        self._followers |= {trial.number: Follower.of(trial, self._rules) for trial in made}

    def _grant_retries(self) -> None:
        """A new call of `sweeper run` is the user's word that what failed before may be tried again."""
        time_left = not self._spent() or self._budget == Budget(trials=self._budget.trials)
        for follower in self._followers.values():
            if follower.trial.state is State.FAIL and time_left:
                self._say(f"{follower.trial.facts.number:04d} failed before; it is run again")
                self._record(follower.trial, RetryGranted(attempt=follower.trial.control.attempt))
                follower.poll()

    def _record(self, trial: Trial, event: Event) -> None:
        with JournalWriter(trial.directory.control) as control:
            control.append(replace(event, time=time.time()), sync=True)

    def _log(self, event: Event) -> None:
        with JournalWriter(self._run.directory.log) as log:
            log.append(replace(event, time=time.time()), sync=True)

    def _say(self, message: str) -> None:
        self._messages.append(message)

    def _update(self, state: str) -> None:
        view = SweepView(
            name=self._run.spec.name,
            state=state,
            trials=self.trials,
            total=self._total(),
            slots=tuple(self._slots.all),
            now=self._now(),
            started=self._started,
            messages=tuple(self._messages),
        )
        self._show.update(view)

    def _total(self) -> int | None:
        """How many trials there will be; None where the search has no end of its own."""
        known = len(self._followers)
        return known if self._proposals.search.eager else max(self._run.spec.run_cap or 0, known) or None

    def _outcome(self) -> str:
        states = {trial.state for trial in self.trials}
        if self._interrupts and states & {State.WAITING, State.RUNNING}:
            return "interrupted"
        # Who runs still cannot be killed; who waits, though the budget allows it, has no slot left.
        if states & {State.FAIL, State.RUNNING} or self._launchable() or self._gone:
            return "failed"
        return "spent" if self._spent() and State.WAITING in states else "complete"

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        """SIGINT and SIGTERM are counted, SIGCHLD only wakes; yields the descriptor that any of them makes readable."""
        wake, awake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers = {signal.SIGINT: self._on_interrupt, signal.SIGTERM: self._on_interrupt, signal.SIGCHLD: _nothing}
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        signal.set_wakeup_fd(awake, warn_on_full_buffer=False)
        try:
            yield wake
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in previous.items():
                signal.signal(number, handler)
            os.close(wake)
            os.close(awake)

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupts += 1
        again = "once more to kill the workers" if self._interrupts == 1 else "killing the workers"
        self._say(f"stopping: running trials save a checkpoint and end; {again}")


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Take a signal that only has to wake the loop."""


def _sleep(wake: int, ends: Sequence[HasFileno] = ()) -> None:
    """Until a signal or an end comes, but no longer than it takes to look at what the workers appended."""
    waited_for: list[int | HasFileno] = [wake, *ends]
    if wake in select.select(waited_for, [], [], LONGEST_SLEEP_S)[0]:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 1024)
