"""Run Optuna's pruners during a sweep: report every value of the metric to them, in one recorded order.

A rule judges a trial by itself, so its decision follows from the record of that trial alone. A pruner's decision
depends on the values that the other trials had reported by then. Each value is therefore appended to `search.jsonl`
before it is reported, and the pruners are a fold over that journal: an orchestrator that takes over decides the same.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sweeper.config import EarlyStop, Goal, Metric, PrunerSettings
from sweeper.orchestrator.follower import Follower
from sweeper.record.decision import Decision
from sweeper.record.events import AUDITED, Closed, Evaluated, Event
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State
from sweeper.rules.calibration.audit import rule_version
from sweeper.search.pruners import Pruner, pruner_of


@dataclass(slots=True)
class SweepPruners:
    """The pruners of a sweep, the values that were reported to them, and their `decisions` by trial number."""

    run: SweepDir
    metric: Metric
    pruners: Mapping[PrunerSettings, Pruner]
    decisions: dict[int, Decision] = field(default_factory=dict)
    _reported: dict[int, int] = field(default_factory=dict)
    _values: dict[int, list[float]] = field(default_factory=dict)
    _closed: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, run: SweepDir, metric: Metric, early_stop: EarlyStop | None) -> SweepPruners:
        """Return the pruners of a sweep file, in the state after all values in the journal of the run."""
        rules = () if early_stop is None else early_stop.rules
        settings = [rule for rule in rules if isinstance(rule, PrunerSettings)]
        maximize = metric.goal is Goal.MAXIMIZE
        pruners = cls(run, metric, {one: pruner_of(one, maximize=maximize) for one in settings})
        if settings:
            for event in read_journal(run.search):
                pruners._take(event)
        return pruners

    def is_closed(self, number: int) -> bool:
        """Return whether no further value of a trial has to be reported."""
        return not self.pruners or number in self._closed

    def report(self, followers: Iterable[Follower]) -> None:
        """Record and report the new values of these trials, in the order of their times."""
        if not self.pruners:
            return
        new: list[tuple[float, Event]] = []
        for follower in followers:
            new += self._new_events(follower)
        if not new:
            return
        with JournalWriter(self.run.search) as journal:
            for _, event in sorted(new, key=lambda pair: pair[0]):
                journal.append(event, sync=False)
                self._take(event)

    def _new_events(self, follower: Follower) -> Iterable[tuple[float, Event]]:
        """Yield time and event of each value that was not reported before; values repeated by a retry are skipped."""
        trial, number = follower.trial, follower.trial.facts.number
        # The first evaluation of a derived trial is not comparable with that of a trial that began at the start.
        if number in self._closed or trial.is_derived:
            return
        now, reported = time.time(), self._reported.get(number, 0)
        for index, (moment, step, value) in enumerate(follower.evaluations[reported:], reported + 1):
            yield moment, Evaluated(time=now, trial=number, evaluation=index, step=step, value=value)
        # An audited trial continues, but the pruners must not learn from it: for them it ended when it was flagged.
        continued = trial.continued
        audited = continued is not None and continued.cause == AUDITED
        if trial.state.ended or audited:
            yield math.inf, Closed(time=now, trial=number, pruned=audited or trial.state is State.PRUNED)

    def _take(self, event: Event) -> None:
        if isinstance(event, Closed):
            self._close(event.trial, pruned=event.pruned)
        elif isinstance(event, Evaluated) and event.trial not in self._closed:
            self._reported[event.trial] = event.evaluation
            answers = [(s, p.report(event.trial, event.evaluation, event.value)) for s, p in self.pruners.items()]
            siblings = self._values.setdefault(event.evaluation, [])
            pruning = next((settings for settings, prunes in answers if prunes), None)
            if pruning is not None:
                self.decisions[event.trial] = self._decision(pruning, event, siblings)
                self._close(event.trial, pruned=True)
            siblings.append(event.value)

    def _close(self, number: int, *, pruned: bool) -> None:
        if number not in self._closed:
            self._closed.add(number)
            for pruner in self.pruners.values():
                pruner.end(number, pruned=pruned)

    def _decision(self, settings: PrunerSettings, event: Evaluated, siblings: list[float]) -> Decision:
        name, value = self.metric.name, event.value
        others = sorted((v for v in siblings if math.isfinite(v)), reverse=self.metric.goal is Goal.MAXIMIZE)
        better = sum((v > value) == (self.metric.goal is Goal.MAXIMIZE) and v != value for v in others)
        evidence: dict[str, object] = {
            "statistic": name,
            "value": value,
            "evaluation": event.evaluation,
            "siblings_told": len(others),
            "siblings_better": better,
        }
        text = f"{name} of {value:.4g} at evaluation {event.evaluation}"
        if others:
            median = statistics.median(others)
            evidence |= {"best_of_siblings": others[0], "median_of_siblings": median}
            text += (
                f": {better} of {len(others)} siblings were better at that evaluation (their median is {median:.4g})"
            )
        return Decision(
            rule=settings.name, step=event.step, reason=text, evidence=evidence, version=rule_version(settings)
        )
