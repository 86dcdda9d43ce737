"""What became of a sweep, from the record alone, whether or not anything runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sweeper.errors import RecordError
from sweeper.record.budget import Budget, Spending, barred, spent
from sweeper.record.ended import Recalled
from sweeper.record.events import Event, Lost, SweepEnded, SweepPaused, SweepResumed, SweepStarted
from sweeper.record.fold import State, control_of
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir, read_json
from sweeper.record.storage.lease import is_held
from sweeper.record.trial import Trial, TrialReader, is_alive, open_trials
from sweeper.results.health.trial_health import OwnHealth, health_to_json, is_healthy, unobserved_text
from sweeper.results.receipt import cause_text, failure_of
from sweeper.results.snapshot import SweepView
from sweeper.results.wording import counted
from sweeper.rules.needs import unmet


def read_sweep(run: SweepDir) -> SweepView:
    """The sweep as its record has it now; see `SweepReader.read`."""
    return SweepReader(run).read()


class SweepReader:
    """Reads the record of a sweep, again and again; what it has read it does not read once more."""

    def __init__(self, run: SweepDir) -> None:
        self._run = run
        self._readers: dict[int, TrialReader] = {}
        self._health: dict[int, OwnHealth] = {}
        self._diagnosed: dict[int, Trial] = {}
        self._recalled = Recalled(run)
        self._again = False

    def read(self) -> SweepView:
        """The sweep as its record has it now.

        Its state is RUNNING or PAUSED while an orchestrator holds the lease, else COMPLETE, FAIL, or STOPPED where
        trials are left. Trials that cannot be read are named in `unreadable`, and count for nothing.

        Raises:
            RecordError: the spec cannot be read.
        """
        run, held = self._run, is_held(self._run.lease)
        known, unreadable = self._trials()
        trials = [_as_it_stands(trial, held=held) for trial in known]
        log = read_journal(run.log)
        starts = [event for event in log if isinstance(event, SweepStarted)]
        ends = [event for event in log if isinstance(event, SweepEnded)]
        resolved = read_json(run.spec)
        budget = Budget.read(resolved.get("spec"))
        spec, now = resolved.get("spec"), ends[-1].time if ends and not held else time.time()
        return SweepView(
            name=str(resolved.get("name", run.path.name)),
            state=_state(trials, log, held=held),
            trials=trials,
            total=len(trials),
            slots=starts[-1].slots if starts else (),
            now=now,
            started=starts[0].time if starts else time.time(),
            messages=(*_ends(trials), *_damage(trials), *unreadable.values()),
            unreadable=tuple(unreadable.values()),
            unstarted=_unstarted(budget, trials, log, running=held),
            unmet=_as_recorded(
                unmet(spec.get("early_stop") if isinstance(spec, Mapping) else None, trials, now), trials
            ),
        )

    def _trials(self) -> tuple[list[Trial], dict[int, str]]:
        """All trials by number; why the others cannot be read, by number too."""
        if self._again:
            self._recalled.look_again()
        self._again = True
        opened, unreadable = open_trials(self._run, {*self._recalled.trials, *self._readers})
        self._readers |= {reader.trial.facts.number: reader for reader in opened}
        for number, reader in list(self._readers.items()):
            try:
                entries = reader.poll()
            except RecordError as error:
                unreadable[number] = str(error)
                del self._readers[number]
            else:
                self._diagnosed[number] = self._health.setdefault(number, OwnHealth()).take(reader, entries)
        found = {**self._recalled.trials, **{number: self._diagnosed[number] for number in self._readers}}
        return [found[number] for number in sorted(found)], unreadable


def to_json(sweep: SweepView) -> dict[str, object]:
    """The sweep for programs; the keys are a public contract (docs/reference.md)."""
    return {
        "name": sweep.name,
        "state": sweep.state,
        "trials": [_trial_to_json(trial, sweep.now) for trial in sweep.trials],
        "unreadable": list(sweep.unreadable),
        "unmet": list(sweep.unmet),
    }


NO_CALL = "no script calls trial.watch(model, optimizer)"
"""What `rules.needs` says of every script that was not observed."""


def _as_recorded(lines: Sequence[str], trials: Sequence[Trial]) -> tuple[str, ...]:
    """The lines on what rules wait for, where they say of scripts that do call `trial.watch` what the record has."""
    if not any(NO_CALL in line for line in lines):
        return tuple(lines)
    begun = next((trial for trial in trials if trial.step >= 0 and trial.progress.parameters is not None), None)
    if begun is None:
        return tuple(lines)
    return tuple(line.replace(NO_CALL, f"trial {begun.number:04d}: {unobserved_text(begun)}") for line in lines)


def _trial_to_json(trial: Trial, now: float) -> dict[str, object]:
    stop, spared = trial.control.stop, trial.control.spared
    pruned = stop.decision if trial.state is State.PRUNED and stop is not None else None
    return {
        "number": trial.facts.number,
        "params": dict(trial.facts.params),
        "seed": trial.facts.seed,
        "state": trial.state.value,
        "value": trial.value,
        "step": trial.progress.step if trial.progress.step >= 0 else None,
        "total_steps": trial.progress.total_steps,
        "pruned": None if pruned is None else dict(pruned),
        "spared": None if spared is None else {"as": spared.spared, **spared.decision},
        "cause": trial.cause(trial.control.attempt) or None,
        "attempts": len(trial.control.launched),
        "seconds": round(trial.seconds(now), 3),
        "skipped": trial.progress.skipped,
        "damaged": trial.damaged,
        "health": health_to_json(trial),
        "healthy": is_healthy(trial),
    }


def _unstarted(budget: Budget, trials: Sequence[Trial], log: Sequence[Event], *, running: bool) -> str:
    if budget == Budget():
        return ""
    spending = Spending.of(trials, log, now=time.time(), running=running)
    over = spent(budget, spending)
    left = len(barred(budget, spending, (trial for trial in trials if trial.state is State.WAITING)))
    if not over or not left:
        return ""
    verb = "is" if len(over) == 1 else "are"
    text = (
        f"{' and '.join(over)} {verb} spent: {counted(left, 'trial was', 'trials were')} not started or not finished."
    )
    return text[0].upper() + text[1:]


def _ends(trials: Sequence[Trial]) -> Iterator[str]:
    """Why trials failed, and why others are to be run again."""
    for trial in trials:
        if trial.state is State.FAIL:
            yield f"{trial.number:04d} failed: {failure_of(trial)}"
        elif trial.state is State.WAITING and trial.control.attempt and trial.control.stop is None:
            yield f"{trial.number:04d} is to be run again: {cause_text(trial, trial.control.attempt)}"


def _damage(trials: Sequence[Trial]) -> tuple[str, ...]:
    damaged = [trial for trial in trials if trial.damaged]
    if not damaged:
        return ()
    lines = counted(sum(trial.damaged for trial in damaged), "line", "lines")
    where = ", ".join(f"{trial.facts.number:04d}" for trial in damaged)
    return (f"{lines} of the record could not be read: trial {where}",)


def _as_it_stands(trial: Trial, *, held: bool) -> Trial:
    """A trial that is running by its record, though nobody runs it nor watches over it, is lost: it will be resumed."""
    if held or trial.state is not State.RUNNING or is_alive(trial.attempt):
        return trial
    lost = Lost(attempt=trial.control.attempt, time=trial.progress.latest)
    return replace(trial, control=control_of([lost], trial.control))


def _state(trials: Sequence[Trial], log: Sequence[Event], *, held: bool) -> str:
    states = {trial.state for trial in trials}
    if held:
        words = [event for event in log if isinstance(event, SweepStarted | SweepPaused | SweepResumed)]
        return "PAUSED" if words and isinstance(words[-1], SweepPaused) else "RUNNING"
    if not trials or states & {State.WAITING, State.RUNNING, State.PAUSED}:
        return "STOPPED"
    return "FAIL" if State.FAIL in states else "COMPLETE"
