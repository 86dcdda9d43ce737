"""Which condemned trials run on all the same, and what that has shown: the audit of the rules, live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.backtest.ledger import ledgers, runs_beside
from sweeper.record.events import AUDITED, BREAKER, OBSERVED, REVIVED
from sweeper.record.fold import State
from sweeper.record.layout import SweepDir
from sweeper.record.trial import Trial
from sweeper.rules.audit import Ledger, is_audited, rule_version, seed_of
from sweeper.rules.decision import Decision
from sweeper.spec import EarlyStop, Mode


@dataclass(slots=True)
class Audits:
    """The coins of a sweep, and the ledgers of its rules, pooled with the other runs of the same directory."""

    run: SweepDir
    name: str
    early_stop: EarlyStop | None
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    _ended: int = -1

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
        number, rate = trial.facts.number, self.early_stop.audit
        if rate and is_audited(seed_of(self.name), number, decision.version, rate):
            return AUDITED
        return BREAKER if self.is_broken(decision.version) else None

    def is_broken(self, version: str) -> bool:
        """Whether the rule is known to be wrong more often than it may be."""
        ledger = self.ledgers.get(version)
        return ledger is not None and self.early_stop is not None and ledger.broken(self.early_stop.most_false_prunes)

    def look(self, trials: Sequence[Trial]) -> list[str]:
        """Read the ledgers anew where a trial has ended; the rules of this sweep that were found broken since then."""
        if self.early_stop is None:
            return []
        ended = sum(trial.state is State.COMPLETE for trial in trials)
        if ended == self._ended:
            return []
        self._ended = ended
        own = {rule_version(rule) for rule in self.early_stop.rules}
        before = {version for version in own if self.is_broken(version)}
        self.ledgers = ledgers(runs_beside(self.run))
        return sorted(version for version in own - before if self.is_broken(version))

    def texts(self, trials: Sequence[Trial]) -> list[str]:
        """What is known of each rule that condemned anybody here, for people."""
        versions = dict.fromkeys(version for trial in trials if (version := version_of(trial)))
        known = ((version, self.ledgers.get(version, Ledger(version=version))) for version in versions)
        return [f"{version}: {ledger.text()}" for version, ledger in known]


def version_of(trial: Trial) -> str:
    """The version of the rule that condemned a trial; empty where none did."""
    stop, spared = trial.control.stop, trial.control.spared
    decision = spared.decision if spared is not None else None if stop is None else stop.decision
    return "" if decision is None else str(decision.get("version", ""))
