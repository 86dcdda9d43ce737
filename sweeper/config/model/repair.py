"""`early_stop.repair`: the parameters that a repair may change, as a sweep file names them or by their usual names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from sweeper.config.model.known import range_text
from sweeper.config.model.parameters import Choice, Constant, Distribution, Parameter, Range
from sweeper.config.model.shapes import Beta, Normal
from sweeper.mistakes import STRICT, refused, suggested
from sweeper.rules.repair import ROLES, Domain, RepairedParameters, RepairSettings, guessed

if TYPE_CHECKING:
    from sweeper.config.model.sweep import EarlyStop, SweepSpec

AUTO, OFF = "auto", "off"
MOST_REPAIRS = 2
"""The default of `max_repairs`."""

Name = Annotated[str, Field(min_length=1)]


class RepairNames(BaseModel):
    """The parameters that a repair may change, for example `repair: {lr: optimizer.lr, warmup: warmup_steps}`.

    `lr` is the peak learning rate, `warmup` its length as a share of all steps or in steps, `clip` the norm that the
    gradient is clipped at, and `weight_decay` the weight decay. Others are not changed. Without any, which is `auto`,
    they are recognized by their usual names.
    """

    model_config = STRICT
    lr: Name | None = None
    warmup: Name | None = None
    clip: Name | None = None
    weight_decay: Name | None = None

    @property
    def given(self) -> Mapping[str, str]:
        """The name for each role that has one."""
        return {role: name for role in ROLES if (name := getattr(self, role)) is not None}


def as_repair(given: object) -> object:
    """Return what a sweep file writes for `repair` as the model takes it: null for `off`, an empty mapping for `auto`.

    Raises:
        PydanticCustomError: it is neither of them and no mapping.
    """
    match given:
        case None | False | "off":
            return None
        case "auto":
            return {}
        case RepairNames() | Mapping():
            return given
        case _:
            hint = suggested(given, [AUTO, OFF]) if isinstance(given, str) else ""
            hint = f"write {AUTO}" if given is True else hint
            raise refused(f"{AUTO}, {OFF}, or a mapping of {', '.join(ROLES)}", hint=hint)


def as_written(repair: RepairNames | None) -> object:
    """Return the value of `repair` as a sweep file would have it."""
    return None if repair is None else dict(repair.given) or AUTO


def numbers_of(parameter: Parameter) -> tuple[float, ...] | None:
    """Return the numbers among the listed values of a parameter; None for a range, which has nothing else."""
    match parameter:
        case Choice(values=values):
            listed = values
        case Constant(value=value):
            listed = (value,)
        case _:
            return None
    return tuple(float(one) for one in listed if isinstance(one, int | float) and not isinstance(one, bool))


def _domain(parameter: Parameter) -> Domain:
    text = range_text(parameter)
    match parameter:
        case Range():
            quantum = float(parameter.quantum) if parameter.q is not None else 0.0
            is_whole = parameter.distribution is Distribution.INT_UNIFORM
            return Domain(
                low=parameter.min,
                high=parameter.max,
                quantum=1.0 if is_whole else quantum,
                whole=is_whole,
                text=text,
            )
        case Beta():
            return Domain(low=0.0, high=1.0, quantum=float(parameter.q or 0.0), text=text)
        case Normal():
            low = 0.0 if parameter.distribution.log else -math.inf
            return Domain(low=low, quantum=float(parameter.q or 0.0), text=text)
        case _:
            values = numbers_of(parameter) or ()
            listed = parameter.values if isinstance(parameter, Choice) else (parameter.value,)
            return Domain(values=values, whole=all(isinstance(one, int) for one in listed), text=text)


def repairable(parameters: Mapping[str, Parameter]) -> Iterator[str]:
    """Yield the names of the parameters that are numbers, or can be."""
    for name, parameter in parameters.items():
        if numbers_of(parameter) != () or (isinstance(parameter, Constant) and parameter.value is None):
            yield name


def repaired_parameters(
    parameters: Mapping[str, Parameter], repair: RepairNames
) -> tuple[RepairedParameters, Mapping[str, tuple[str, ...]]]:
    """Return the parameters that a repair may change, and for each role the names between which none was chosen."""
    if repair.given:
        return RepairedParameters(**repair.given), {}
    return guessed(repairable(parameters))


def repair_of(spec: SweepSpec) -> RepairSettings | None:
    """Return what a sweep allows a repair; None if failed trials are not repaired."""
    early_stop: EarlyStop | None = spec.early_stop
    if early_stop is None or early_stop.repair is None:
        return None
    names, _ = repaired_parameters(spec.parameters, early_stop.repair)
    domains = {name: _domain(spec.parameters[name]) for name in names.names if name in spec.parameters}
    return RepairSettings(parameters=names, max_repairs=early_stop.max_repairs, domains=domains)


def repair_text(spec: SweepSpec) -> str:
    """Return which parameters a repair changes, as one sentence for the start of a sweep; empty without repairs."""
    settings = repair_of(spec)
    if settings is None or spec.early_stop is None or spec.early_stop.repair is None:
        return ""
    _, unclear = repaired_parameters(spec.parameters, spec.early_stop.repair)
    several = [f"; several could be {ROLES[role]}: {', '.join(names)}" for role, names in unclear.items()]
    return settings.parameters.text() + "".join(several)
