"""Which condemned trials run on all the same, and what that has shown: the audit of the rules, live."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.backtest.ledger import outcomes, outcomes_of_runs, runs_beside
from sweeper.config import EarlyStop, Mode
from sweeper.orchestrator.pace import Pace
from sweeper.record.events import AUDITED, BREAKER, OBSERVED, REVIVED
from sweeper.record.fold import CONVERGED, State
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import Trial
from sweeper.rules.calibration.audit import Ledger, is_audited, pooled, rule_version, seed_of
from sweeper.rules.decision import Decision


@dataclass(slots=True)
class Audits:
    """The coins of a sweep, and the ledgers of its rules, pooled with the other runs of the same directory.

    Those are read once, when the first trial here is condemned: most sweeps condemn nobody that runs on.
    """

    run: SweepDir
    name: str
    early_stop: EarlyStop | None
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    _condemned: set[int] = field(default_factory=set)
    _complete: dict[int, Trial] = field(default_factory=dict)
    _others: Sequence[tuple[str, bool]] | None = None
    _broken: frozenset[str] = frozenset()
    _stale: bool = False
    _pace: Pace = field(default_factory=Pace)

    def spared(self, trial: Trial, decision: Decision) -> str | None:
        """As what the condemned trial is let run on; None: it is stopped."""
        if trial.control.revived:
            return REVIVED
        if trial.control.spared is not None:
            return trial.control.spared.spared
        if self.early_stop is None:
            return None
        if self.early_stop.mode is Mode.OBSERVE:
            return OBSERVED
        if decision.rule == CONVERGED:
            return None  # it is complete, and whether it learned is no question
        number, rate = trial.facts.number, self.early_stop.audit
        if rate and is_audited(seed_of(self.name), number, decision.version, rate):
            return AUDITED
        if self._others is None:
            self._reckon()
        return BREAKER if self.is_broken(decision.version) else None

    def is_broken(self, version: str) -> bool:
        """Whether the rule is known to be wrong more often than it may be."""
        ledger = self.ledgers.get(version)
        return ledger is not None and self.early_stop is not None and ledger.broken(self.early_stop.most_false_prunes)

    def look(self, changed: Iterable[Trial]) -> list[str]:
        """Take in how trials stand; the rules of this sweep that were found broken since the last call."""
        if self.early_stop is None:
            return []
        for trial in changed:
            self._take(trial)
        if self._stale and self._pace.is_due():
            with self._pace.doing():
                self._reckon()
        own = {rule_version(rule) for rule in self.early_stop.rules}
        before, self._broken = self._broken, frozenset(version for version in own if self.is_broken(version))
        return sorted(self._broken - before)

    def texts(self, trials: Iterable[Trial]) -> list[str]:
        """What is known of each rule that condemned anybody here, for people."""
        versions = dict.fromkeys(version for trial in trials if (version := version_of(trial)))
        if versions:
            self._reckon()
        known = ((version, self.ledgers.get(version, Ledger(version=version))) for version in versions)
        return [f"the rule {_named(version)}: {ledger.text()}" for version, ledger in known]

    def _take(self, trial: Trial) -> None:
        number, complete = trial.facts.number, trial.state is State.COMPLETE
        if version_of(trial):
            self._stale = self._stale or number not in self._condemned
            self._condemned.add(number)
        if complete != (number in self._complete):  # judged are those who are complete, by each other
            self._stale = self._stale or bool(self._condemned)
        if complete:
            self._complete[number] = trial
        else:
            self._complete.pop(number, None)

    def _reckon(self) -> None:
        if self._others is None:
            self._others = list(outcomes_of_runs(run for run in runs_beside(self.run) if run.path != self.run.path))
        self.ledgers = pooled([*self._others, *outcomes(self._complete.values())])
        self._stale = False


def version_of(trial: Trial) -> str:
    """The version of the rule that condemned a trial; empty where none did."""
    stop, spared = trial.control.stop, trial.control.spared
    decision = spared.decision if spared is not None else None if stop is None else stop.decision
    return "" if decision is None else str(decision.get("version", ""))


def _named(version: str) -> str:
    """A rule for people: its name, and which of its versions; outcomes are pooled by both."""
    name, _, digest = version.rpartition("-")
    return f"{name} (version {digest})"
