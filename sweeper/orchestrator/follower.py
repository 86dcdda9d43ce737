"""Following one trial: its record as it grows, what the rules make of it, and its values for those who compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import RecordError
from sweeper.record.events import Event
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import Trial, TrialReader
from sweeper.record.values.evaluation import Evaluation, evaluations
from sweeper.rules.decision import Decision, Rule
from sweeper.rules.health import Change, HealthState


@dataclass(slots=True)
class Follower:
    """A trial's reader, and the states of the rules over the same history; `evaluations` are of the objective.

    The rules see what was read when somebody asks for their `decision`: of a thousand trials that were killed, none is
    judged before it runs again.

    `gone` says why the record can no longer be read; the trial is then as it was read last.
    """

    reader: TrialReader
    rules: Sequence[Rule]
    evaluations: list[Evaluation] = field(default_factory=list)
    gone: str = ""
    _states: list[Any] = field(init=False)
    _unjudged: list[Event] = field(init=False)
    _decision: Decision | None = field(init=False)
    _was_judged: bool = False

    def __post_init__(self) -> None:
        self._begin()

    @classmethod
    def of(cls, trial: TrialDir, rules: Sequence[Rule]) -> Follower:
        """A follower at the start of a trial's record."""
        return cls(TrialReader.open(trial), rules)

    @property
    def trial(self) -> Trial:
        """The trial as last read."""
        return self.reader.trial

    @property
    def decision(self) -> Decision | None:
        """The rules' first decision over what was read; it stands until the history restarts."""
        self._was_judged = True
        unjudged, self._unjudged = self._unjudged, []
        for event in unjudged:
            for index, rule in enumerate(self.rules):
                self._states[index], decision = rule.step(self._states[index], event)
                self._decision = self._decision or decision
        return self._decision

    def launched(self) -> None:
        """An attempt was started by this orchestrator, so its health is to be recorded however soon it ends."""
        self._was_judged = True

    def changes_of_health(self) -> list[Change]:
        """Return what has changed in the trial's health and is not on the record yet, oldest first.

        Empty for a trial that no orchestrator of this process has run: nothing is added to the records of old runs.
        """
        if not self._was_judged:
            return []
        self.decision  # noqa: B018 - has the rules take in what was read
        timeline = [change for state in self._states if isinstance(state, HealthState) for change in state.timeline]
        control = self.trial.control
        recorded = {(one.diagnosis, one.step, one.holds) for one in control.diagnosed}
        changes = [one for one in timeline if (one.diagnosis, one.step, one.holds) not in recorded]
        # After a resume from a checkpoint, what was recorded of the steps after it no longer stands.
        holding = {one.diagnosis for one in timeline}
        gone = [one for name, one in control.health.items() if name not in holding]
        ended = [Change(diagnosis=one.diagnosis, step=one.step, since=one.since, holds=False) for one in gone]
        return [*ended, *changes]

    def poll(self) -> None:
        """Read what was appended."""
        try:
            entries = self.reader.poll()
        except RecordError as error:
            self.gone = str(error)
            return
        if self.reader.restarted:
            self._begin()
        events = [entry.event for entry in entries]
        self.evaluations += evaluations(events, self.trial.facts.metric)
        if self.rules:
            self._unjudged += events

    def _begin(self) -> None:
        self._states = [rule.start() for rule in self.rules]
        self._unjudged, self._decision = [], None
        self.evaluations = []
