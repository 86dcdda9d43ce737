"""Ask the search for configurations and report results to it; both are recorded in `search.jsonl` first."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeper.config import LEARNING, identity, lr_factor
from sweeper.orchestrator.opening import Run, make_trials
from sweeper.orchestrator.search.results import with_result
from sweeper.orchestrator.withdrawal import is_out
from sweeper.record.checkpoints import newest_before, saved_checkpoints
from sweeper.record.derivation import Derivation
from sweeper.record.events import Asked, Imputed, Told
from sweeper.record.storage.checksums import Damage
from sweeper.record.storage.journal import JournalReader, JournalWriter
from sweeper.record.trial import TrialRecord
from sweeper.search import Configuration, Search
from sweeper.search.imputation import Worst, imputed, worst_of

WITHOUT_CHECKPOINT = (
    "method: pbt: a member saved no checkpoint in its turn, so its next turn begins at the start. The script has to "
    "call trial.save where trial.should_save is true, and trial.restore"
)
BEYOND_TURN = (
    "method: pbt: a member trained on after the end of its turn, so the turns are longer than population.every_steps. "
    "The script has to leave its loop once trial.should_stop is true"
)
TURN_SLACK = 0.1
"""A script that asks now and then may train this share of a turn too long without a word."""


@dataclass(slots=True)
class Proposals:
    """Asks the search for configurations, makes their trials, and reports to it how they ended.

    The result of each configuration is updated as its trials change, so that the cost of a proposal does not grow with
    the number of trials.

    Attributes:
        run: the sweep's run.
        search: the search.
        damage: the lines of `search.jsonl` that were left out. Their configurations are known from their trials.
        notes: what the user should know about the trials that were made.
    """

    run: Run
    search: Search
    damage: tuple[Damage, ...] = field(init=False)
    notes: dict[str, None] = field(default_factory=dict)
    _configurations: dict[int, Configuration] = field(init=False)
    _journal: JournalWriter = field(init=False)
    _reported: dict[int, Told] = field(init=False)
    _imputed: Worst | None = field(init=False)
    _trials: dict[int, dict[int, TrialRecord]] = field(default_factory=dict)
    _made: set[tuple[int, int]] = field(default_factory=set)
    _next: int = 0
    _complete: bool = False

    def __post_init__(self) -> None:
        journal = JournalReader(self.run.directory.search)
        events = journal.read()
        self.damage = tuple(journal.damage)
        self._configurations = {
            event.configuration: Configuration(
                number=event.configuration,
                params=event.params,
                attributes=event.attributes,
                start=event.start,
                derived=event.derived,
                until=event.until,
            )
            for event in events
            if isinstance(event, Asked)
        }
        self._reported = {event.configuration: event for event in events if isinstance(event, Told)}
        self._imputed = next((_worst(event) for event in reversed(events) if isinstance(event, Imputed)), None)
        self._journal = JournalWriter(self.run.directory.search)

    def initial(self, trials: Iterable[TrialRecord], taken: Iterable[int]) -> list[TrialRecord]:
        """Make the trials that are missing at the start of a call: all of an eager search, and those asked for earlier.

        A trial that was deleted or cannot be read counts as missing: its configuration runs under a new number.

        Args:
            trials: the trials that exist.
            taken: numbers that are in use. An unreadable trial keeps its number and its files, for the user to inspect.
        """
        for trial in trials:
            if not trial.facts.is_searched:
                continue
            self._made.add((trial.facts.configuration, trial.facts.seed))
            self._restore(trial)
        self._next = max(taken, default=-1) + 1
        if self.search.eager:
            self._ask(None)
        spec, withdrawn = self.run.spec, self.run.withdrawn
        all_, there = self._configurations.values(), {number for number, _ in self._made}
        return self._make([one for one in all_ if one.number not in withdrawn - there or not is_out(one.params, spec)])

    def _restore(self, trial: TrialRecord) -> None:
        """Take the configuration of a trial from its facts if its line in `search.jsonl` is damaged."""
        number = trial.facts.configuration
        if number not in self._configurations:
            params = {name: value for name, value in trial.facts.params.items() if name not in self.run.data}
            restored = Configuration(number=number, params=params)
            self._configurations = dict(sorted({**self._configurations, number: restored}.items()))

    def further(self, wanted: int) -> list[TrialRecord]:
        """Make the trials of `wanted` further configurations, or of fewer if the search has no more."""
        return self._make(self._ask(wanted)) if wanted > 0 else []

    def add(self, params: Mapping[str, object]) -> list[TrialRecord]:
        """Make the trials of a configuration that a user adds; none if the sweep has that configuration already.

        One that was taken out of the sweep's grid comes back under its number.
        """
        same = (one for one in self._configurations.values() if identity(one.params) == identity(params))
        if (known := next(same, None)) is not None:
            return self._make([known])
        added = Configuration(number=len(self._configurations), params=params)
        self._accept([added])
        return self._make([added])

    def derive(self, parent: TrialRecord, derived: Derivation, *, seed: int | None = None) -> list[TrialRecord]:
        """Make a trial that continues another one with changed parameters; the search is not told of it.

        Args:
            parent: the trial that it is derived from.
            derived: what distinguishes it from its parent.
            seed: its seed; by default, that of its parent.
        """
        params = {name: value for name, value in parent.facts.params.items() if name not in self.run.data}
        own = Configuration(number=-self._next, params={**params, **derived.changes}, derived=derived)
        made = make_trials(self.run, [(own, parent.facts.seed if seed is None else seed)], self._next)
        self._next += len(made)
        return made

    def update(self, changed: Iterable[TrialRecord]) -> None:
        """Take in the trials that have changed, and record the result of each configuration that is done."""
        touched: dict[int, None] = {}
        for trial in changed:
            self._trials.setdefault(trial.facts.configuration, {})[trial.facts.number] = trial
            touched[trial.facts.configuration] = None
        self._update_configurations(touched)

    def forget(self, trial: TrialRecord) -> None:
        """Drop a trial with an unreadable record."""
        self._trials.get(trial.facts.configuration, {}).pop(trial.facts.number, None)
        self._update_configurations([trial.facts.configuration])

    def _update_configurations(self, touched: Iterable[int]) -> None:
        results = []
        for number in touched:
            if number not in self._configurations:  # its line in search.jsonl is damaged
                continue
            known, own = self._configurations[number], list(self._trials.get(number, {}).values())
            if any(trial.altered for trial in own):  # what was reported before the damage stands
                self._configurations[number] = _as_reported(known, self._reported.get(number))
                continue
            ended = self._configurations[number] = with_result(known, own, self.run.spec.metric.impute)
            if ended.ended and not _is_reported(ended, self._reported.get(number)):
                results.append(ended)
        if results:
            worst = self._worst() if any(ended.failed for ended in results) else None
            names = [one.name for one in self.run.spec.objectives]
            told = [_told(ended, worst, names) for ended in results]
            # Not synced, because it follows from the records of the trials and the next proposal is synced after it.
            self._journal.extend(told)
            self._reported |= {event.configuration: event for event in told}

    def _worst(self) -> Worst | None:
        """Return the values with which failed trials count now; None if there is none, or the method uses none."""
        spec = self.run.spec
        if spec.method not in LEARNING:
            return None
        return worst_of([*self.run.learned, *self._configurations.values()], spec.goals)

    def _record_imputed(self, seen: Iterable[Configuration]) -> None:
        """Record the value with which failed trials count from the next proposal on, if it has changed."""
        worst = self._worst() if any(one.failed for one in (*self.run.learned, *seen)) else None
        if worst is not None and worst != self._imputed:
            values = _named([one.name for one in self.run.spec.objectives], worst.values)
            event = Imputed(time=time.time(), value=worst.values[0], values=values, violations=worst.violations)
            self._journal.extend([event])
            self._imputed = worst

    def _ask(self, wanted: int | None) -> list[Configuration]:
        """Return `wanted` further configurations (None: all), or as many as `run_cap` and the search allow."""
        if self._complete:
            return []
        cap, seen = self.run.spec.most_configurations, list(self._configurations.values())
        allowed = math.inf if cap is None else cap - len(seen)
        most = min(allowed, math.inf if wanted is None else wanted)
        if most > 0:
            self._record_imputed(seen)
        asked = list(itertools.islice(self.search.proposals(seen), None if most == math.inf else max(0, int(most))))
        asked = [self._continued(one) for one in asked]
        fewer = wanted is None or len(asked) < wanted
        self._complete = len(asked) >= allowed or (fewer and self.search.is_over([*seen, *asked]))
        self._accept(asked)
        return asked

    def _continued(self, proposed: Configuration) -> Configuration:
        """Return a proposal with the trial and checkpoint from which it continues; it names a configuration."""
        derived = proposed.derived
        if derived is None:
            return proposed
        parent = next(iter(self._trials.get(derived.parent, {}).values()), None)
        if parent is None:  # its record is damaged
            return replace(proposed, derived=None)
        if self.run.spec.population is not None:
            slack = TURN_SLACK * self.run.spec.population.every_steps
            if parent.step + 1 > parent.facts.until + slack > slack:
                self.notes[BEYOND_TURN] = None
        newest = newest_before(saved_checkpoints(parent.directory), None)
        taken = replace(derived, parent=parent.facts.number)
        if newest is None:
            self.notes[WITHOUT_CHECKPOINT] = None
        else:
            factor = lr_factor(parent.facts.params, derived.changes)
            taken = replace(taken, step=newest.step, checkpoint=newest.file, lr_factor=factor)
            taken = taken.after(parent.facts.derived)
        return replace(proposed, derived=taken)

    def _accept(self, proposed: Sequence[Configuration]) -> None:
        if proposed:
            now = time.time()
            self._journal.extend(
                [
                    Asked(
                        time=now,
                        configuration=p.number,
                        params=p.params,
                        attributes=p.attributes,
                        start=p.start,
                        derived=p.derived,
                        until=p.until,
                    )
                    for p in proposed
                ],
                sync=True,
            )
            self._configurations |= {configuration.number: configuration for configuration in proposed}

    def _make(self, proposed: Sequence[Configuration]) -> list[TrialRecord]:
        """Make the missing trials of these configurations, one per seed, ordered by seed."""
        missing = [
            (configuration, seed)
            for seed in self.run.spec.seeds
            for configuration in proposed
            if (configuration.number, seed) not in self._made
        ]
        made = make_trials(self.run, missing, self._next)
        self._made |= {(configuration.number, seed) for configuration, seed in missing}
        self._next += len(made)
        return made


def _named(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Return the values of several objectives by name; nothing where there is one, or no result."""
    return dict(zip(names, values, strict=True)) if names and values else {}


def _worst(event: Imputed) -> Worst:
    return Worst(values=tuple(event.values.values()) or (event.value,), violations=tuple(event.violations))


def _told(ended: Configuration, worst: Worst | None, names: Sequence[str]) -> Told:
    counted = imputed(ended, worst) if ended.failed and worst is not None else None
    return Told(
        time=time.time(),
        configuration=ended.number,
        state=ended.state,
        value=ended.value,
        step=ended.step,
        imputed=None if counted is None else counted.value,
        why=ended.why,
        values=_named(names, ended.values),
        imputed_values={} if counted is None else _named(names, counted.values),
        violations=ended.violations,
    )


def _as_reported(configuration: Configuration, told: Told | None) -> Configuration:
    if told is None:
        return configuration
    failed = 1.0 if told.why and told.value is None else 0.0
    return replace(
        configuration,
        state=told.state,
        value=told.value,
        step=told.step,
        failed=failed,
        why=told.why,
        values=tuple(told.values.values()),
        violations=tuple(told.violations),
    )


def _is_reported(ended: Configuration, told: Told | None) -> bool:
    """Return whether this result is on the record; it changes if a trial is revived or retried in a later call."""
    if told is None:
        return False
    result = (ended.state, ended.value, ended.step, ended.why, list(ended.values), list(ended.violations))
    known = (told.state, told.value, told.step, told.why, list(told.values.values()), list(told.violations))
    return result == known
