"""The interface of a search: a pure function from the configurations so far to the next one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sweeper.record.derivation import Derivation


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A proposed configuration and its result.

    Attributes:
        number: Its number, from 0.
        params: The value of each parameter that applies.
        attributes: The state that the sampler needs for later proposals; JSON can represent it.
        start: The entry of `start_with` that it was made from; None if it was made from none.
        derived: From which trial a population's configuration continues; None if it begins anew.
        until: The number of optimizer steps after which its trials end; 0 if their script decides.
        state: The state of its trials together, as in `record.trial.State`.
        value: The metric of the sweep, as the mean over seeds; None while it runs, or if it was never logged.
        step: The last optimizer step at which any of its trials was evaluated; None if none was.
        failed: The share of its trials that failed because of their parameters, from 0 to 1. `value` is the mean of the
            others; a search takes the worst value so far for those that failed.
        why: Why they failed; empty if none did.
        values: The value of each objective if there are several, as the mean over seeds; empty with one, or without
            a result. `value` is then the first.
        violations: By how much it is beyond each bound of the constraints, in the seed where that is the most; 0 or
            less inside. Empty without constraints, or without a result.
    """

    number: int
    params: Mapping[str, object]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, object] | None = None
    derived: Derivation | None = None
    until: int = 0
    state: str = "RUNNING"
    value: float | None = None
    step: int | None = None
    failed: float = 0.0
    why: str = ""
    values: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()

    @property
    def objectives(self) -> tuple[float, ...] | None:
        """The value of each objective, also where there is one; None without a result, or if one is not finite."""
        found = self.values or (() if self.value is None else (self.value,))
        return found if found and all(map(math.isfinite, found)) else None

    @property
    def ended(self) -> bool:
        """Whether all of its trials have ended."""
        return self.state not in ("RUNNING", "WAITING")


class Search(Protocol):
    """Proposes configurations. From the same configurations it proposes the same next one, so sweeps can resume."""

    @property
    def eager(self) -> bool:
        """Whether proposals do not depend on results, so that all can be made at the start."""

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know about the state of the search."""

    def is_over(self, seen: Sequence[Configuration]) -> bool:
        """Return whether there will be no more proposals, if there are none now."""

    def propose(self, seen: Sequence[Configuration]) -> Configuration | None:
        """Return the next configuration, numbered after those seen; None if there is none left."""

    def proposals(self, seen: Sequence[Configuration]) -> Iterator[Configuration]:
        """Yield the next configurations, each as if the ones before it were still running, until there is none left."""
