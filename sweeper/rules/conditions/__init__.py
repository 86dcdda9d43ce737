"""The conditions, one file each, by their names in a sweep file. To add one, write a file and list it here.

A condition does not follow from a single observation: the update ratio or reach of a healthy run dips now and then. It
takes the median over a window. Undefined values are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.rules.base import RuleSettings
from sweeper.rules.conditions.exploding_gradient import ExplodingGradient
from sweeper.rules.conditions.plateau import Plateau
from sweeper.rules.conditions.spike import Spike
from sweeper.rules.conditions.stalled import Stalled
from sweeper.rules.conditions.update_ratio import UpdateRatio
from sweeper.rules.conditions.zero_gradient import ZeroGradient

__all__ = ["CONDITIONS", "ExplodingGradient", "Plateau", "Spike", "Stalled", "UpdateRatio", "ZeroGradient"]

CONDITIONS: Mapping[str, type[RuleSettings]] = {
    kind.name: kind for kind in (Stalled, UpdateRatio, ExplodingGradient, ZeroGradient, Plateau, Spike)
}
