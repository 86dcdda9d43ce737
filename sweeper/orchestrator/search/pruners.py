"""The pruners of a sweep, live: told every value of the objective, in one order, which is on the record.

A rule judges a trial by itself, so its verdict follows from that trial's record alone. A pruner's verdict depends on
what its siblings had told by then. So each value is appended to the sweep's own journal before it is told, and the
pruners are a fold over that journal: an orchestrator that takes over knows what its predecessor knew, and decides the
same.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sweeper.config import EarlyStop, Goal, Metric, PrunerSettings, rule_name
from sweeper.orchestrator.follower import Follower
from sweeper.record.events import AUDITED, Closed, Evaluated, Event
from sweeper.record.fold import State
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.rules.calibration.audit import rule_version
from sweeper.rules.decision import Decision
from sweeper.search.pruners import Pruner, pruner_of


@dataclass(slots=True)
class Comparisons:
    """What the pruners were told, and whom they condemned; `decisions` is by trial number."""

    run: SweepDir
    metric: Metric
    pruners: Mapping[PrunerSettings, Pruner]
    decisions: dict[int, Decision] = field(default_factory=dict)
    _told: dict[int, int] = field(default_factory=dict)
    _at: dict[int, list[float]] = field(default_factory=dict)
    _closed: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, run: SweepDir, metric: Metric, early_stop: EarlyStop | None) -> Comparisons:
        """The pruners of a sweep file, as far as the run's journal goes."""
        rules = () if early_stop is None else early_stop.rules
        settings = [rule for rule in rules if isinstance(rule, PrunerSettings)]
        maximize = metric.goal is Goal.MAXIMIZE
        comparisons = cls(run, metric, {one: pruner_of(one, maximize=maximize) for one in settings})
        if settings:
            for event in read_journal(run.search):
                comparisons._take(event)
        return comparisons

    def knows(self, number: int) -> bool:
        """Whether nothing more is to be told of a trial."""
        return not self.pruners or number in self._closed

    def look(self, followers: Iterable[Follower]) -> None:
        """Tell what is new, in the order in which it was measured as far as that is known."""
        if not self.pruners:
            return
        news: list[tuple[float, Event]] = []
        for follower in followers:
            news += self._news(follower)
        if not news:  # as at nearly every look
            return
        with JournalWriter(self.run.search) as journal:
            for _, event in sorted(news, key=lambda pair: pair[0]):
                journal.append(event, sync=False)
                self._take(event)

    def _news(self, follower: Follower) -> Iterable[tuple[float, Event]]:
        """What a trial tells for the first time. What a later attempt measures once more is no news."""
        trial, number = follower.trial, follower.trial.facts.number
        if number in self._closed:
            return
        now, told = time.time(), self._told.get(number, 0)
        for index, (moment, step, value) in enumerate(follower.evaluations[told:], told + 1):
            yield moment, Evaluated(time=now, trial=number, evaluation=index, step=step, value=value)
        # An audited trial runs on, and nobody who compares may learn from it: it ended where it was condemned.
        spared = trial.control.spared
        audited = spared is not None and spared.spared == AUDITED
        if trial.state.ended or audited:
            yield math.inf, Closed(time=now, trial=number, pruned=audited or trial.state is State.PRUNED)

    def _take(self, event: Event) -> None:
        if isinstance(event, Closed):
            self._close(event.trial, pruned=event.pruned)
        elif isinstance(event, Evaluated) and event.trial not in self._closed:
            self._told[event.trial] = event.evaluation
            verdicts = [(s, p.report(event.trial, event.evaluation, event.value)) for s, p in self.pruners.items()]
            siblings = self._at.setdefault(event.evaluation, [])
            condemning = next((settings for settings, condemned in verdicts if condemned), None)
            if condemning is not None:
                self.decisions[event.trial] = self._decision(condemning, event, siblings)
                self._close(event.trial, pruned=True)
            siblings.append(event.value)

    def _close(self, number: int, *, pruned: bool) -> None:
        if number not in self._closed:
            self._closed.add(number)
            for pruner in self.pruners.values():
                pruner.end(number, pruned=pruned)

    def _decision(self, settings: PrunerSettings, event: Evaluated, siblings: list[float]) -> Decision:
        name, value = self.metric.name, event.value
        told = sorted((v for v in siblings if math.isfinite(v)), reverse=self.metric.goal is Goal.MAXIMIZE)
        better = sum((v > value) == (self.metric.goal is Goal.MAXIMIZE) and v != value for v in told)
        evidence: dict[str, object] = {
            "statistic": name,
            "value": value,
            "evaluation": event.evaluation,
            "siblings_told": len(told),
            "siblings_better": better,
        }
        text = f"{name} of {value:.4g} at evaluation {event.evaluation}"
        if told:
            middle = statistics.median(told)
            evidence |= {"best_of_siblings": told[0], "median_of_siblings": middle}
            text += f": {better} of {len(told)} siblings had a better one there, their median {middle:.4g}"
        return Decision(
            rule=rule_name(settings), step=event.step, reason=text, evidence=evidence, version=rule_version(settings)
        )
