"""The one loop: read, fold, judge, ask, plan, write down, act, show; then sleep until something happens."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from sweeper.config import Happening
from sweeper.executors.executor import Executor
from sweeper.orchestrator.actions import Acts
from sweeper.orchestrator.clocks import Clocks
from sweeper.orchestrator.io.inotify import Notices
from sweeper.orchestrator.io.notifications import Notifier
from sweeper.orchestrator.io.user_commands import PAUSE, RESUME, REVIVE, STOP, Orders
from sweeper.orchestrator.io.views_process import ViewsProcess
from sweeper.orchestrator.io.wakeup import LONGEST_SLEEP_S, Waking
from sweeper.orchestrator.opening import Run
from sweeper.orchestrator.pace import Pace
from sweeper.orchestrator.plan import Patience, Situation, plan
from sweeper.orchestrator.resources.checkpoints import crowded, worth
from sweeper.orchestrator.resources.slots import Places
from sweeper.orchestrator.resources.usage import Purse
from sweeper.orchestrator.search.audits import Audits, version_of
from sweeper.orchestrator.search.proposals import Proposals
from sweeper.orchestrator.search.pruners import Comparisons
from sweeper.orchestrator.trials import Trials
from sweeper.record.budget import Budget, barred, spent
from sweeper.record.causes import Cause
from sweeper.record.ended import Memory, recall, uncollected
from sweeper.record.events import (
    REVIVED,
    Event,
    Preferred,
    SweepEnded,
    SweepPaused,
    SweepResumed,
    SweepStarted,
)
from sweeper.record.fold import State
from sweeper.record.launch_order import preferred
from sweeper.record.storage import filesystem
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.trial import Trial, open_trials
from sweeper.results.ranking import end_text
from sweeper.results.receipt import again_text, cause_text, end_line
from sweeper.results.snapshot import Show, SweepView
from sweeper.rules.decision import Decision, Rule
from sweeper.rules.diagnoses import DIAGNOSES, Diagnosis, Effect
from sweeper.rules.health import Change
from sweeper.rules.needs import unmet
from sweeper.search import Search

_TOLD = {State.FAIL: Happening.FAILURE, State.PRUNED: Happening.PRUNE}
LEAST_FREE = 1 << 16
"""Bytes; with less on the disk, it is full to whoever writes."""


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
        self._show = show
        self._early_stop = run.spec.to_json()["early_stop"]
        self._rules_that_stop = () if run.spec.early_stop is None else run.spec.early_stop.rules
        self._patience = patience or Patience(hang_after_s=run.spec.hang_after_s)
        self._started, self._began = time.time(), time.monotonic()
        self._messages: list[str] = []
        self._waking = Waking(self._say)
        self._places = Places(executor, self._say, lambda: self._trials.count(State.WAITING))
        self._clocks = Clocks()
        self._proposals = Proposals(run, search)
        self._audits = Audits(run.directory, run.spec.name, run.spec.early_stop)
        self._comparisons = Comparisons.of(run.directory, run.spec.metric, run.spec.early_stop)
        self._purse = Purse(Budget(**run.spec.budget.model_dump()), self._started)
        self._notifier = Notifier(run.directory, run.spec.name, run.spec.notify)
        self._notices = Notices.here(trusted=not filesystem.is_shared(run.directory.path))
        self._trials = Trials(rules, self._notices)
        self._acts = Acts(self._trials, executor, self._places, self._clocks, self._say)
        self._dead: set[tuple[int, int]] = set()
        self._victims: list[int] = []
        self._unparked: list[int] = []
        self._orders = Orders()
        self._paused = False
        self._pruned = 0
        self._liveness, self._shown = Pace(every_s=LONGEST_SLEEP_S), Pace()

    def run(self) -> str:
        """Run to the end, `complete` or `failed`, until the budget is `spent`, or until `interrupted`.

        The record is complete when this returns.
        """
        spec, directory = self._run.spec, self._run.directory
        slots = tuple(self._places.slots.all)
        self._log(SweepStarted(pid=os.getpid(), host=socket.gethostname(), profile=spec.profile or "", slots=slots))
        with self._waking:
            self._open()
            views = ViewsProcess(directory, spec.figures)  # which reads as much: nobody is to wait for that
            while self._tick():
                views.keep()
                if self._waking.sleep((*self._executor.ends(), *self._notices.filenos(), *self._show.filenos())):
                    self._liveness.hasten()  # somebody ended, perhaps without a word
            outcome = self._outcome()
            self._executor.close()
            self._notices.close()
            views.finish()
            self._notifier.tell(Happening.END, end_text(outcome, self.trials), outcome=outcome)
            self._notifier.finish()
            seen = self._waking.interrupts
            while not (views.ended() and self._notifier.is_idle()) and self._waking.interrupts == seen:
                self._update("drawing what is left")
                self._waking.sleep(self._show.filenos())
            self._tell_troubles()
            if views.code:
                self._say(
                    f"the TensorBoard files are not complete: see {directory.views_log}; "
                    f"`sweeper tensorboard {directory.path}` draws what is missing"
                )
        self._log(SweepEnded(outcome=outcome, seconds=time.monotonic() - self._began))
        self._update(outcome, now=True)
        return outcome

    @property
    def known_of_rules(self) -> list[str]:
        """How often each rule that condemned anybody here is known to be wrong, a line each."""
        return self._audits.texts(self.trials)

    @property
    def trials(self) -> list[Trial]:
        """All trials as last read."""
        return self._trials.all

    # ---- the start and the end ------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Take in what is on the record, and make what is missing of it."""
        directory = self._run.directory
        known, stale = recall(directory)
        known = {number: trial for number, trial in known.items() if self._comparisons.knows(number)}
        if stale > len(known):
            known = {}  # most of it is of no use any more: it is made anew
        self._memory = Memory(directory, anew=not known)
        readers, unreadable = open_trials(directory, known)
        for number, why in unreadable.items():
            self._say(f"{number:04d} cannot be read and stays as it is; its configuration is run anew: {why}")
        followed = {reader.trial.facts.number: reader for reader in readers}
        with uncollected():
            for number in sorted({*known, *followed}):
                if number in known:
                    self._trials.add([known[number]])
                else:
                    self._trials.read([followed[number]])
        log = read_journal(directory.log)  # nobody else appends while we hold the run
        self._trials.preferred = preferred(log)
        self._purse.open(log, self.trials)
        self._purse.take(self.trials)
        if not self._spent() or self._purse.budget == Budget(trials=self._purse.budget.trials):
            for trial in self._trials.of(State.FAIL):
                self._acts.grant_retry(trial)
        there = [*self.trials, *self._trials.gone.values()]
        self._trials.add(self._proposals.initial(there, {*known, *followed, *unreadable}))

    def _outcome(self) -> str:
        left = self._trials.count(State.WAITING, State.RUNNING, State.PAUSED)
        if self._waking.interrupts and left:
            return "interrupted"
        # Who runs still cannot be killed; who waits, though the budget allows it, has no slot left.
        if self._trials.count(State.FAIL, State.RUNNING) or self._launchable() or self._trials.gone:
            return "failed"
        return "spent" if self._spent() and left else "complete"

    # ---- one tick -------------------------------------------------------------------------------------------------

    def _tick(self) -> bool:
        """Everything that is to be done now; False when there is nothing left to wait for."""
        self._trials.look()
        self._look_at_liveness()
        changed = self._trials.changes()
        self._look_at_health(changed)
        self._purse.take(changed)
        followers = (self._trials.followers.get(trial.facts.number) for trial in changed)
        self._comparisons.look(follower for follower in followers if follower is not None)
        self._look_at_ends(changed)
        self._places.look()
        self._take_orders()
        self._look_at_audits(changed)
        self._look_at_parking()
        self._proposals.tell(changed)
        self._memory.keep(self._trials.ended_readers())
        self._ask()
        for action in plan(self._situation()):
            self._acts.do(action)
        self._orders.done()
        self._look_at_losses()
        self._victims, self._unparked = [], []
        self._tell_troubles()
        self._update("stopping" if self._waking.interrupts else "paused" if self._paused else "running")
        running = {trial.facts.number for trial in self._trials.of(State.RUNNING)}
        if running - self._clocks.given_up:
            return True
        wanted = self._paused or self._launchable()
        return wanted and not self._waking.interrupts and bool(self._places.slots.usable)

    def _situation(self) -> Situation:
        running, free = self._trials.of(State.RUNNING), self._free()
        alive = [trial for trial in running if _newest(trial) not in self._dead]
        decisions = self._decisions(alive)
        waiting = list(self._trials.to_launch(len(free) + 1)) if free else []
        return Situation(
            trials=[*running, *waiting],
            alive={trial.facts.number for trial in alive},
            free_slots=free,
            decisions=decisions,
            spared=self._spared(decisions),
            stop_since=self._clocks.stopped,
            stacks_since=self._clocks.stacks,
            kill_since=self._clocks.killed,
            given_up=self._clocks.given_up,
            step_since=self._clocks.steps,
            end_since=self._clocks.ended,
            faults=self._executor.faults(),
            barred=self._barred(waiting),
            ending={number: self._orders.decision(self._trials[number]) for number in self._orders.of(STOP)},
            holding=self._orders.of(PAUSE),
            releasing=self._orders.of(RESUME),
            victims=self._victims,
            unparked=self._unparked,
            stopping=self._waking.interrupts > 0 or self._paused,
            killing=self._waking.interrupts > 1,
            now=time.monotonic(),
            patience=self._patience,
        )

    # ---- what is known --------------------------------------------------------------------------------------------

    def _look_at_losses(self) -> None:
        """Go on without trials whose records are gone: nothing can be said of them there, so none is left running."""
        for trial, why in self._trials.losses():
            self._say(f"{trial.facts.number:04d} is given up, and the next call runs it anew: {why}")
            self._proposals.forget(trial)
            if trial.state is State.RUNNING:
                self._executor.kill(trial.attempt)

    def _look_at_liveness(self) -> None:
        """Who runs by the record, and lives no more; one that ended since it was read is read again before that."""
        if not self._liveness.is_due():
            return
        with self._liveness.doing():
            dead = [t for t in self._trials.of(State.RUNNING) if not self._executor.is_alive(t.attempt)]
        if dead:
            self._trials.look()
        self._dead = {_newest(trial) for trial in dead}

    def _look_at_health(self, changed: Sequence[Trial]) -> None:
        """Write down what has changed in the health of the trials that this orchestrator runs or has run."""
        for trial in changed:
            follower = self._trials.followers.get(trial.facts.number)
            if follower is not None and (changes := follower.changes_of_health()):
                self._say_failures(trial, changes)
                self._acts.keep_health(trial, changes)

    def _say_failures(self, trial: Trial, changes: Sequence[Change]) -> None:
        """Say which failures began that no rule stops, each once a trial; a stop says so by itself."""
        stopping = {rule.name for rule in self._rules_that_stop if isinstance(rule, Diagnosis)}
        known = {event.diagnosis for event in trial.control.diagnosed}
        for change in changes:
            fails = change.holds and DIAGNOSES[change.diagnosis].effect is Effect.STOPS
            if fails and change.diagnosis not in stopping | known:
                known.add(change.diagnosis)
                self._say(f"{trial.number:04d} is diagnosed {change.diagnosis} at step {change.step}: {change.reason}")

    def _look_at_ends(self, changed: Sequence[Trial]) -> None:
        """Of attempts that have ended: which of them are retried and why, and what that says of their slots."""
        for trial in self._clocks.look(changed, time.monotonic()):
            attempt, name, asked = trial.control.attempt, f"{trial.facts.number:04d}", trial.control.stop is not None
            if (peak := self._executor.device_peak_mb(trial.attempt)) is not None:
                self._acts.keep_measure(trial, peak)
            if trial.state is State.WAITING and not asked:
                self._say(f"{name} ended: {cause_text(trial, attempt)}; {again_text(trial)}")
            if trial.cause(attempt) == Cause.LOST and shutil.disk_usage(trial.directory.path).free < LEAST_FREE:
                # The worker, and who was to write how it ended, could not even say so.
                self._say(f"{trial.directory.path}: No space left on device; free some, and call `sweeper run` again")
            if trial.state in _TOLD:
                self._notifier.tell(_TOLD[trial.state], f"{name} {end_line(trial)}", trial=trial.facts.number)
            self._places.ended(trial, asked=asked)

    def _look_at_audits(self, changed: Sequence[Trial]) -> None:
        """Where a rule turns out to be wrong too often, say so, and let its victims go on, the best first."""
        for version in self._audits.look(changed):
            broken = f"the breaker of {version} is broken, and it stops nobody: {self._audits.ledgers[version].text()}"
            self._say(broken)
            self._notifier.tell(Happening.BREAKER, broken, rule=version)
            victims = [trial for trial in self._trials.of(State.PRUNED) if version_of(trial) == version]
            self._victims += [trial.facts.number for trial in sorted(victims, key=worth, reverse=True)]

    def _look_at_parking(self) -> None:
        """Whose checkpoints go, once more is pruned than before, so that the rest keeps within what is granted."""
        early_stop, pruned = self._run.spec.early_stop, self._trials.count(State.PRUNED)
        if early_stop is None or early_stop.keep_parked_gb is None or pruned == self._pruned:
            return
        self._pruned = pruned
        self._unparked = crowded(self._trials.of(State.PRUNED), early_stop.keep_parked_gb)

    def _take_orders(self) -> None:
        """What persons asked for: what concerns the sweep is done here, what concerns a trial is planned."""
        orders = self._orders = Orders.waiting(self._run.directory, self._trials, self._say)
        self._victims += orders.of(REVIVE)
        for params in orders.added:
            self._trials.add(self._proposals.add(params))
        for numbers in orders.preferred:
            first = Preferred(trials=tuple(numbers))
            self._log(first)
            self._trials.preferred = preferred([Preferred(trials=self._trials.preferred), first])
            self._say(f"first in the queue: {', '.join(f'{number:04d}' for number in numbers)}")
        if orders.sweep == STOP:
            self._waking.interrupt()
        elif orders.sweep and (orders.sweep == PAUSE) is not self._paused:
            self._paused = not self._paused
            self._log(SweepPaused() if self._paused else SweepResumed())
            goes = "paused: running trials save a checkpoint and end, until `sweeper resume`"
            self._say(goes if self._paused else "the sweep goes on")

    def _ask(self) -> None:
        """Further configurations, for the slots that no trial waits for."""
        if not (self._waking.interrupts or self._paused or self._spent()):
            wanted = len(self._free()) - self._trials.count(State.WAITING)
            self._trials.add(self._proposals.further(-(-wanted // len(self._run.spec.seeds))))

    def _free(self) -> Sequence[str]:
        dying = [trial for trial in self._trials.gone.values() if self._executor.is_alive(trial.attempt)]
        taken = {
            launched.slot
            for trial in (*self._trials.of(State.RUNNING), *dying)
            if (launched := trial.control.launched.get(trial.control.attempt)) is not None
        }
        return self._places.slots.free(taken)

    def _decisions(self, alive: Sequence[Trial]) -> dict[int, Decision]:
        compared, followers = self._comparisons.decisions, self._trials.followers
        numbers = [trial.facts.number for trial in alive]
        found = ((number, followers[number].decision or compared.get(number)) for number in numbers)
        return {number: decision for number, decision in found if decision is not None}

    def _spared(self, decisions: dict[int, Decision]) -> dict[int, str]:
        """Which of the condemned are let run on, and as what."""
        spared = {number: self._audits.spared(self._trials[number], one) for number, one in decisions.items()}
        spared |= dict.fromkeys(self._orders.of(REVIVE), REVIVED)
        return {number: why for number, why in spared.items() if why is not None}

    def _spent(self) -> list[str]:
        return spent(self._purse.budget, self._purse.spending(self._trials.of(State.RUNNING), self._now()))

    def _barred(self, waiting: Sequence[Trial]) -> AbstractSet[int]:
        spending = self._purse.spending(self._trials.of(State.RUNNING), self._now())
        return barred(self._purse.budget, spending, waiting)

    def _launchable(self) -> bool:
        """Whether a trial waits, or is paused, that the budget allows."""
        waiting = [*self._trials.to_launch(1), *self._trials.of(State.PAUSED)]  # who is paused is waited for
        return len(self._barred(waiting)) < len(waiting)

    def _now(self) -> float:
        """Seconds since the epoch as of the start of this call: nobody who sets the clock meanwhile spends a budget."""
        return self._started + time.monotonic() - self._began

    # ---- the record and the person --------------------------------------------------------------------------------

    def _tell_troubles(self) -> None:
        for trouble in (*self._executor.troubles(), *self._notifier.troubles()):
            if trouble not in self._messages:
                self._say(trouble)

    def _log(self, event: Event) -> None:
        with JournalWriter(self._run.directory.log) as log:
            log.append(replace(event, time=time.time()), sync=True)

    def _say(self, message: str) -> None:
        self._messages.append(message)

    def _update(self, state: str, *, now: bool = False) -> None:
        """Show the sweep: a table of many trials takes its time, of which it gets a part."""
        if not (self._show.pressed() or now or self._shown.is_due()):
            return
        known, moment = len(self._trials), self._now()
        cap = max(self._run.spec.run_cap or 0, known) or None  # None where the search has no end of its own
        with self._shown.doing():
            self._show.update(
                SweepView(
                    name=self._run.spec.name,
                    state=state,
                    trials=self.trials,
                    total=known if self._proposals.search.eager else cap,
                    slots=tuple(self._places.slots.all),
                    now=moment,
                    started=self._started,
                    messages=tuple(self._messages),
                    unmet=unmet(self._early_stop, self.trials, moment),
                )
            )


def _newest(trial: Trial) -> tuple[int, int]:
    """A trial's number, and that of its newest attempt."""
    return trial.facts.number, trial.control.attempt
