"""Follow one trial: read its record as it grows, run the rules over it, and collect its evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import RecordError
from sweeper.record.decision import Decision
from sweeper.record.events import Event, Metrics
from sweeper.record.inheritance import inherited, takes_over
from sweeper.record.progress import Evaluation, evaluations
from sweeper.record.reader import TrialReader, step_of
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import HistoryEntry, TrialRecord
from sweeper.rules.health import Change, Health, HealthState
from sweeper.rules.rule import Rule


@dataclass(slots=True)
class Follower:
    """The reader of a trial, and the states of the rules over its history.

    The rules are run only when their `decision` is asked for, so that taking over a thousand waiting trials costs
    nothing until they run.

    Attributes:
        evaluations: the values of the sweep's metric.
        optimizer_step: the newest step that the newest attempt reported itself; None if it has reported none.
        reported: the metrics that the newest attempt reported itself.
        unreadable: why the record can no longer be read; empty while it can. The trial is then as it was last read.
    """

    reader: TrialReader
    rules: Sequence[Rule]
    evaluations: list[Evaluation] = field(default_factory=list)
    optimizer_step: int | None = None
    reported: set[str] = field(default_factory=set)
    unreadable: str = ""
    _states: list[Any] = field(init=False)
    _unjudged: list[Event] = field(init=False)
    _decision: Decision | None = field(init=False)
    _is_judged: bool = False
    _has_inherited: bool = False
    _attempt: int = 0

    def __post_init__(self) -> None:
        self._restart()

    @classmethod
    def of(cls, trial: TrialDir, rules: Sequence[Rule]) -> Follower:
        """Return a follower at the start of a trial's record.

        Raises:
            RecordError: the facts of the trial cannot be read.
        """
        return cls(TrialReader.open(trial), rules)

    @property
    def trial(self) -> TrialRecord:
        """The trial as last read."""
        return self.reader.trial

    @property
    def decision(self) -> Decision | None:
        """The first decision of a rule over what was read; it holds until a later attempt rewrites the history."""
        self._is_judged = True
        unjudged, self._unjudged = self._unjudged, []
        for event in unjudged:
            if not self._has_inherited and takes_over(event, self.trial.facts.derived):
                self._inherit()
            for index, rule in enumerate(self.rules):
                self._states[index], decision = rule.step(self._states[index], event)
                self._decision = self._decision or decision
        return self._decision

    def _inherit(self) -> None:
        """Run the rules over what the ancestors measured up to the checkpoint, without deciding anything by it.

        Otherwise a run that continues would be compared with the level of its checkpoint, as if it had begun there.
        """
        self._has_inherited = True
        for event in inherited(self.trial.facts, self.trial.directory):
            for index, rule in enumerate(self.rules):
                self._states[index], _ = rule.step(self._states[index], event)
        for index, rule in enumerate(self.rules):
            if isinstance(rule, Health):
                self._states[index] = rule.anew(self._states[index])

    def launched(self) -> None:
        """Take in that this orchestrator launched an attempt, so that its health is recorded however soon it ends."""
        self._is_judged = True

    def changes_of_health(self) -> list[Change]:
        """Return the changes of the trial's health that are not on the record yet, oldest first.

        Return nothing for a trial that has not run under this orchestrator, so that old records do not grow.
        """
        if not self._is_judged:
            return []
        self.decision  # noqa: B018 - runs the rules over what was read
        timeline = [change for state in self._states if isinstance(state, HealthState) for change in state.timeline]
        recorded = {(one.diagnosis, one.step, one.holds) for one in self.trial.diagnosed}
        changes = [one for one in timeline if (one.diagnosis, one.step, one.holds) not in recorded]
        # After a resume from a checkpoint, diagnoses recorded at later steps no longer hold.
        holding = {one.diagnosis for one in timeline}
        gone = [one for name, one in self.trial.health.items() if name not in holding]
        ended = [Change(diagnosis=one.diagnosis, step=one.step, since=one.since, holds=False) for one in gone]
        return [*ended, *changes]

    def poll(self) -> None:
        """Read what was appended to the record."""
        try:
            entries = self.reader.poll()
        except RecordError as error:
            self.unreadable = str(error)
            return
        if self.reader.restarted:
            self._restart()
        self._take_own(entries)
        events = [entry.event for entry in entries]
        self.evaluations += evaluations(events, self.trial.facts.metric)
        if self.rules:
            self._unjudged += events

    def _take_own(self, entries: Sequence[HistoryEntry]) -> None:
        """Take in what the newest attempt reported itself, and not what was collected about it."""
        newest = self.trial.newest.number
        if self.reader.restarted or newest != self._attempt:
            self._attempt, self.optimizer_step, self.reported = newest, None, set()
        for entry in entries:
            if entry.attempt == newest and not entry.collected:
                step = step_of(entry.event)
                if step is not None:
                    self.optimizer_step = max(step, -1 if self.optimizer_step is None else self.optimizer_step)
                if isinstance(entry.event, Metrics):
                    self.reported.update(entry.event.values)

    def _restart(self) -> None:
        self._states = [rule.start() for rule in self.rules]
        self._unjudged, self._decision, self._has_inherited = [], None, False
        self.evaluations = []
