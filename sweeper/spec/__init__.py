"""From a sweep file to a ``SweepSpec``: every mistake at once, nothing read but the file, nothing decided later."""

from sweeper.spec.comparison import Changes, compare
from sweeper.spec.load import load
from sweeper.spec.model import (
    At,
    Checkpoint,
    EarlyStop,
    Figures,
    Goal,
    Method,
    Metric,
    Resources,
    Stalled,
    SweepSpec,
)
from sweeper.spec.parameters import Choice, Constant, Distribution, Parameter, Range, Value
from sweeper.spec.single import as_file, single

__all__ = [
    "At",
    "Changes",
    "Checkpoint",
    "Choice",
    "Constant",
    "Distribution",
    "EarlyStop",
    "Figures",
    "Goal",
    "Method",
    "Metric",
    "Parameter",
    "Range",
    "Resources",
    "Stalled",
    "SweepSpec",
    "Value",
    "as_file",
    "compare",
    "load",
    "single",
]
