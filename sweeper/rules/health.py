"""The health of a run: every diagnosis over one set of signals, and the timeline of what began and what ended.

`Health` is a rule like any other: a reducer over a trial's history without I/O or clock, so live and replayed timelines
are equal. Its state changes in place, since a thousand trials send a hundred thousand events; nobody keeps an old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.record.decision import Decision
from sweeper.record.events import Event
from sweeper.record.values.schedule import effective_lr
from sweeper.rules.conditions import Finding
from sweeper.rules.diagnosis import Diagnosis, Reason
from sweeper.rules.signals import Objective, Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A diagnosis began to hold at `step`, and had held since `since`; or it ended, and then there is no reason."""

    diagnosis: str
    step: int
    since: int
    holds: bool
    reason: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _Standing:
    """How one diagnosis stands: moments in a row at which it held, or did not since it began; the step of the last."""

    held: int = 0
    since: int = -1
    begun: bool = False
    absent: int = 0
    looked: int = -1


@dataclass(slots=True)
class HealthState:
    """The signals, how each diagnosis stands, and the timeline so far."""

    signals: Signals
    standing: list[_Standing]
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
    """All of `diagnoses` over one trial; those named in `stopping` decide against it when they begin.

    `versions` has the version of each that stops, by which the outcomes of audits are pooled.
    """

    diagnoses: Sequence[Diagnosis]
    stopping: frozenset[str] = frozenset()
    versions: Mapping[str, str] = field(default_factory=dict)
    objective: Objective | None = None
    name: str = "health"

    def start(self) -> HealthState:
        """Return the state before the first event."""
        return HealthState(signals=Signals(self.objective), standing=[_Standing() for _ in self.diagnoses])

    def step(self, state: HealthState, event: Event) -> tuple[HealthState, Decision | None]:
        """Take in an event; return the state, and the decision that follows where a stopping diagnosis began."""
        if not state.signals.take(event):
            return state, None
        decision = None
        for diagnosis, standing in zip(self.diagnoses, state.standing, strict=True):
            reason = diagnosis.judge(state.signals)
            begun = self._stands(diagnosis, standing, state, reason)
            if begun is not None and decision is None and diagnosis.name in self.stopping:
                decision = self._decision(diagnosis, begun, state)
        return state, decision

    def _stands(
        self, diagnosis: Diagnosis, standing: _Standing, state: HealthState, reason: Reason | None
    ) -> Change | None:
        """Count a moment; return the change where the diagnosis begins with it."""
        signals = state.signals
        if 0 <= standing.looked < signals.step < standing.looked + diagnosis.every:
            return None
        standing.looked = signals.step
        if reason is None:
            standing.held = 0
            standing.absent += 1
            if standing.begun and standing.absent >= diagnosis.patience:
                standing.begun = False
                change = Change(diagnosis=diagnosis.name, step=signals.step, since=standing.since, holds=False)
                state.timeline.append(change)
            return None
        standing.absent = 0
        if not standing.held and not standing.begun:
            standing.since = signals.step
        standing.held += 1
        lasted = signals.step - standing.since >= diagnosis.wait(signals) * (signals.total_steps or signals.step)
        if standing.begun or standing.held < diagnosis.patience or not lasted or signals.step < diagnosis.grace_steps:
            return None
        standing.begun = True
        text, evidence = reason()
        change = Change(
            diagnosis=diagnosis.name,
            step=signals.step,
            since=standing.since,
            holds=True,
            reason=text,
            evidence=evidence,
        )
        state.timeline.append(change)
        return change

    def _decision(self, diagnosis: Diagnosis, change: Change, state: HealthState) -> Decision:
        evidence: dict[str, object] = {"since": change.since, **change.evidence}
        newest = state.signals.newest[-1] if state.signals.newest else None
        if newest is not None:
            evidence |= {"update_ratio": newest.update_ratio, "learning_rate": newest.learning_rate}
            evidence |= {
                "effective_learning_rate": effective_lr(newest.learning_rate, newest.step, state.signals.uncorrected),
                "highest_effective_learning_rate": state.signals.peak_effective_lr,
            }
        return Decision(
            rule=diagnosis.name,
            step=change.step,
            reason=change.reason,
            evidence=evidence,
            version=self.versions.get(diagnosis.name, ""),
        )


class DiagnosisCondition:
    """A diagnosis as a condition, to be combined with others under `all` and `any`; its signals are its own."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        self.name = diagnosis.name
        self._diagnosis = diagnosis

    def start(self) -> Signals:
        """Return the state before the first event."""
        return Signals()

    def step(self, state: Signals, event: Event) -> tuple[Signals, Finding | None]:
        """Take in an event; return whether the diagnosis holds, at the moments at which diagnoses look."""
        if not state.take(event):
            return state, None
        reason = self._diagnosis.judge(state)
        told = reason or (lambda: (f"{self.name} does not hold", {"statistic": self.name}))
        return state, Finding(step=state.step, holds=reason is not None, tell=told)
