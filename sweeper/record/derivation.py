"""How a trial was derived from another one: from which checkpoint it continues, and what was changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
        points_to: the path of a library's own checkpoint from the trial's directory, if the checkpoint points to one.
        inherited: the changes of the parent, if the parent began at the same checkpoint, because its state lacks them.
        run: the name of the parent's run, if it is another one, because the trial was reproduced; else empty.
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
    points_to: str = field(default="", compare=False)
    inherited: Mapping[str, object] = field(default_factory=dict, compare=False)
    run: str = ""

    def after(self, parent: Derivation | None) -> Derivation:
        """Return the derivation from a parent that was itself derived so.

        If the trial takes over the checkpoint from which its parent began, the state in it is that of the grandparent,
        and what changed in between is to be changed too.
        """
        if parent is None or not self.checkpoint or self.checkpoint != parent.checkpoint:
            return self
        return replace(
            self,
            lr_factor=self.lr_factor * parent.lr_factor,
            fresh_optimizer=self.fresh_optimizer or parent.fresh_optimizer,
            inherited={**parent.inherited, **parent.changes},
        )

    def checked(self, number: int) -> Derivation:
        """Return the derivation, if trial `number` can have it.

        Raises:
            TypeError: no trial can have been derived so, or it names no checkpoint of a trial.
        """
        if self.parent < 0 or (self.parent == number and not self.run):
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
        """The parent's number and the step: ``0003+119``; ``0003`` if the trial begins at the start.

        The name of the run comes first if it is another one: ``bert/0003+119``.
        """
        run = f"{self.run}/" if self.run else ""
        return f"{run}{self.parent:04d}" + (f"+{self.step}" if self.step != START else "")

    @property
    def sibling(self) -> int | None:
        """The number of the parent, if it is a trial of the same run; else None."""
        return None if self.run else self.parent
