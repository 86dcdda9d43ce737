"""Wait for something in a run: its end, a flagged trial, the end of a trial, or a step of one.

The record is looked at a few times a second. What can never happen, because no process runs the sweep or the trial has
ended, ends the wait at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sweeper.errors import RecordError, UsageError
from sweeper.record.events import SweepEnded, SweepStarted
from sweeper.record.reader import TrialReader, is_alive
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import is_held
from sweeper.record.trial import State, TrialRecord
from sweeper.results.health.advice import was_flagged
from sweeper.results.health.trial_health import has_failed
from sweeper.results.ranking import end_text
from sweeper.results.receipt import end_line
from sweeper.results.status import SweepReader, read_sweep
from sweeper.results.wording import decided_by, plain
from sweeper.service.answers.machine import Waited

HAPPENED, TIMEOUT, NEVER = "happened", "timeout", "never"
"""The outcomes of a wait."""
LOOK_EVERY_S, PART = 0.2, 0.1
"""How often the record is looked at, and the most of the time that this may take."""
EVENTS = re.compile(r"end|flag|trial:(?P<trial>\d+)|step:(?P<number>\d+):(?P<step>\d+)")


@dataclass(frozen=True, slots=True)
class _Found:
    """What ends a wait, in words: it happened, or it never will."""

    outcome: str
    text: str


_Look = Callable[[], _Found | None]


def wait(
    run: SweepDir,
    event: str,
    *,
    timeout: float | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Waited:
    """Wait until something happens in a run.

    Args:
        run: the run.
        event: `end` (of the sweep), `flag` (a rule flags a trial that was not flagged before, or a diagnosis that stops
            trials begins to hold), `trial:7` (trial 7 ends) or `step:7:500` (trial 7 reaches optimizer step 500).
        timeout: maximum number of seconds; by default, no limit.
        now: the clock, in seconds.
        sleep: waits for so many seconds.

    Raises:
        UsageError: `event` is none of these.
        RecordError: the run cannot be read.
    """
    look, begun = _look_for(run, event), now()
    while True:
        looked = now()
        found = look()
        if found is None and timeout is not None and now() - begun >= timeout:
            found = _Found(TIMEOUT, f"{run.path}: {event} did not happen within {timeout:g} s")
        if found is not None:
            return Waited(
                run=str(run.path),
                event=event,
                outcome=found.outcome,
                happened=found.outcome == HAPPENED,
                text=found.text,
                seconds=round(now() - begun, 3),
            )
        pause = max(LOOK_EVERY_S, (now() - looked) / PART)
        sleep(pause if timeout is None else max(0.0, min(pause, begun + timeout - now())))


def _look_for(run: SweepDir, event: str) -> _Look:
    match = EVENTS.fullmatch(event)
    if match is None:
        raise UsageError(f"--for: expected end, flag, trial:NUMBER or step:NUMBER:STEP, got {event!r}")
    if match["trial"] is not None:
        return _TrialLook(run, int(match["trial"])).ended
    if match["number"] is not None:
        trial, step = _TrialLook(run, int(match["number"])), int(match["step"])
        return lambda: trial.at(step)
    return _EndLook(run).look if event == "end" else _FlagLook(run).look


@dataclass(slots=True)
class _EndLook:
    """Looks for the end of a sweep: no process runs it any more."""

    run: SweepDir

    def look(self) -> _Found | None:
        if is_held(self.run.lease):
            return None
        sweep = read_sweep(self.run)
        if is_held(self.run.lease):  # it was started meanwhile
            return None
        text = f"{self.run.path}: {end_text(_outcome(self.run) or sweep.state.lower(), sweep.trials)}"
        if sweep.state != "STOPPED" or _outcome(self.run):
            return _Found(HAPPENED, text)
        return _Found(NEVER, f"{_not_running(self.run)} and trials are left, so it does not end by itself")


@dataclass(slots=True)
class _FlagLook:
    """Looks for a trial that is flagged since the first look."""

    run: SweepDir
    _reader: SweepReader = field(init=False)
    _before: frozenset[int] | None = None

    def __post_init__(self) -> None:
        self._reader = SweepReader(self.run)

    def look(self) -> _Found | None:
        running = is_held(self.run.lease)  # before the reading: then what is read is all
        sweep = self._reader.read()
        if self._before is None:
            self._before = frozenset(trial.number for trial in sweep.trials if _is_flagged(trial))
        else:
            for number in sorted(self._reader.changed & self._reader.marked.keys()):
                if number not in self._before and _is_flagged(trial := self._reader.marked[number]):
                    return _Found(HAPPENED, _flag_text(trial))
        if running or any(trial.state is State.RUNNING for trial in sweep.trials):
            return None
        return _Found(NEVER, f"{_not_running(self.run)}, so no trial will be flagged")


@dataclass(slots=True)
class _TrialLook:
    """Looks at one trial, which may not exist yet."""

    run: SweepDir
    number: int
    _reader: TrialReader | None = None

    def ended(self) -> _Found | None:
        running, trial = is_held(self.run.lease), self._read()
        if trial is not None and trial.state.ended:
            return _Found(HAPPENED, f"{self.number:04d} {end_line(trial)}")
        return self._never(trial, running=running, what="end")

    def at(self, step: int) -> _Found | None:
        running, trial = is_held(self.run.lease), self._read()
        if trial is not None and trial.step >= step:
            return _Found(HAPPENED, f"{self.number:04d} is at step {trial.step}")
        if trial is not None and trial.state.ended:
            text = f"{self.number:04d} {end_line(trial)}; it will not reach step {step}"
            return _Found(NEVER, text)
        return self._never(trial, running=running, what=f"reach step {step}")

    def _never(self, trial: TrialRecord | None, *, running: bool, what: str) -> _Found | None:
        """Return that a trial that has not ended never does what is waited for; None if it may."""
        if running or (trial is not None and trial.state is State.RUNNING and is_alive(trial.attempt_dir)):
            return None
        state = "does not exist" if trial is None else f"is {trial.state.value}"
        return _Found(NEVER, f"{_not_running(self.run)}, and trial {self.number:04d} {state}, so it will not {what}")

    def _read(self) -> TrialRecord | None:
        directory = self.run.trial(self.number)
        if self._reader is None:
            if directory.is_unmade or not directory.facts.exists():
                return None
            self._reader = TrialReader.open(directory)
        self._reader.poll()
        return self._reader.trial


def _is_flagged(trial: TrialRecord) -> bool:
    return was_flagged(trial) or has_failed(trial)


def _flag_text(trial: TrialRecord) -> str:
    """Return which trial was flagged, by what and why."""
    decision = trial.continued.decision if trial.continued is not None else None
    if decision is None and trial.newest.stop is not None:
        decision = trial.newest.stop.decision
    if decision is not None:
        return plain(f"{trial.number:04d} was flagged by {decided_by(decision)}: {decision.reason}")
    last = next((event for event in reversed(trial.diagnosed) if event.holds), None)
    what = "" if last is None else f": {last.diagnosis} since step {last.since}: {last.reason}"
    return plain(f"{trial.number:04d} was flagged{what}")


def _not_running(run: SweepDir) -> str:
    return f"{run.path}: no process runs this sweep"


def _outcome(run: SweepDir) -> str:
    """Return how the last call of `sweeper run` ended; empty if it was killed, or if there was none."""
    try:
        log = read_journal(run.log)
    except RecordError:
        return ""
    last = next((event for event in reversed(log) if isinstance(event, SweepStarted | SweepEnded)), None)
    return last.outcome if isinstance(last, SweepEnded) else ""
