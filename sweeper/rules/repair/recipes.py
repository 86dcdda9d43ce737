"""What a repair does about each diagnosis: which parameters it changes, or why none helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Rate(StrEnum):
    """What happens to the learning rate."""

    KEPT = "kept"
    DOWN = "lower"
    UP = "higher"
    MEASURED = "lower or higher"
    """As the updates of the run, or its siblings, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a repair changes for a diagnosis.

    Attributes:
        rate: the direction of the learning rate.
        warmup: whether the warmup gets longer, if the run broke in it or soon after it.
        clip: whether the gradient is clipped at what was usual while the run was healthy.
        decay: whether the weight decay is lowered.
        goes_back: whether the run continues from a checkpoint; otherwise it begins at the start, because nothing
            was learned that could be lost.
        blunt: the factor of the learning rate if there is no measurement and no sibling to go by.
        nothing: why no parameter helps; empty if one does.
    """

    rate: Rate = Rate.KEPT
    warmup: bool = False
    clip: bool = False
    decay: bool = False
    goes_back: bool = True
    blunt: float = 1 / 3
    nothing: str = ""

    def text(self) -> str:
        """Return the recipe in words, for the table in the documentation."""
        if self.nothing:
            return f"nothing: {self.nothing}"
        parts = [f"learning rate {self.rate}"] if self.rate is not Rate.KEPT else []
        parts += [words for words, holds in self._others if holds]
        return ", ".join(parts) + ("" if self.goes_back else "; from the start")

    @property
    def is_of_flow(self) -> bool:
        """Whether the gradient is lost on its way, and does not grow: then the height of the ramp is to blame."""
        return self.rate is Rate.DOWN and self.warmup and not self.clip

    @property
    def _others(self) -> tuple[tuple[str, bool], ...]:
        return (
            ("a longer warmup", self.warmup),
            ("gradient clipping", self.clip),
            ("weight decay lower", self.decay),
        )


_DATA = "the inputs, the labels or the loss are wrong, which no parameter mends"

RECIPES: Mapping[str, Recipe] = {
    "non_finite": Recipe(rate=Rate.DOWN, warmup=True, clip=True, blunt=0.1),
    "diverged": Recipe(rate=Rate.DOWN, warmup=True, clip=True, blunt=0.1),
    "no_gradient": Recipe(rate=Rate.DOWN, warmup=True),
    "vanishing_gradient": Recipe(rate=Rate.DOWN, warmup=True),
    "symmetric": Recipe(nothing="the units of a layer start equal, and only another initialization makes them differ"),
    "dead_units": Recipe(rate=Rate.DOWN, warmup=True),
    "frozen": Recipe(rate=Rate.UP, goes_back=False, blunt=10.0),
    "over_regularised": Recipe(decay=True),
    "collapsed": Recipe(rate=Rate.DOWN, clip=True),
    "stuck": Recipe(rate=Rate.MEASURED, goes_back=False),
    "oscillating": Recipe(rate=Rate.DOWN),
    "saturated": Recipe(rate=Rate.DOWN, warmup=True),
    "overfitting": Recipe(nothing="more data, regularisation or fewer steps help, and none of them is a repair"),
    "unused_parameters": Recipe(nothing="the script gives the optimizer the wrong parameters"),
    "loss_mismatch": Recipe(nothing="the script gives the loss function what it does not expect"),
    "input_scale": Recipe(nothing=_DATA),
}
"""The recipe for each diagnosis that is a failure."""
