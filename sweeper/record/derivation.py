"""How a trial was derived from another one: from which checkpoint it continues, and what was changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sweeper.record.storage.checkpoint_file import NAME

REPAIR = "repair"
POPULATION = "pbt"
"""The values of `Derivation.by` where no person derived the trial."""

START = -1
"""The value of `Derivation.step` of a trial that begins at the start, without a checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """The parent of a trial, and what distinguishes the trial from it. Who derived it and why makes no difference.

    Attributes:
        parent: the number of the trial from which it was derived.
        step: the last optimizer step of the parent that it takes over; `START` if it begins at the start.
        checkpoint: the name of the parent's checkpoint after that step; empty if it begins at the start.
        changes: the parameters that differ from the parent's, with their new values.
        lr_factor: the factor by which the learning rates in the restored optimizer and schedulers are multiplied.
        fresh_optimizer: whether the restored optimizer forgets its moments.
        by: `repair`, `pbt`, or the person who derived it.
        reason: why, in one sentence; may be empty.
        diagnosis: the diagnosis that stopped the parent, if the trial repairs it.
        request: the identifier of the user's command that asked for it, which is carried out once.
    """

    parent: int
    step: int = START
    checkpoint: str = ""
    changes: Mapping[str, object] = field(default_factory=dict)
    lr_factor: float = 1.0
    fresh_optimizer: bool = False
    by: str = field(default="", compare=False)
    reason: str = field(default="", compare=False)
    diagnosis: str = ""
    request: str = field(default="", compare=False)

    def checked(self, number: int) -> Derivation:
        """Return the derivation, if trial `number` can have it.

        Raises:
            TypeError: no trial can have been derived so, or it names no checkpoint of a trial.
        """
        if self.parent < 0 or self.parent == number:
            raise TypeError(f"derived.parent: expected the number of another trial, got {self.parent}")
        if self.step < START or bool(self.checkpoint) is not (self.step != START):
            raise TypeError(f"derived.step: expected a step with a checkpoint, or {START}, got {self.step}")
        if self.checkpoint and not NAME.fullmatch(self.checkpoint):
            raise TypeError(f"derived.checkpoint: expected the name of a checkpoint, got {self.checkpoint!r}")
        if not 0 < self.lr_factor < math.inf:
            raise TypeError(f"derived.lr_factor: expected a factor above 0, got {self.lr_factor}")
        return self

    @property
    def origin(self) -> str:
        """The parent's number and the step: ``0003+119``; ``0003`` if the trial begins at the start."""
        return f"{self.parent:04d}" + (f"+{self.step}" if self.step != START else "")
