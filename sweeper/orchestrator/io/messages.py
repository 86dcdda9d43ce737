"""Report to the user what happens in a sweep: as lines below the live table, and as notifications."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence

from sweeper.config import Happening, SweepSpec
from sweeper.orchestrator.io.notifications import Notifier
from sweeper.record.causes import Cause
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.output import cut_of
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.redaction import redacted
from sweeper.results.damage import damage_lines
from sweeper.results.receipt import cause_text, end_line, retry_text
from sweeper.results.restart import has_checkpoint, restart_text
from sweeper.rules.diagnoses import DIAGNOSES, Diagnosis, Effect
from sweeper.rules.health import Change

_NOTIFIED = {State.FAIL: Happening.FAILURE, State.PRUNED: Happening.PRUNE}
FULL_DISK = 1 << 16
"""Bytes; with less free space than that, the disk counts as full."""


class Messages:
    """Collects the `lines` for the user, oldest first, and sends notifications."""

    def __init__(self, run: SweepDir, spec: SweepSpec) -> None:
        self.lines: list[str] = []
        self.notifier = Notifier(run, spec.name, spec.notify)
        rules = () if spec.early_stop is None else spec.early_stop.rules
        self._resume_args = spec.resume_args
        self._stopping_diagnoses = {rule.name for rule in rules if isinstance(rule, Diagnosis)}

    def say(self, line: str) -> None:
        """Add a line."""
        self.lines.append(redacted(line))

    def say_once(self, lines: Iterable[str]) -> None:
        """Add the lines that were not added before."""
        for line in map(redacted, lines):
            if line not in self.lines:
                self.say(line)

    def attempt_ended(self, trial: TrialRecord, *, stop_requested: bool) -> None:
        """Report how the newest attempt of a trial ended.

        Args:
            stop_requested: whether this orchestrator asked the attempt to stop.
        """
        name = f"{trial.facts.number:04d}"
        self.say_once(damage_lines([trial]))
        if trial.state is State.WAITING and not stop_requested:
            self.say(f"Trial {name} ended: {cause_text(trial.newest)}; {retry_text(trial)}")
        if trial.state is State.PAUSED and stop_requested and not has_checkpoint(trial):
            self.say(f"Trial {name} is paused: {restart_text(trial, self._resume_args)}")
        if trial.newest.cause == Cause.LOST and shutil.disk_usage(trial.directory.path).free < FULL_DISK:
            # On a full disk neither the worker nor its shim could record how the attempt ended.
            self.say(f"{trial.directory.path}: No space left on device. Free some space and call `sweeper run` again")
        if (cut := cut_of(trial.attempt_dir)) is not None:
            removed = f"the middle of its output, {(cut.end - cut.begin) / 1e6:.0f} MB, was removed"
            self.say(f"Trial {name} printed more than output_limit_mb allows: {removed}")
        if trial.state in _NOTIFIED:
            self.notifier.send(_NOTIFIED[trial.state], f"{name} {end_line(trial)}", trial=trial.facts.number)

    def diagnosed(self, trial: TrialRecord, changes: Sequence[Change]) -> None:
        """Report the failures that begin to hold and that no rule stops, each once per trial.

        A failure that a rule stops is not reported here, because the stop is.
        """
        reported = {event.diagnosis for event in trial.diagnosed} | self._stopping_diagnoses
        for change in changes:
            is_failure = change.holds and DIAGNOSES[change.diagnosis].effect is Effect.STOPS
            if is_failure and change.diagnosis not in reported:
                reported.add(change.diagnosis)
                found = f"Trial {trial.number:04d} is diagnosed as {change.diagnosis} at step {change.step}"
                self.say(f"{found}: {change.reason}")

    def rule_disabled(self, version: str, audit: str) -> None:
        """Report that the audit disabled a version of a rule; `audit` is the result of the audit in words."""
        text = f"The rule {version} is disabled and stops no more trials, because it is wrong too often: {audit}"
        self.say(text)
        self.notifier.send(Happening.BREAKER, text, rule=version)

    def record_unreadable(self, trial: TrialRecord, why: str) -> None:
        """Report that the record of a trial has become unreadable."""
        self.say(f"Trial {trial.facts.number:04d} is abandoned, and the next `sweeper run` starts it anew: {why}")
