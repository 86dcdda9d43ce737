"""Take out of a run what its sweep file no longer has and no trial has run with: values of a grid, and seeds.

The trials that wait with such a value are deleted, since nothing of them has run. Their configurations stay in
`search.jsonl`, so that numbers keep their meaning, and these numbers are recorded in `spec.json` as withdrawn. A value
that comes back later brings its configurations back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sweeper.config import Choice, Constant, Method, SweepSpec, Value, identity
from sweeper.record.ended import read_states
from sweeper.record.events import Asked
from sweeper.record.storage import confined
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import TrialRecord
from sweeper.search.grid import values_of

SEED = ""
"""The name under which seeds are among the values; no parameter has it."""

Values = Mapping[str, frozenset[tuple[object, ...]]]
"""The identities of values by parameter."""


@dataclass(slots=True)
class Withdrawal:
    """What can be taken out of a run."""

    directory: SweepDir
    _read: tuple[list[TrialRecord], Collection[int]] | None = field(default=None)

    def never_ran(self, name: str, value: Value) -> bool:
        """Return whether no trial with this value of a parameter (`SEED` for a seed) has been started."""
        trials, unreadable = self._trials()
        return not unreadable and not any(trial.attempts and _has(trial, name, value) for trial in trials)

    def withdraw(self, old: SweepSpec, new: SweepSpec) -> frozenset[int]:
        """Delete the trials that never ran with values that are gone; return the numbers of their configurations."""
        gone = _values_of_grid(old)
        kept = _values_of_grid(new)
        gone = {name: values - kept[name] for name, values in gone.items() if name in kept}
        if not any(gone.values()):
            return frozenset()
        for trial in self._trials()[0]:
            never_ran = not trial.attempts and not trial.is_derived
            if never_ran and any(_identity_of(trial, name) in values for name, values in gone.items()):
                confined.remove_folder(trial.directory.path)
        asked = (event for event in read_journal(self.directory.search) if isinstance(event, Asked))
        del gone[SEED]
        return frozenset(
            event.configuration
            for event in asked
            if any(name in event.params and _id(event.params[name]) in values for name, values in gone.items())
        )

    def _trials(self) -> tuple[list[TrialRecord], Collection[int]]:
        if self._read is None:
            self._read = read_states(self.directory)
        return self._read


def is_out(params: Mapping[str, object], spec: SweepSpec) -> bool:
    """Return whether a configuration has a value that the sweep's grid does not have."""
    kept = _values_of_grid(spec)
    return any(name in kept and _id(value) not in kept[name] for name, value in params.items())


def _values_of_grid(spec: SweepSpec) -> Values:
    """Return the values of each parameter of a grid, except ranges, and the seeds."""
    choices = {name: one for name, one in spec.parameters.items() if isinstance(one, Choice | Constant)}
    values = choices if spec.method is Method.GRID else {}
    found = {name: frozenset(map(_id, values_of(parameter))) for name, parameter in values.items()}
    return {**found, SEED: frozenset(map(_id, spec.seeds))}


def _has(trial: TrialRecord, name: str, value: Value) -> bool:
    return _identity_of(trial, name) == identity(value)


def _identity_of(trial: TrialRecord, name: str) -> tuple[object, ...] | None:
    if name == SEED:
        return _id(trial.facts.seed)
    return _id(trial.facts.params[name]) if name in trial.facts.params else None


def _id(value: object) -> tuple[object, ...]:
    return identity(_frozen(value))


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
