"""Decide which flagged trials continue, and disable rules that the audit shows to be wrong too often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.backtest.audits import outcomes, outcomes_of_runs, runs_beside
from sweeper.config import EarlyStop, Mode
from sweeper.orchestrator.pace import Pace
from sweeper.record.decision import Decision
from sweeper.record.events import AUDITED, BREAKER, CONVERGED, OBSERVED, REVIVED
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State, TrialRecord
from sweeper.rules.calibration.audit import AuditOutcomes, is_audited, pooled, rule_version, seed_of
from sweeper.rules.conditions import Spike


@dataclass(slots=True)
class Audits:
    """The random audits of a sweep, and the audit outcomes of its rules, pooled over all runs in the same directory.

    The other runs are read once, when a trial of this sweep is flagged for the first time.
    """

    run: SweepDir
    name: str
    early_stop: EarlyStop | None
    by_version: Mapping[str, AuditOutcomes] = field(default_factory=dict)
    _flagged: set[int] = field(default_factory=set)
    _complete: dict[int, TrialRecord] = field(default_factory=dict)
    _others: Sequence[tuple[str, bool]] | None = None
    _disabled: frozenset[str] = frozenset()
    _stale: bool = False
    _pace: Pace = field(default_factory=Pace)

    def reason_to_continue(self, trial: TrialRecord, decision: Decision) -> str | None:
        """Return why the flagged trial continues; None if it is to be stopped."""
        if trial.revived:
            return REVIVED
        if trial.continued is not None:
            return trial.continued.cause
        if self.early_stop is None:
            return None
        if self.early_stop.mode is Mode.OBSERVE:
            return OBSERVED
        if decision.rule in (CONVERGED, Spike.name):
            return None  # no false stop: the trial is complete, or another one continues it from before the spike
        number, rate = trial.facts.number, self.early_stop.audit
        if rate and is_audited(seed_of(self.name), number, decision.version, rate):
            return AUDITED
        if self._others is None:
            self._recompute()
        return BREAKER if self.is_disabled(decision.version) else None

    def is_disabled(self, version: str) -> bool:
        """Return whether the audit shows that this version of a rule is wrong more often than `most_false_prunes`."""
        if self.early_stop is None or version not in self.by_version:
            return False
        return self.by_version[version].was_above(self.early_stop.most_false_prunes)

    def update(self, changed: Iterable[TrialRecord]) -> list[str]:
        """Take in the trials that have changed; return the versions of this sweep's rules that are now disabled."""
        if self.early_stop is None:
            return []
        for trial in changed:
            self._add(trial)
        if self._stale and self._pace.is_due():
            with self._pace.measure():
                self._recompute()
        own = {rule_version(rule) for rule in self.early_stop.rules}
        before, self._disabled = self._disabled, frozenset(version for version in own if self.is_disabled(version))
        return sorted(self._disabled - before)

    def texts(self, trials: Iterable[TrialRecord]) -> list[str]:
        """Return a line for each rule that flagged a trial here: what the audits say about its false-stop rate."""
        versions = dict.fromkeys(version for trial in trials if (version := version_of(trial)))
        if versions:
            self._recompute()
        known = ((version, self.by_version.get(version, AuditOutcomes(version=version))) for version in versions)
        return [f"the rule {_named(version)}: {own.text()}" for version, own in known]

    def _add(self, trial: TrialRecord) -> None:
        number, complete = trial.facts.number, trial.state is State.COMPLETE
        if version_of(trial):
            self._stale = self._stale or number not in self._flagged
            self._flagged.add(number)
        if complete != (number in self._complete):  # complete trials are judged relative to each other
            self._stale = self._stale or bool(self._flagged)
        if complete:
            self._complete[number] = trial
        else:
            self._complete.pop(number, None)

    def _recompute(self) -> None:
        if self._others is None:
            self._others = list(outcomes_of_runs(run for run in runs_beside(self.run) if run.path != self.run.path))
        self.by_version = pooled([*self._others, *outcomes(self._complete.values())])
        self._stale = False


def version_of(trial: TrialRecord) -> str:
    """Return the version of the rule that flagged a trial; empty if none did."""
    stop, continued = trial.newest.stop, trial.continued
    decision = continued.decision if continued is not None else None if stop is None else stop.decision
    return "" if decision is None else decision.version


def _named(version: str) -> str:
    """Return a readable form of a rule's version: its name and the hash of its settings."""
    name, _, digest = version.rpartition("-")
    return f"{name} (version {digest})"
