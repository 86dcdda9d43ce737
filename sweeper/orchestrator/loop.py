"""Run a sweep: one loop that reads the records, judges, asks the search, plans, acts, shows the sweep, and sleeps."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from sweeper.config import Happening, is_configuration, repair_of
from sweeper.executors.executor import Executor
from sweeper.orchestrator.actions import ActionRunner
from sweeper.orchestrator.caution import Caution
from sweeper.orchestrator.clocks import Clocks
from sweeper.orchestrator.collect.collector import Collector
from sweeper.orchestrator.derivations import Derivations
from sweeper.orchestrator.earlier import ended_earlier
from sweeper.orchestrator.io.inotify import AttemptWatcher
from sweeper.orchestrator.io.messages import Messages
from sweeper.orchestrator.io.user_commands import UserCommands
from sweeper.orchestrator.io.views_process import ViewsProcess
from sweeper.orchestrator.io.wakeup import Wakeup
from sweeper.orchestrator.liveness import Liveness
from sweeper.orchestrator.opening import Run
from sweeper.orchestrator.pace import Pace
from sweeper.orchestrator.plan import Action, Situation, Timeouts, plan
from sweeper.orchestrator.resources.checkpoints import KeptCheckpoints, quality
from sweeper.orchestrator.resources.disk import DiskWatch
from sweeper.orchestrator.resources.slots import SlotManager
from sweeper.orchestrator.resources.usage import BudgetUsage
from sweeper.orchestrator.resources.waiting import WaitMonitor
from sweeper.orchestrator.search.audits import Audits, version_of
from sweeper.orchestrator.search.proposals import Proposals
from sweeper.orchestrator.search.pruners import SweepPruners
from sweeper.orchestrator.trials import Trials
from sweeper.record.budget import BudgetLimits, Usage, exhausted, over_budget
from sweeper.record.decision import Decision
from sweeper.record.ended import EndedTrials, EndedWriter, without_garbage_collection
from sweeper.record.events import (
    REVIVED,
    Event,
    Preferred,
    SweepEnded,
    SweepPaused,
    SweepResumed,
    SweepStarted,
)
from sweeper.record.launch_order import preferred
from sweeper.record.reader import open_trials
from sweeper.record.storage import filesystem
from sweeper.record.storage.inbox import SweepCommand, TrialCommand
from sweeper.record.storage.journal import JournalReader, JournalWriter
from sweeper.record.storage.leftovers import remove_leftovers
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.params import spelled
from sweeper.results.damage import not_run_again
from sweeper.results.lineage import not_restored_text
from sweeper.results.ranking import end_text
from sweeper.results.receipt import failure_of, last_output
from sweeper.results.snapshot import Display, SweepView
from sweeper.results.wording import disk_text
from sweeper.rules.needs import unmet
from sweeper.rules.rule import Rule
from sweeper.search import Search


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a tick finds in the records: the trials that changed, and those with an attempt that ended."""

    changed: Sequence[TrialRecord]
    ended: Sequence[TrialRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What rules, pruners, audits and users decide about the trials.

    Attributes:
        decisions: what rules and pruners decided about running trials, by number.
        continued: why a trial continues although it was flagged, by number.
        to_revive: numbers of trials that a disabled rule stopped and that are to be revived, in this order.
        to_discard: numbers of pruned trials that lose their checkpoints.
    """

    decisions: Mapping[int, Decision]
    continued: Mapping[int, str]
    to_revive: Sequence[int]
    to_discard: Sequence[int]


class Orchestrator:
    """Runs the trials of an opened run.

    Args:
        executor: starts and ends attempts.
        search: proposes configurations.
        rules: decide which trials to stop early.
        display: shows the sweep to the user.
        timeouts: by default the standard ones, with `hang_after_s` of the sweep file.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        run: Run,
        *,
        executor: Executor,
        search: Search,
        rules: Sequence[Rule],
        display: Display,
        timeouts: Timeouts | None = None,
    ) -> None:
        spec, directory = run.spec, run.directory
        self._run = run
        self._executor = executor
        self._display = display
        self._timeouts = timeouts or Timeouts(hang_after_s=spec.hang_after_s)
        self._resolved = spec.to_json()
        self._started, self._monotonic_start = time.time(), time.monotonic()
        self._messages = Messages(directory, spec)
        say = self._messages.say
        self._wakeup = Wakeup(say)
        self._watcher = AttemptWatcher.open(reliable=not filesystem.is_shared(directory.path))
        self._trials = Trials(rules, self._watcher)
        self._slots = SlotManager(executor, say, lambda: self._trials.count(State.WAITING))
        self._waits = WaitMonitor(executor, say, self._log)
        self._given: frozenset[str] = frozenset()
        self._ended_earlier: frozenset[int] = frozenset()
        self._clocks = Clocks()
        self._liveness = Liveness(executor, self._trials)
        self._actions = ActionRunner(self._trials, executor, self._slots, self._clocks, say, spec.resume_args)
        self._collector = Collector(spec.metrics, self._trials, self._actions.record_collected)
        self._proposals = Proposals(run, search)
        self._derivations = Derivations(self._trials, self._proposals, self._actions.record, say, repair_of(spec))
        self._audits = Audits(directory, spec.name, spec.early_stop)
        self._pruners = SweepPruners.of(directory, spec.metric, spec.early_stop)
        self._checkpoints = KeptCheckpoints(None if spec.early_stop is None else spec.early_stop.keep_parked_gb)
        self._usage = BudgetUsage(BudgetLimits.read(self._resolved), self._started)
        self._caution = Caution(self._started, lambda trial: f"{failure_of(trial)}{last_output(trial)}")
        self._disk = DiskWatch(directory.path)
        self._paused = False
        self._display_pace = Pace()

    def run(self) -> str:
        """Run the sweep until it is `complete` or `failed`, its budget is `spent`, or it is `interrupted`.

        The record is complete when this returns.

        Returns:
            Which of these it is.
        """
        spec, directory = self._run.spec, self._run.directory
        slots = tuple(self._slots.by_name)
        self._log(SweepStarted(pid=os.getpid(), host=socket.gethostname(), profile=spec.profile or "", slots=slots))
        with self._wakeup:
            self._open()
            # Started last: it reads as much, and launches come first.
            views = ViewsProcess(directory, spec.figures, self._messages.say)
            while self._tick():
                views.keep_running()
                self._sleep()
            self._collector.collect()  # of attempts that the last tick declared lost
            outcome = self._outcome()
            self._finish(outcome, views)
        self._log(SweepEnded(outcome=outcome, seconds=time.monotonic() - self._monotonic_start))
        self._show(outcome, now=True)
        return outcome

    @property
    def audit_lines(self) -> list[str]:
        """A line for each rule that flagged a trial here: what the audits say about its false-stop rate."""
        return self._audits.texts(self.trials)

    @property
    def trials(self) -> list[TrialRecord]:
        """All trials as they were last read."""
        return self._trials.all

    # ---- the start and the end ------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Read what is on the record, and make the trials that are missing."""
        directory = self._run.directory
        cached = EndedTrials(directory)
        known, stale = cached.trials, cached.stale
        known = {n: t for n, t in known.items() if self._pruners.is_closed(n) and self._collector.has_all(t)}
        if stale > len(known):
            known = {}  # most lines of `ended.jsonl` are stale: the file is written anew
        self._ended_writer = EndedWriter(directory, anew=not known)
        readers, unreadable = open_trials(directory, known)
        for number, why in unreadable.items():
            kept = f"The record of trial {number:04d} is damaged and is left as it is"
            self._messages.say(f"{kept}; its configuration runs anew: {why}")
        followed = {reader.trial.facts.number: reader for reader in readers}
        with without_garbage_collection():
            for number in sorted({*known, *followed}):
                if number in known:
                    self._trials.add([known[number]])
                else:
                    self._trials.follow([followed[number]])
        self._remove_leftovers()
        journal = JournalReader(directory.log)  # only this process appends to it while it holds the run
        log = journal.read()
        for one in (*journal.damage, *self._proposals.damage):
            self._messages.say(f"Damage in the record: {one}")
        self._trials.preferred = preferred(log)
        self._usage.add_earlier_calls(log, self.trials)
        self._usage.update(self.trials)
        for trial in self.trials:
            if trial.altered:
                self._messages.say(not_run_again(trial))
        self._grant_retries()
        self._ended_earlier = ended_earlier(self.trials, cached.trials, log)
        existing = [*self.trials, *self._trials.unreadable.values()]
        self._trials.add(self._proposals.initial(existing, {*known, *followed, *unreadable}))

    def _remove_leftovers(self) -> None:
        """Remove what killed processes did not finish to write: earlier orchestrators, and attempts that have ended."""
        remove_leftovers(self._run.directory.path)
        for follower in self._trials.followers.values():
            if follower.trial.attempts and follower.trial.state is not State.RUNNING:
                _remove_leftovers_of(follower.trial)

    def _grant_retries(self) -> None:
        """Let trials run again that failed in earlier calls, unless the hours are spent or the target is reached."""
        if not exhausted(replace(self._usage.budget, trials=None), self._used()):
            for trial in self._trials.in_state(State.FAIL):
                if not trial.altered:
                    self._actions.grant_retry(trial)

    def _outcome(self) -> str:
        left = self._trials.count(State.WAITING, State.RUNNING, State.PAUSED)
        if self._wakeup.interrupts and left:
            return "interrupted"
        if (left or not self._proposals.search.eager) and (held := self._caution.text(left)):
            self._messages.say(held)
            return "failed"
        # A trial that still runs is unkillable; one that waits although the budget covers it has no slot left.
        if self._trials.count(State.FAIL, State.RUNNING) or self._can_launch_more() or self._trials.unreadable:
            return "failed"
        return "spent" if self._is_budget_spent() and left else "complete"

    def _finish(self, outcome: str, views: ViewsProcess) -> None:
        """Wait for the views process and the notifications; one more interrupt ends the wait."""
        directory, notifier = self._run.directory, self._messages.notifier
        self._executor.close()
        self._watcher.close()
        views.finish()
        notifier.send(Happening.END, end_text(outcome, self.trials), outcome=outcome)
        notifier.finish()
        interrupts = self._wakeup.interrupts
        while not (views.ended() and notifier.is_idle()) and self._wakeup.interrupts == interrupts:
            self._show("drawing the last figures")
            self._wakeup.sleep(self._display.filenos())
        self._messages.say_once(self._troubles())
        if views.code:
            remedy = f"Draw what is missing with `sweeper tensorboard {directory.path}`"
            self._messages.say(f"The TensorBoard files are incomplete (see {directory.views_log}). {remedy}")

    # ---- one tick -------------------------------------------------------------------------------------------------

    def _tick(self) -> bool:
        """Run the steps of one tick; return whether there is anything left to wait for.

        Each step takes the results of the steps before it: read, judge, ask, plan, act, show. Each action writes to the
        record before it does anything.
        """
        reading = self._read()
        self._take_in(reading)
        commands = self._receive_commands()
        judgement = self._judge(reading, commands)
        self._ask()
        actions = plan(self._situation(commands, judgement))
        running = self._trials.count(State.RUNNING)
        self._act(actions, commands)
        # A trial that was just found lost leaves its slot to the next tick, which asks the search again.
        has_lost = self._trials.count(State.RUNNING) < running
        self._messages.say_once(self._troubles())
        self._watch_disk()
        self._report_waits()
        self._show("stopping" if self._wakeup.interrupts else "paused" if self._paused else "running")
        return has_lost or self._has_more_to_do()

    def _sleep(self) -> None:
        """Sleep until something happens; an end may come without a record of it, so liveness is checked soon."""
        if self._wakeup.sleep((*self._executor.ends(), *self._watcher.filenos(), *self._display.filenos())):
            self._liveness.check_soon()

    def _read(self) -> Reading:
        """Read what was appended to the records."""
        self._trials.refresh()
        self._liveness.check()
        self._collector.collect()
        changed = self._trials.changes()
        return Reading(changed=changed, ended=self._clocks.update(changed, time.monotonic()))

    def _take_in(self, reading: Reading) -> None:
        """Record and report what was read: health, evaluations, ends of attempts, results of configurations."""
        for trial in reading.changed:
            follower = self._trials.followers.get(trial.facts.number)
            if follower is not None and (health := follower.changes_of_health()):
                self._messages.diagnosed(trial, health)
                self._actions.record_health(trial, health)
        self._usage.update(reading.changed)
        if self._usage.reached:
            first, target = min(self._usage.reached), self._usage.budget.target
            self._messages.say_once([f"Trial {first:04d} reached the target of {target:g}: no more trials are started"])
        followers = (self._trials.followers.get(trial.facts.number) for trial in reading.changed)
        self._pruners.report(follower for follower in followers if follower is not None)
        for trial in reading.ended:
            stop_requested = trial.newest.stop is not None
            if (peak := self._executor.device_peak_mb(trial.attempt_dir)) is not None:
                self._actions.record_device_peak(trial, peak)
            _remove_leftovers_of(trial)
            self._messages.attempt_ended(trial, stop_requested=stop_requested)
            self._slots.attempt_ended(trial, stop_requested=stop_requested)
        self._derivations.attempts_ended(reading.ended)
        news = (trial for trial in reading.changed if trial.number not in self._ended_earlier)
        self._messages.say_once(filter(None, map(not_restored_text, news)))
        self._slots.refresh()
        self._caution.update([*reading.changed, *self._trials.in_state(State.RUNNING)], self._now())
        self._proposals.update(reading.changed)
        self._ended_writer.append(self._trials.ended_readers())

    def _receive_commands(self) -> UserCommands:
        """Read the users' commands, and carry out those that concern the whole sweep; return all."""
        commands = UserCommands.receive(self._run.directory, self._trials, lambda line: self._messages.say_once([line]))
        for name in commands.given.keys() - self._given:  # a file that cannot be removed is received again and again
            self._log(commands.given[name])
        self._given = frozenset(commands.given)
        for params in commands.added:
            if not is_configuration(self._run.spec, params):
                self._messages.say_once([f"Ignored a configuration with other parameters than the sweep's: {params}"])
                continue
            added = self._proposals.add(params)
            self._trials.add(added)
            if not added:
                shown = ", ".join(f"{name}={spelled(value)}" for name, value in params.items())
                self._messages.say(f"Nothing is added, because the sweep has this configuration already: {shown}")
        self._derivations.derive_asked(commands.derived)
        for numbers in commands.preferred:
            first = Preferred(trials=tuple(numbers))
            self._log(first)
            self._trials.preferred = preferred([Preferred(trials=self._trials.preferred), first])
            self._messages.say(f"First in the queue: {', '.join(f'{number:04d}' for number in numbers)}")
        if commands.sweep is SweepCommand.STOP:
            self._wakeup.interrupt()
        elif commands.sweep is not None and (commands.sweep is SweepCommand.PAUSE) is not self._paused:
            self._paused = not self._paused
            self._log(SweepPaused() if self._paused else SweepResumed())
            asked = "running trials are asked to save a checkpoint and exit"
            paused = f"The sweep is paused until `sweeper resume`: {asked}"
            self._messages.say(paused if self._paused else "The sweep is resumed")
        return commands

    def _judge(self, reading: Reading, commands: UserCommands) -> Judgement:
        """Return what rules, pruners, audits and users decide about the trials."""
        of_disabled_rules = self._stopped_by_disabled_rules(reading)
        revived = [number for number, command in commands.by_trial.items() if command is TrialCommand.REVIVE]
        decisions = self._decisions()
        continued = {n: self._audits.reason_to_continue(self._trials[n], one) for n, one in decisions.items()}
        continued |= dict.fromkeys(revived, REVIVED)
        return Judgement(
            decisions=decisions,
            continued={number: why for number, why in continued.items() if why is not None},
            to_revive=of_disabled_rules,
            to_discard=self._checkpoints.to_discard(self._trials, self._derivations.awaited),
        )

    def _decisions(self) -> dict[int, Decision]:
        followers, pruned = self._trials.followers, self._pruners.decisions
        numbers = [trial.facts.number for trial in self._liveness.alive()]
        found = ((number, followers[number].decision or pruned.get(number)) for number in numbers)
        return {number: decision for number, decision in found if decision is not None}

    def _stopped_by_disabled_rules(self, reading: Reading) -> list[int]:
        """Report the rules that the audit now disables; return the trials that they stopped, the best first."""
        numbers: list[int] = []
        for version in self._audits.update(reading.changed):
            self._messages.rule_disabled(version, self._audits.by_version[version].text())
            stopped = [trial for trial in self._trials.in_state(State.PRUNED) if version_of(trial) == version]
            numbers += [trial.facts.number for trial in sorted(stopped, key=quality, reverse=True)]
        return numbers

    def _ask(self) -> None:
        """Repair trials, and ask the search for configurations, for the slots that no trial waits for."""
        budget, used = self._usage.budget, self._used()
        if self._wakeup.interrupts or self._paused or exhausted(replace(budget, trials=None), used):
            return
        free = len(self._free_slots())
        waiting = self._to_launch(free + 1)
        wanted = free - len(waiting) + len(over_budget(budget, used, waiting))
        wanted -= self._derivations.repair(wanted)  # these count in no number of trials
        if exhausted(budget, used):
            return
        if self._caution.failed:
            wanted = min(wanted, 1) if self._caution.may_propose(self._trials.in_state(State.RUNNING)) else 0
        self._trials.add(self._proposals.further(-(-wanted // len(self._run.spec.seeds))))

    def _situation(self, commands: UserCommands, judgement: Judgement) -> Situation:
        free = self._free_slots()
        waiting = self._to_launch(len(free) + 1) if free else []
        return Situation(
            trials=[*self._trials.in_state(State.RUNNING), *waiting],
            alive={trial.facts.number for trial in self._liveness.alive()},
            free_slots=free,
            decisions=judgement.decisions,
            continued=judgement.continued,
            stop_since=self._clocks.stopped,
            stacks_since=self._clocks.stacks,
            kill_since=self._clocks.killed,
            unkillable=self._clocks.unkillable,
            step_since=self._clocks.steps,
            end_since=self._clocks.ended,
            faults=self._executor.faults(),
            over_budget=self._over_budget(waiting),
            commands=commands.by_trial,
            to_stop=commands.stops,
            to_revive=judgement.to_revive,
            to_discard=judgement.to_discard,
            stopping=self._wakeup.interrupts > 0 or self._paused,
            killing=self._wakeup.interrupts > 1,
            now=time.monotonic(),
            timeouts=self._timeouts,
        )

    def _act(self, actions: Sequence[Action], commands: UserCommands) -> None:
        """Carry out the actions, remove the commands, and end trials with records that became unreadable."""
        for action in actions:
            self._actions.run(action)
        commands.remove_files()
        for trial, why in self._trials.newly_unreadable():
            self._messages.record_unreadable(trial, why)
            self._proposals.forget(trial)
            if trial.state is State.RUNNING:  # nothing can be recorded about it any more
                self._executor.kill(trial.attempt_dir)

    def _report_waits(self) -> None:
        """Report what trials wait for that should run and have a free slot."""
        free = self._free_slots()
        is_held = self._paused or self._wakeup.interrupts or not free
        waiting = [] if is_held else list(self._trials.to_launch(len(free)))
        over = self._over_budget(waiting) if waiting else ()
        wanted = [trial for trial in waiting if trial.number not in over]
        running = self._trials.count(State.RUNNING)
        self._waits.update(wanted, free=len(free), running=running, ended=self._clocks.ended)

    def _has_more_to_do(self) -> bool:
        running = {trial.facts.number for trial in self._trials.in_state(State.RUNNING)}
        if running - self._clocks.unkillable:
            return True
        wanted = self._paused or self._can_launch_more()
        return wanted and not self._wakeup.interrupts and bool(self._slots.usable)

    # ---- slots and budget -----------------------------------------------------------------------------------------

    def _free_slots(self) -> Sequence[str]:
        unreadable = [trial for trial in self._trials.unreadable.values() if self._executor.is_alive(trial.attempt_dir)]
        taken = {
            launched.slot
            for trial in (*self._trials.in_state(State.RUNNING), *unreadable)
            if (launched := trial.newest.launched) is not None
        }
        return self._slots.free(taken)

    def _used(self) -> Usage:
        return self._usage.total(self._trials.in_state(State.RUNNING), self._now())

    def _is_budget_spent(self) -> bool:
        return bool(exhausted(self._usage.budget, self._used()))

    def _over_budget(self, waiting: Sequence[TrialRecord]) -> AbstractSet[int]:
        """Return the numbers of the waiting trials that the budget does not cover, or that are held."""
        held = self._caution.held(waiting, self._trials.in_state(State.RUNNING))
        return held | over_budget(self._usage.budget, self._used(), waiting)

    def _to_launch(self, new: int) -> list[TrialRecord]:
        """Return the waiting trials in their order: `new` that never ran, or all if some of them may not start."""
        budget = self._usage.budget.trials
        is_scarce = budget is not None and budget - self._used().trials < new  # derived trials may wait behind
        return list(self._trials.to_launch(len(self._trials) if self._caution.failed or is_scarce else new))

    def _can_launch_more(self) -> bool:
        """Return whether a trial waits or is paused that the budget covers."""
        waiting = [*self._to_launch(1), *self._trials.in_state(State.PAUSED)]
        return len(self._over_budget(waiting)) < len(waiting)

    def _now(self) -> float:
        """Return seconds since the epoch, counted from the start of this call: setting the clock uses no budget."""
        return self._started + time.monotonic() - self._monotonic_start

    # ---- the record and the user ----------------------------------------------------------------------------------

    def _troubles(self) -> Sequence[str]:
        notes = (*self._proposals.search.notes, *self._proposals.notes)
        return (*self._executor.troubles(), *self._messages.notifier.troubles(), *notes)

    def _watch_disk(self) -> None:
        """Warn of a disk that fills up, on the record too, where `sweeper status` finds it."""
        if (filling := self._disk.check(time.monotonic())) is not None:
            self._log(filling)
            self._messages.say(disk_text(filling, self._run.directory.path))

    def _log(self, event: Event) -> None:
        with JournalWriter(self._run.directory.log) as log:
            log.append(replace(event, time=time.time()), sync=True)

    def _show(self, state: str, *, now: bool = False) -> None:
        """Show the sweep if that is due: drawing a table of many trials takes a bounded share of the time."""
        if not (self._display.pressed() or now or self._display_pace.is_due()):
            return
        count, moment = len(self._trials), self._now()
        most = self._run.spec.most_trials
        cap = None if most is None else max(most, count)
        with self._display_pace.measure():
            self._display.update(
                SweepView(
                    name=self._run.spec.name,
                    title=self._run.spec.title,
                    state=state,
                    trials=self.trials,
                    total=count if self._proposals.search.eager else cap,
                    slots=tuple(self._slots.by_name),
                    now=moment,
                    started=self._started,
                    messages=tuple(self._messages.lines),
                    unmet=unmet(self._resolved["early_stop"], self.trials, moment, self._resolved["metrics"]),
                    waiting=self._waits.recorded,
                    ended_earlier=self._ended_earlier,
                )
            )


def _remove_leftovers_of(trial: TrialRecord) -> None:
    """Remove temporary files of a trial without a running attempt."""
    attempts = (trial.directory.attempt(attempt.number).path for attempt in trial.attempts)
    remove_leftovers(trial.directory.path, trial.directory.checkpoints, *attempts)
