"""Values that depend on all trials of a sweep: while it runs, they may be a little older than the trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")

RESTS = 20
"""A value that may rest is made anew only after so many times as long as it took: five percent of a core at most."""


@dataclass(slots=True)
class Rested(Generic[T]):
    """One such value."""

    _made: tuple[object, T] | None = None
    _due: float = 0.0
    _is_old: bool = False

    @property
    def is_due(self) -> bool:
        """Whether the value that was returned last is for an earlier key, and would be made anew now."""
        return self._is_old and monotonic() >= self._due

    def of(self, key: object, make: Callable[[], T], *, rests: bool) -> T:
        """Return the value for a key; if it may rest, perhaps that for an earlier key.

        Args:
            key: what the value depends on.
            make: makes it.
            rests: whether it may rest, because the sweep runs and there will be another key.
        """
        if self._made is None or (key != self._made[0] and (not rests or monotonic() >= self._due)):
            begun = monotonic()
            self._made = key, make()
            ended = monotonic()
            self._due = ended + RESTS * (ended - begun)
        self._is_old = key != self._made[0]
        return self._made[1]
