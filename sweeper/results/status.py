"""Read the status of a sweep from its record alone, whether or not an orchestrator is running."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sweeper.record.budget import BudgetLimits, Usage, exhausted, over_budget
from sweeper.record.derivation import START, Derivation
from sweeper.record.events import (
    DiskFilling,
    Event,
    Lost,
    SweepEnded,
    SweepPaused,
    SweepResumed,
    SweepStarted,
    SweepWaiting,
)
from sweeper.record.marks import mark
from sweeper.record.reader import is_alive
from sweeper.record.storage.checksums import Damage
from sweeper.record.storage.journal import JournalReader
from sweeper.record.storage.layout import SweepDir, read_json
from sweeper.record.storage.lease import is_held
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.redaction import redacted_values
from sweeper.results.front import front_of, trial_ranks
from sweeper.results.health.trial_health import health_to_json, is_healthy, unobserved_text
from sweeper.results.per_trial import Columns
from sweeper.results.rested import Rested
from sweeper.results.snapshot import SweepView
from sweeper.results.spikes import spikes_to_json
from sweeper.results.trial_messages import damaged_places, end_lines, lines_on_damage, not_restored_lines
from sweeper.results.trial_set import SETTLED_S, TrialSet
from sweeper.results.wording import counted, disk_text, plain
from sweeper.rules.needs import unmet


def read_sweep(run: SweepDir) -> SweepView:
    """Return the sweep as recorded now; see `SweepReader.read`."""
    return SweepReader(run).read()


class SweepReader:
    """Reads the record of a sweep repeatedly; each call of `read` reads only what was appended since the last.

    Attributes:
        trials: the trials as their records have them.
        changed: the numbers of the trials that were new, changed or gone in the last call of `read`.
        marked: the trials of the last call by number, marked as lost where no process runs them.
        columns: columns of these trials.
    """

    def __init__(self, run: SweepDir) -> None:
        self._run = run
        self._held = False
        self._spec, self._log = _File(run.spec), _File(run.log)
        self.trials = TrialSet(run)
        self.changed: set[int] = set()
        self.marked: dict[int, TrialRecord] = {}
        self.columns = Columns()
        self._unmet: Rested[tuple[str, ...]] = Rested()
        self._changes = 0

    def read(self) -> SweepView:
        """Return the sweep as recorded now.

        Its state is RUNNING or PAUSED while an orchestrator holds the lease; otherwise COMPLETE or FAIL, or STOPPED if
        trials are left. Trials that cannot be read are listed in `unreadable` and are not counted.

        Raises:
            RecordError: the spec cannot be read.
        """
        run, held = self._run, is_held(self._run.lease)
        self.changed, unreadable = self._marked(self.trials.poll(), held=held), self.trials.unreadable
        self.columns.take(self.marked, self.changed)
        self._changes += bool(self.changed)
        trials = list(self.marked.values())
        log, own = self._log.read(_events)
        starts = [event for event in log if isinstance(event, SweepStarted)]
        ends = [event for event in log if isinstance(event, SweepEnded)]
        resolved = self._spec.read(read_json)
        budget = BudgetLimits.read(resolved.get("spec"))
        spec, now = resolved.get("spec"), ends[-1].time if ends and not held else time.time()
        return SweepView(
            name=str(resolved.get("name", run.path.name)),
            state=self._state(log, held=held),
            trials=trials,
            total=len(trials),
            slots=starts[-1].slots if starts else (),
            now=now,
            started=starts[0].time if starts else time.time(),
            messages=(
                *self._lines(end_lines),
                *self._lines(not_restored_lines),
                *self._lines(lines_on_damage),
                *own,
                *unreadable.values(),
                *_disk(run, log, held=held),
            ),
            damage=(*self._lines(damaged_places), *own),
            unreadable=tuple(unreadable.values()),
            unstarted=_unstarted(budget, trials, log, running=held),
            unmet=self._unmet.of(
                (self._changes, int(now)), lambda: _as_recorded(_unmet(spec, trials, now), trials), rests=held
            ),
            title=str(spec.get("title", "")) if isinstance(spec, dict) else "",
            waiting=_waiting(log) if held else None,
            limits=budget,
            log=log,
        )

    def _marked(self, polled: set[int], *, held: bool) -> set[int]:
        """Mark the trials that no process runs; return which are new, changed or gone since the last call."""
        recorded, before = self.trials.trials, self.marked
        running = () if held and self._held else self.columns.of(_running)
        self._held, marked = held, dict(before)
        for number in polled.union(running):
            if (trial := recorded.get(number)) is None:
                marked.pop(number, None)
            elif number in polled or _marked_lost(trial, held=held) != before[number]:
                marked[number] = _marked_lost(trial, held=held)
        changed = {number for number in polled.union(running) if marked.get(number) is not before.get(number)}
        self.marked = marked if marked.keys() == before.keys() else {number: marked[number] for number in recorded}
        return changed

    def _lines(self, of: Callable[[TrialRecord], Sequence[str] | None]) -> Iterator[str]:
        """Yield what is to be said of trials, in the order of their numbers."""
        for _, lines in sorted(self.columns.of(of).items()):
            yield from lines

    def _state(self, log: Sequence[Event], *, held: bool) -> str:
        if held:
            words = [event for event in log if isinstance(event, SweepStarted | SweepPaused | SweepResumed)]
            return "PAUSED" if words and isinstance(words[-1], SweepPaused) else "RUNNING"
        states = set(self.columns.of(state_word).values())
        if not states or states & {State.WAITING, State.RUNNING, State.PAUSED}:
            return "STOPPED"
        return "FAIL" if State.FAIL in states else "COMPLETE"


T = TypeVar("T")


@dataclass(slots=True)
class _File:
    """A small file that is read whole, and only again if it has changed."""

    path: Path
    _known: tuple[tuple[int, int], Any] | None = None

    def read(self, reading: Callable[[Path], T]) -> T:
        before = mark(str(self.path))
        if self._known is None or self._known[0] != before or time.time() - before[1] / 1e9 < SETTLED_S:
            self._known = before, reading(self.path)
        found: T = self._known[1]
        return found


def _events(path: Path) -> tuple[list[Event], list[str]]:
    """Return the events of a journal, and a line for each place where it is damaged."""
    journal = JournalReader(path)
    return journal.read(), [plain(str(one)) for one in _all_damage(journal)]


def state_word(trial: TrialRecord) -> str:
    """Return the state of a trial, for a column."""
    return trial.state.value


def _running(trial: TrialRecord) -> bool | None:
    """Return whether a trial runs, or may have been marked as lost."""
    return trial.state is State.RUNNING or (trial.newest.lost is not None and trial.newest.exit is None) or None


def to_json(sweep: SweepView) -> dict[str, object]:
    """Return the sweep for programs, without secrets. The keys are public (docs/reference/status-json.md)."""
    ranks = trial_ranks(sweep.trials)
    sweep_as_json = {
        "name": sweep.name,
        "state": sweep.state,
        "trials": [trial_to_json(trial, sweep.now, ranks.get(trial.facts.number)) for trial in sweep.trials],
        "unreadable": list(sweep.unreadable),
        "damage": list(sweep.damage),
        "unmet": list(sweep.unmet),
        "front": [trial.facts.number for trial in front_of(sweep.trials)],
        "waiting": None if sweep.waiting is None else _waiting_to_json(sweep.waiting),
    }
    return redacted_values(sweep_as_json)


NO_CALL = "no script calls trial.watch(model, optimizer)"
"""The wording of `rules.needs` for a script that was not observed."""


def _unmet(spec: object, trials: Sequence[TrialRecord], now: float) -> Sequence[str]:
    given = spec if isinstance(spec, Mapping) else {}
    return unmet(given.get("early_stop"), trials, now, given.get("metrics"))


def _as_recorded(lines: Sequence[str], trials: Sequence[TrialRecord]) -> tuple[str, ...]:
    """Return the lines on unmet needs; if a script calls `trial.watch`, with the reason that its record gives."""
    if not any(NO_CALL in line for line in lines):
        return tuple(lines)
    begun = next((trial for trial in trials if trial.step >= 0 and trial.progress.parameters is not None), None)
    if begun is None:
        return tuple(lines)
    return tuple(line.replace(NO_CALL, f"trial {begun.number:04d}: {unobserved_text(begun)}") for line in lines)


def trial_to_json(trial: TrialRecord, now: float, rank: int | None) -> dict[str, object]:
    """Return a trial as `to_json` has it; `rank` is that of `results.front.trial_ranks`."""
    names, values = [goal.name for goal in trial.facts.goals], trial.values
    stop, continued = trial.newest.stop, trial.continued
    pruned = stop.decision if trial.state is State.PRUNED and stop is not None else None
    return {
        "number": trial.facts.number,
        "params": dict(trial.facts.params),
        "seed": trial.facts.seed,
        "state": trial.state.value,
        "value": trial.value,
        "values": None if values is None else dict(zip(names, values, strict=True)),
        "constraints": {name: value if math.isfinite(value) else None for name, value in trial.constrained.items()},
        "feasible": trial.is_feasible,
        "rank": rank,
        "step": trial.progress.step if trial.progress.step >= 0 else None,
        "total_steps": trial.progress.total_steps,
        "pruned": None if pruned is None else pruned.to_json(),
        "spared": None if continued is None else {"as": continued.cause, **continued.decision.to_json()},
        "cause": trial.newest.cause or None,
        "attempts": len(trial.attempts),
        "seconds": round(trial.seconds(now), 3),
        "derived": derived_to_json(trial.facts.derived),
        "skipped": trial.progress.skipped,
        "spikes": spikes_to_json(trial.progress),
        "damaged": trial.damaged,
        "health": health_to_json(trial),
        "healthy": is_healthy(trial),
    }


def derived_to_json(derived: Derivation | None) -> dict[str, object] | None:
    """Return how a trial was derived as `to_json` has it; None if it was not."""
    if derived is None:
        return None
    return {
        "parent": derived.parent,
        "step": None if derived.step == START else derived.step,
        "changes": dict(derived.changes),
        "lr_factor": derived.lr_factor,
        "fresh_optimizer": derived.fresh_optimizer,
        "by": derived.by or None,
        "reason": derived.reason or None,
        "diagnosis": derived.diagnosis or None,
    }


def _unstarted(budget: BudgetLimits, trials: Sequence[TrialRecord], log: Sequence[Event], *, running: bool) -> str:
    """Return a sentence on the spent budget and the trials that it left; empty if the budget is not spent."""
    if budget == BudgetLimits():
        return ""
    spending = Usage.of(trials, log, now=time.time(), running=running, limits=budget)
    over = exhausted(budget, spending)
    left = len(over_budget(budget, spending, (trial for trial in trials if trial.state is State.WAITING)))
    if not over or not (left or spending.reached):
        return ""
    if spending.reached:
        held = f": {counted(left, 'trial was', 'trials were')} not started or not finished" if left else ""
        return f"{over[0].capitalize()} is reached, so no more trials are started{held}."
    verb = "is" if len(over) == 1 else "are"
    text = (
        f"{' and '.join(over)} {verb} spent: {counted(left, 'trial was', 'trials were')} not started or not finished."
    )
    return text[0].upper() + text[1:]


def _all_damage(journal: JournalReader) -> Iterator[Damage]:
    yield from journal.damage
    if journal.incomplete is not None:
        yield journal.incomplete


def _disk(run: SweepDir, log: Sequence[Event], *, held: bool) -> tuple[str, ...]:
    """Return the last warning of the disk in this call of `sweeper run`; nothing if no process runs the sweep."""
    events = [event for event in log if isinstance(event, SweepStarted | DiskFilling)]
    last = events[-1] if events and held else None
    return (disk_text(last, run.path),) if isinstance(last, DiskFilling) else ()


def _marked_lost(trial: TrialRecord, *, held: bool) -> TrialRecord:
    """Return the trial, marked as lost if it is recorded as running but neither its process nor an orchestrator is."""
    if held or trial.state is not State.RUNNING or is_alive(trial.attempt_dir):
        return trial
    lost = Lost(attempt=trial.newest.number, time=trial.progress.latest)
    return trial.after([lost])


def _waiting(log: Sequence[Event]) -> SweepWaiting | None:
    """Return what trials wait for since the last start of an orchestrator, None if they do not."""
    found = next((event for event in reversed(log) if isinstance(event, SweepWaiting | SweepStarted)), None)
    return found if isinstance(found, SweepWaiting) and found.reasons else None


def _waiting_to_json(wait: SweepWaiting) -> dict[str, object]:
    return {"since": wait.since, "reasons": list(wait.reasons), "sweeps": list(wait.sweeps)}
