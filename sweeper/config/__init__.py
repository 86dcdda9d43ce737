"""Read a sweep file as a `SweepSpec`, check it, and write sweep files. All mistakes are reported at once."""

from sweeper.config.check.changes import Changes, changes_between
from sweeper.config.check.outputs import is_shared_path, names_an_output
from sweeper.config.model.conditions import applies, in_dependency_order
from sweeper.config.model.executors import ExecutorSettings, Local, Ray, Slurm
from sweeper.config.model.known import Setting, demands, setting_of, taken, whole
from sweeper.config.model.macros import PARAMETER, named, not_passed, places_parameters, unknown_macros, variables
from sweeper.config.model.parameters import Choice, Constant, Distribution, Parameter, Range
from sweeper.config.model.repair import repair_of, repair_text
from sweeper.config.model.resume import ResumeArgs
from sweeper.config.model.shapes import Beta, Normal
from sweeper.config.model.sources import (
    CsvSource,
    JsonSource,
    MetricSource,
    OutputSource,
    TensorBoardSource,
    WandbSource,
)
from sweeper.config.model.sweep import (
    ENVIRONMENT,
    LEARNING,
    MEASURED,
    At,
    BudgetSettings,
    Checkpoint,
    EarlyStop,
    FigureSettings,
    Goal,
    Happening,
    Impute,
    LaunchMode,
    Method,
    Metric,
    Mode,
    Notify,
    Resources,
    SweepSpec,
    as_name,
)
from sweeper.config.model.values import Value, identity, multiple_of
from sweeper.config.read.load import load
from sweeper.config.read.node import Complaint, Remark
from sweeper.config.read.other_files import values_from_file
from sweeper.config.write.addition import added_configuration, is_configuration, outside_of
from sweeper.config.write.command import (
    command_as_file,
    inline_yaml,
    rules_as_yaml,
    rules_from_file,
    sweep_of_command,
    value_as_typed,
    value_from_text,
)
from sweeper.config.write.derivation import derived_changes, lr_factor
from sweeper.config.write.reproduction import reproduction_as_file, sweep_of_trial, with_name_suffix
from sweeper.rules.base import RuleSettings, StopSettings
from sweeper.rules.conditions import ExplodingGradient, Plateau, Stalled, UpdateRatio, ZeroGradient
from sweeper.rules.diagnoses import NonFinite, VanishingGradient
from sweeper.rules.pruner_settings import (
    Hyperband,
    Median,
    OneEpoch,
    Patient,
    Percentile,
    PrunerSettings,
    SuccessiveHalving,
    Threshold,
    Wilcoxon,
)
from sweeper.rules.settings import AllOf, AnyOf

__all__ = [
    "ENVIRONMENT",
    "LEARNING",
    "MEASURED",
    "PARAMETER",
    "AllOf",
    "AnyOf",
    "At",
    "Beta",
    "BudgetSettings",
    "Changes",
    "Checkpoint",
    "Choice",
    "Complaint",
    "Constant",
    "CsvSource",
    "Distribution",
    "EarlyStop",
    "ExecutorSettings",
    "ExplodingGradient",
    "FigureSettings",
    "Goal",
    "Happening",
    "Hyperband",
    "Impute",
    "JsonSource",
    "LaunchMode",
    "Local",
    "Median",
    "Method",
    "Metric",
    "MetricSource",
    "Mode",
    "NonFinite",
    "Normal",
    "Notify",
    "OneEpoch",
    "OutputSource",
    "Parameter",
    "Patient",
    "Percentile",
    "Plateau",
    "PrunerSettings",
    "Range",
    "Ray",
    "Remark",
    "Resources",
    "ResumeArgs",
    "RuleSettings",
    "Setting",
    "Slurm",
    "Stalled",
    "StopSettings",
    "SuccessiveHalving",
    "SweepSpec",
    "TensorBoardSource",
    "Threshold",
    "UpdateRatio",
    "Value",
    "VanishingGradient",
    "WandbSource",
    "Wilcoxon",
    "ZeroGradient",
    "added_configuration",
    "applies",
    "as_name",
    "changes_between",
    "command_as_file",
    "demands",
    "derived_changes",
    "identity",
    "in_dependency_order",
    "inline_yaml",
    "is_configuration",
    "is_shared_path",
    "load",
    "lr_factor",
    "multiple_of",
    "named",
    "names_an_output",
    "not_passed",
    "outside_of",
    "places_parameters",
    "repair_of",
    "repair_text",
    "reproduction_as_file",
    "rules_as_yaml",
    "rules_from_file",
    "setting_of",
    "sweep_of_command",
    "sweep_of_trial",
    "taken",
    "unknown_macros",
    "value_as_typed",
    "value_from_text",
    "values_from_file",
    "variables",
    "whole",
    "with_name_suffix",
]
