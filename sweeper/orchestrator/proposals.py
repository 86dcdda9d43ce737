"""The orchestrator's side of the search: what was asked and told, on the record before anything comes of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeper.orchestrator.opening import Run, add_trials
from sweeper.record.events import AUDITED, Asked, Told
from sweeper.record.fold import State
from sweeper.record.journal import JournalWriter, read_journal
from sweeper.record.layout import TrialDir
from sweeper.record.trial import Trial
from sweeper.search import Configuration, Search


@dataclass(slots=True)
class Proposals:
    """Asks the search for configurations and makes their trials; tells it how they ended."""

    run: Run
    search: Search
    _configurations: list[Configuration] = field(init=False)
    _journal: JournalWriter = field(init=False)
    _told: set[int] = field(init=False)
    _complete: bool = False

    def __post_init__(self) -> None:
        events = read_journal(self.run.directory.search)
        self._configurations = [
            Configuration(number=event.configuration, params=event.params, attributes=event.attributes)
            for event in events
            if isinstance(event, Asked)
        ]
        self._told = {event.configuration for event in events if isinstance(event, Told)}
        self._journal = JournalWriter(self.run.directory.search)

    def initial(self) -> list[TrialDir]:
        """The trials that are known from the start: an eager search's, and those that an earlier call did not make."""
        while self.search.eager and self._ask([]):
            pass
        return add_trials(self.run, self._configurations)

    def further(self, trials: Sequence[Trial], slots: int) -> list[TrialDir]:
        """The trials of further configurations, as many as there are slots without a trial waiting for them."""
        made: list[TrialDir] = []
        waiting = sum(trial.state is State.WAITING for trial in trials)
        while not self._complete and waiting + len(made) < slots and self._ask(trials):
            made += add_trials(self.run, self._configurations[-1:])
        return made

    def add(self, params: Mapping[str, object]) -> list[TrialDir]:
        """The trials of a configuration that a person asks for; none where the sweep has it already."""
        if all(params != configuration.params for configuration in self._configurations):
            self._accept(Configuration(number=len(self._configurations), params=params))
        return add_trials(self.run, self._configurations)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Put on the record how configurations ended whose trials have all ended."""
        for configuration in self._configurations:
            if configuration.number in self._told:
                continue
            ended = _as_told(configuration, trials)
            if ended.state != "RUNNING":
                told = Told(
                    time=time.time(),
                    configuration=ended.number,
                    state=ended.state,
                    value=ended.value,
                    step=ended.step,
                )
                self._journal.append(told, sync=True)
                self._told.add(ended.number)

    def _ask(self, trials: Sequence[Trial]) -> bool:
        """One more configuration, unless the cap is reached or the search has none left."""
        cap, number = self.run.spec.run_cap, len(self._configurations)
        proposed = None
        if cap is None or number * len(self.run.spec.seeds) < cap:
            proposed = self.search.propose([_as_told(c, trials) for c in self._configurations])
        if proposed is None:
            self._complete = True
            return False
        self._accept(proposed)
        return True

    def _accept(self, proposed: Configuration) -> None:
        asked = Asked(
            time=time.time(),
            configuration=proposed.number,
            params=proposed.params,
            attributes=proposed.attributes,
        )
        self._journal.append(asked, sync=True)
        self._configurations.append(proposed)


def _as_told(configuration: Configuration, trials: Sequence[Trial]) -> Configuration:
    """The configuration with what came of it: the mean over its seeds, once all of them have ended.

    An audit is hidden from the search: it is told what it would have been told without, as soon as it would have been.
    """
    own = [trial for trial in trials if trial.facts.configuration == configuration.number]
    audited = {t.facts.number: s for t in own if (s := t.control.spared) is not None and s.spared == AUDITED}
    states = {State.PRUNED if trial.facts.number in audited else trial.state for trial in own}
    if not own or not all(state.ended for state in states):
        return configuration
    told = [audited[t.facts.number].value if t.facts.number in audited else t.value for t in own]
    values = [value for value in told if value is not None]
    state = next((state for state in (State.COMPLETE, State.PRUNED) if state in states), State.FAIL)
    return replace(
        configuration,
        state=state.value,
        value=statistics.fmean(values) if values else None,
        step=max((trial.series.last_step for trial in own if trial.series is not None), default=None),
    )
