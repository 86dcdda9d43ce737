"""What a repair is chosen from: the failed run, its siblings, and what the sweep allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.record.derivation import Derivation
from sweeper.rules.repair.domain import Domain
from sweeper.rules.repair.failure import Failure
from sweeper.rules.repair.parameters import RepairedParameters
from sweeper.rules.repair.recipes import Recipe
from sweeper.rules.repair.siblings import Sibling


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairSettings:
    """What a sweep allows a repair.

    Attributes:
        parameters: the parameters that a repair may change.
        max_repairs: how often a trial may be repaired, counted along its lineage.
        domains: the values that the sweep file gives these parameters, by name.
    """

    parameters: RepairedParameters
    max_repairs: int = 2
    domains: Mapping[str, Domain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a repair is chosen from.

    Attributes:
        failure: the failed run.
        recipe: what to change for its diagnosis.
        siblings: the trials of the sweep with known outcomes.
        settings: which parameters may be changed.
        before: how the run itself was derived; None if it was not.
        depth: the number of repairs before this one, along the lineage of the run.
    """

    failure: Failure
    recipe: Recipe
    siblings: Sequence[Sibling]
    settings: RepairSettings
    before: Derivation | None = None
    depth: int = 0

    @property
    def names(self) -> RepairedParameters:
        """The names of the parameters that may be changed."""
        return self.settings.parameters

    def domain(self, name: str) -> Domain | None:
        """Return the values that the sweep gives a parameter; None if they are not known."""
        return self.settings.domains.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewValue:
    """A new value of a parameter, and why."""

    value: float
    why: str
