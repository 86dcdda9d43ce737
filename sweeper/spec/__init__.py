"""From a sweep file to a ``SweepSpec``: every mistake at once, nothing read but the file, nothing decided later."""

from sweeper.spec.addition import configuration
from sweeper.spec.comparison import Changes, compare
from sweeper.spec.conditions import applies, in_order
from sweeper.spec.load import load
from sweeper.spec.model import (
    At,
    Budget,
    Checkpoint,
    EarlyStop,
    Figures,
    Goal,
    Method,
    Metric,
    Mode,
    Resources,
    SweepSpec,
)
from sweeper.spec.parameters import Choice, Constant, Distribution, Parameter, Range, Value
from sweeper.spec.rules import (
    AllOf,
    AnyOf,
    ExplodingGradient,
    NonFinite,
    Plateau,
    RuleSettings,
    Stalled,
    UpdateRatio,
    VanishingGradient,
    ZeroGradient,
    rule_name,
)
from sweeper.spec.single import as_file, as_rules, rules_of_file, single

__all__ = [
    "AllOf",
    "AnyOf",
    "At",
    "Budget",
    "Changes",
    "Checkpoint",
    "Choice",
    "Constant",
    "Distribution",
    "EarlyStop",
    "ExplodingGradient",
    "Figures",
    "Goal",
    "Method",
    "Metric",
    "Mode",
    "NonFinite",
    "Parameter",
    "Plateau",
    "Range",
    "Resources",
    "RuleSettings",
    "Stalled",
    "SweepSpec",
    "UpdateRatio",
    "Value",
    "VanishingGradient",
    "ZeroGradient",
    "applies",
    "as_file",
    "as_rules",
    "compare",
    "configuration",
    "in_order",
    "load",
    "rule_name",
    "rules_of_file",
    "single",
]
