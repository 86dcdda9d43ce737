"""The health of a run: all diagnoses over one set of signals, and the timeline of when each began and ended.

`Health` is a rule: a reducer over a trial's history without I/O or clock, so live and replayed timelines are equal. Its
state is changed in place, because a thousand trials send a hundred thousand events. Earlier states are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.record.decision import Decision
from sweeper.record.events import Event
from sweeper.record.objectives import Objective
from sweeper.rules.base import Reason
from sweeper.rules.diagnoses.base import Diagnosis
from sweeper.rules.rule import learning_rates
from sweeper.rules.signals.signals import Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The beginning or the end of a diagnosis.

    Attributes:
        diagnosis: the name of the diagnosis.
        step: the step at which it began or ended.
        since: the first step at which it held.
        holds: true at the beginning, false at the end.
        reason: why it holds; empty at the end.
        evidence: the values behind the reason.
    """

    diagnosis: str
    step: int
    since: int
    holds: bool
    reason: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _DiagnosisState:
    """The state of one diagnosis.

    Attributes:
        held: moments in a row at which it held.
        since: the first step of these; -1 before there was one.
        begun: whether it has begun and has not ended.
        absent: moments in a row at which it did not hold.
        last_step: the step of the last moment that counted; -1 before the first.
    """

    held: int = 0
    since: int = -1
    begun: bool = False
    absent: int = 0
    last_step: int = -1


@dataclass(slots=True)
class HealthState:
    """The signals, the state of each diagnosis, and the timeline so far."""

    signals: Signals
    diagnoses: list[_DiagnosisState]
    timeline: list[Change] = field(default_factory=list)

    @property
    def current(self) -> dict[str, Change]:
        """The diagnoses that hold now, by name, in the order in which they began."""
        holding: dict[str, Change] = {}
        for change in self.timeline:
            holding.pop(change.diagnosis, None)
            if change.holds:
                holding[change.diagnosis] = change
        return holding


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The rule that makes all of `diagnoses`, and stops the trial when one of those named in `stopping` begins.

    `versions` has the version of each rule in `stopping`, by which audit outcomes are pooled.
    """

    diagnoses: Sequence[Diagnosis]
    stopping: frozenset[str] = frozenset()
    versions: Mapping[str, str] = field(default_factory=dict)
    objective: Objective | None = None
    name: str = "health"

    def start(self) -> HealthState:
        """Return the state before the first event."""
        return HealthState(signals=Signals(self.objective), diagnoses=[_DiagnosisState() for _ in self.diagnoses])

    def anew(self, state: HealthState) -> HealthState:
        """Return a state with the signals so far, in which no diagnosis has been made yet."""
        return HealthState(signals=state.signals, diagnoses=[_DiagnosisState() for _ in self.diagnoses])

    def step(self, state: HealthState, event: Event) -> tuple[HealthState, Decision | None]:
        """Return the state after the event, and the decision if a stopping diagnosis began."""
        if not state.signals.take(event):
            return state, None
        decision = None
        for diagnosis, own in zip(self.diagnoses, state.diagnoses, strict=True):
            reason = diagnosis.judge(state.signals)
            begun = self._update(diagnosis, own, state, reason)
            if begun is not None and decision is None and diagnosis.name in self.stopping:
                decision = self._decision(diagnosis, begun, state)
        return state, decision

    def _update(
        self, diagnosis: Diagnosis, own: _DiagnosisState, state: HealthState, reason: Reason | None
    ) -> Change | None:
        """Count a moment; return the change if the diagnosis begins at it."""
        signals = state.signals
        if 0 <= own.last_step < signals.step < own.last_step + diagnosis.every:
            return None
        own.last_step = signals.step
        if reason is None:
            own.held = 0
            own.absent += 1
            if own.begun and own.absent >= diagnosis.patience:
                own.begun = False
                change = Change(diagnosis=diagnosis.name, step=signals.step, since=own.since, holds=False)
                state.timeline.append(change)
            return None
        own.absent = 0
        if not own.held and not own.begun:
            own.since = signals.step
        own.held += 1
        lasted = signals.step - own.since >= diagnosis.wait(signals) * (signals.total_steps or signals.step)
        if own.begun or own.held < diagnosis.patience or not lasted or signals.step < diagnosis.grace_steps:
            return None
        own.begun = True
        text, evidence = reason()
        change = Change(
            diagnosis=diagnosis.name, step=signals.step, since=own.since, holds=True, reason=text, evidence=evidence
        )
        state.timeline.append(change)
        return change

    def _decision(self, diagnosis: Diagnosis, change: Change, state: HealthState) -> Decision:
        signals = state.signals
        newest = signals.newest[-1] if signals.newest else None
        rates = learning_rates(newest, signals.uncorrected, signals.peak_effective_lr)
        return Decision(
            rule=diagnosis.name,
            step=change.step,
            reason=change.reason,
            evidence={"since": change.since, **change.evidence, **rates},
            version=self.versions.get(diagnosis.name, ""),
        )
