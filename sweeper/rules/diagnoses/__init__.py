"""The diagnoses, one class of failure a file, by the names that a sweep file gives them."""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.rules.diagnoses.collapsed import Collapsed
from sweeper.rules.diagnoses.converged import Converged
from sweeper.rules.diagnoses.dead_units import DeadUnits
from sweeper.rules.diagnoses.diverged import Diverged
from sweeper.rules.diagnoses.frozen import Frozen
from sweeper.rules.diagnoses.input_scale import InputScale
from sweeper.rules.diagnoses.loss_mismatch import LossMismatch
from sweeper.rules.diagnoses.no_gradient import NoGradient
from sweeper.rules.diagnoses.non_finite import NonFinite
from sweeper.rules.diagnoses.oscillating import Oscillating
from sweeper.rules.diagnoses.over_regularised import OverRegularised
from sweeper.rules.diagnoses.overfitting import Overfitting
from sweeper.rules.diagnoses.saturated import Saturated
from sweeper.rules.diagnoses.stuck import Stuck
from sweeper.rules.diagnoses.symmetric import Symmetric
from sweeper.rules.diagnoses.unused_parameters import UnusedParameters
from sweeper.rules.diagnoses.vanishing_gradient import VanishingGradient
from sweeper.rules.diagnosis import Diagnosis, Effect

__all__ = ["DIAGNOSES", "STOPPING", "Diagnosis", "Effect", "NonFinite", "VanishingGradient"]

_CLASSES: tuple[type[Diagnosis], ...] = (
    NonFinite,
    Diverged,
    NoGradient,
    VanishingGradient,
    Symmetric,
    DeadUnits,
    Frozen,
    OverRegularised,
    Collapsed,
    Stuck,
    Oscillating,
    Saturated,
    Overfitting,
    UnusedParameters,
    LossMismatch,
    InputScale,
    Converged,
)

DIAGNOSES: Mapping[str, type[Diagnosis]] = {one.name: one for one in _CLASSES}
"""Every class; where several begin at one moment, the first of them decides."""

STOPPING: tuple[str, ...] = tuple(one.name for one in _CLASSES if one.effect is Effect.STOPS)
"""The classes of `early_stop: auto`."""
