"""What a search is: a pure function from the configurations seen so far to the next one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A proposal and what became of it.

    `value` is the mean over its seeds, None while it runs or where none came; `step` the last optimizer step at which
    any of them was evaluated. `attributes` is what the sampler wants to find again, ready for JSON.
    """

    number: int
    params: Mapping[str, object]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    state: str = "RUNNING"
    value: float | None = None
    step: int | None = None


class Search(Protocol):
    """Proposes configurations. Given the same configurations it proposes the same one: a resumed sweep goes on."""

    @property
    def eager(self) -> bool:
        """Whether proposals do not depend on values, so that all may be asked for at the start."""

    def propose(self, seen: Sequence[Configuration]) -> Configuration | None:
        """The next configuration, numbered after those seen; None where there is none left."""

    def proposals(self, seen: Sequence[Configuration]) -> Iterator[Configuration]:
        """The next ones, each as if nothing had become of those before it yet; they end where there is none left."""
