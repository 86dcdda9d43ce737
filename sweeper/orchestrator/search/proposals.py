"""The orchestrator's side of the search: what was asked and told, on the record before anything comes of it."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeper.orchestrator.opening import Run, make_trials
from sweeper.record.events import AUDITED, Asked, Told
from sweeper.record.fold import State
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.trial import Trial
from sweeper.search import Configuration, Search


@dataclass(slots=True)
class Proposals:
    """Asks the search for configurations and makes their trials; tells it how they ended.

    What became of each configuration is kept up as trials change, so that neither a proposal nor an end costs more
    with every trial.
    """

    run: Run
    search: Search
    _configurations: dict[int, Configuration] = field(init=False)
    _journal: JournalWriter = field(init=False)
    _told: set[int] = field(init=False)
    _trials: dict[int, dict[int, Trial]] = field(default_factory=dict)
    _made: set[tuple[int, int]] = field(default_factory=set)
    _next: int = 0
    _complete: bool = False

    def __post_init__(self) -> None:
        events = read_journal(self.run.directory.search)
        self._configurations = {
            event.configuration: Configuration(
                number=event.configuration, params=event.params, attributes=event.attributes
            )
            for event in events
            if isinstance(event, Asked)
        }
        self._told = {event.configuration for event in events if isinstance(event, Told)}
        self._journal = JournalWriter(self.run.directory.search)

    def initial(self, trials: Iterable[Trial], taken: Iterable[int]) -> list[Trial]:
        """The trials that are called for from the start and are not there: an eager search's, and those of before.

        A trial that cannot be read, or was deleted, is not there: its configuration is run anew, under a new number.

        Args:
            trials: those that are there.
            taken: numbers that are not free: what cannot be read keeps its own, and its bytes, for a person to judge.
        """
        for trial in trials:
            self._made.add((trial.facts.configuration, trial.facts.seed))
        self._next = max(taken, default=-1) + 1
        if self.search.eager:
            self._ask(None)
        return self._make(list(self._configurations.values()))

    def further(self, wanted: int) -> list[Trial]:
        """The trials of so many further configurations, or of as many as there are."""
        return self._make(self._ask(wanted)) if wanted > 0 else []

    def add(self, params: Mapping[str, object]) -> list[Trial]:
        """The trials of a configuration that a person asks for; none where the sweep has it already."""
        if any(params == configuration.params for configuration in self._configurations.values()):
            return []
        added = Configuration(number=len(self._configurations), params=params)
        self._accept([added])
        return self._make([added])

    def tell(self, changed: Iterable[Trial]) -> None:
        """Take in how trials stand, and put on the record how configurations ended whose trials have all ended."""
        touched: dict[int, None] = {}
        for trial in changed:
            self._trials.setdefault(trial.facts.configuration, {})[trial.facts.number] = trial
            touched[trial.facts.configuration] = None
        self._stand(touched)

    def forget(self, trial: Trial) -> None:
        """Take in that nothing more is known of a trial."""
        self._trials.get(trial.facts.configuration, {}).pop(trial.facts.number, None)
        self._stand([trial.facts.configuration])

    def _stand(self, touched: Iterable[int]) -> None:
        told = []
        for number in touched:
            if number not in self._configurations:  # a damaged line
                continue
            known = self._configurations[number]
            ended = self._configurations[number] = _as_told(known, list(self._trials.get(number, {}).values()))
            if ended.state != "RUNNING" and number not in self._told:
                told.append(
                    Told(time=time.time(), configuration=number, state=ended.state, value=ended.value, step=ended.step)
                )
        if told:
            # Not synced: it follows from the trials' own records, and what is asked next is synced after it.
            self._journal.extend(told)
            self._told |= {event.configuration for event in told}

    def _ask(self, wanted: int | None) -> list[Configuration]:
        """So many more configurations (None: all), unless the cap is reached or the search has none left."""
        if self._complete:
            return []
        cap, seen = self.run.spec.run_cap, list(self._configurations.values())
        allowed = math.inf if cap is None else -(-cap // len(self.run.spec.seeds)) - len(seen)
        most = min(allowed, math.inf if wanted is None else wanted)
        asked = list(itertools.islice(self.search.proposals(seen), None if most == math.inf else max(0, int(most))))
        self._complete = len(asked) >= allowed or wanted is None or len(asked) < wanted
        self._accept(asked)
        return asked

    def _accept(self, proposed: Sequence[Configuration]) -> None:
        if proposed:
            now = time.time()
            self._journal.extend(
                [Asked(time=now, configuration=p.number, params=p.params, attributes=p.attributes) for p in proposed],
                sync=True,
            )
            self._configurations |= {configuration.number: configuration for configuration in proposed}

    def _make(self, proposed: Sequence[Configuration]) -> list[Trial]:
        """The trials that are called for by these and the sweep's seeds and were not made: seed by seed."""
        called_for = [
            (configuration, seed)
            for seed in self.run.spec.seeds
            for configuration in proposed
            if (configuration.number, seed) not in self._made
        ]
        made = make_trials(self.run, called_for, self._next)
        self._made |= {(configuration.number, seed) for configuration, seed in called_for}
        self._next += len(made)
        return made


def _as_told(configuration: Configuration, own: Sequence[Trial]) -> Configuration:
    """The configuration with what came of its trials: the mean over its seeds, once all of them have ended.

    An audit is hidden from the search: it is told what it would have been told without, as soon as it would have been.
    """
    audited = {t.facts.number: s for t in own if (s := t.control.spared) is not None and s.spared == AUDITED}
    states = {State.PRUNED if trial.facts.number in audited else trial.state for trial in own}
    if not own or not all(state.ended for state in states):
        return replace(configuration, state="RUNNING", value=None, step=None)
    told = [audited[t.facts.number].value if t.facts.number in audited else t.value for t in own]
    values = [value for value in told if value is not None]
    state = next((state for state in (State.COMPLETE, State.PRUNED) if state in states), State.FAIL)
    return replace(
        configuration,
        state=state.value,
        value=statistics.fmean(values) if values else None,
        step=max((trial.series.last_step for trial in own if trial.series is not None), default=None),
    )
