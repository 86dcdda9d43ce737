"""Following one trial: its record as it grows, what the rules make of it, and its values for those who compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import RecordError
from sweeper.record.evaluation import Evaluation, evaluations
from sweeper.record.events import Event
from sweeper.record.layout import TrialDir
from sweeper.record.trial import Trial, TrialReader
from sweeper.rules.decision import Decision, Rule


@dataclass(slots=True)
class Follower:
    """A trial's reader, and the states of the rules over the same history; `evaluations` are of the objective.

    `gone` says why the record can no longer be read; the trial is then as it was read last.
    """

    reader: TrialReader
    rules: Sequence[Rule]
    decision: Decision | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    gone: str = ""
    _states: list[Any] = field(init=False)

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

    def poll(self) -> None:
        """Read what was appended, and let the rules see it; the first decision stands until the history restarts."""
        try:
            entries = self.reader.poll()
        except RecordError as error:
            self.gone = str(error)
            return
        if self.reader.restarted:
            self._begin()
        self.evaluations += evaluations((entry.event for entry in entries), self.trial.facts.metric)
        for entry in entries:
            self._judge(entry.event)

    def _begin(self) -> None:
        self._states = [rule.start() for rule in self.rules]
        self.decision = None
        self.evaluations = []

    def _judge(self, event: Event) -> None:
        for index, rule in enumerate(self.rules):
            self._states[index], decision = rule.step(self._states[index], event)
            self.decision = self.decision or decision
