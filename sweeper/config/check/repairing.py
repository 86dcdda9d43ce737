"""Check `early_stop.repair`: the parameters that it names, and whether there is anything to repair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from sweeper.config.model.parameters import Parameter
from sweeper.config.model.repair import AUTO, MOST_REPAIRS, OFF, RepairNames, repairable, repaired_parameters
from sweeper.config.read.node import Complaint, Node, found, plain
from sweeper.mistakes import one_of, printable, shown, suggested
from sweeper.rules.repair import RECIPES, ROLES
from sweeper.rules.settings import AUTO as PRESET

_PARAMETER: TypeAdapter[Parameter] = TypeAdapter(Parameter)
_PATH = ("early_stop", "repair")
_EXAMPLE = "{lr: NAME, warmup: NAME, clip: NAME}"


def complaints_about_repair(root: Node) -> Iterator[Complaint]:
    """Find names that are no parameters of the sweep, an `auto` that finds none, and rules that repair nothing."""
    node = found(root, *_PATH)
    repair = plain(node) if node is not None else None
    if repair in (None, False, OFF):
        most = found(root, "early_stop", "max_repairs")
        if most is not None and plain(most) != MOST_REPAIRS:  # a resolved sweep lists the default
            path = ("early_stop", "max_repairs")
            yield Complaint(path=path, expected=f"max_repairs only with repair: {AUTO}", got="no repair")
        return
    if found(root, "parameters") is None:
        return  # a single command, or rules that were read from another sweep file: there is nothing to change
    parameters = _valid(root)
    if isinstance(repair, dict) and any(value is not None for value in repair.values()):
        yield from _names(repair, parameters)
    elif repair in (AUTO, {}):
        yield from _guessed(parameters)
    yield from _rules(root)


def _names(repair: Mapping[object, object], parameters: Mapping[str, Parameter | None]) -> Iterator[Complaint]:
    for role, name in repair.items():
        if role not in ROLES or not isinstance(name, str) or not name:
            continue  # the model refuses it
        path = (*_PATH, str(role))
        if name not in parameters:
            hint = suggested(name, parameters) or f"to fix it for all trials, add {printable(name)}: {{value: ...}}"
            expected = f"a parameter of the sweep for {ROLES[str(role)]}"
            yield Complaint(path=path, expected=expected, got=shown(name), hint=hint)
        elif (parameter := parameters[name]) is not None and name not in repairable({name: parameter}):
            got = f"{printable(name)} with the values {shown(_values(parameter))}"
            yield Complaint(path=path, expected=f"a number for {ROLES[str(role)]}", got=got)
    given = [name for role, name in repair.items() if role in ROLES and isinstance(name, str)]
    for name in dict.fromkeys(name for name in given if given.count(name) > 1):
        yield Complaint(path=_PATH, expected="another parameter in each role", got=f"{printable(name)} twice")


def _values(parameter: Parameter) -> object:
    return getattr(parameter, "values", None) or (getattr(parameter, "value", None),)


def _guessed(parameters: Mapping[str, Parameter | None]) -> Iterator[Complaint]:
    known = {name: parameter for name, parameter in parameters.items() if parameter is not None}
    names, unclear = repaired_parameters(known, RepairNames())
    if names or len(known) < len(parameters):
        return
    several = next(iter(unclear.values()), ())
    got = f"several: {', '.join(map(printable, several))}" if several else "none with a usual name, such as lr"
    hint = f"write repair: {_EXAMPLE} with the script's own names, or repair: {OFF}"
    yield Complaint(path=_PATH, expected="a parameter that a repair can change", got=got, hint=hint)


def _rules(root: Node) -> Iterator[Complaint]:
    mode = found(root, "early_stop", "mode")
    if mode is not None and plain(mode) == "observe":
        hint = "observe stops no trial, so there is none to repair"
        yield Complaint(path=_PATH, expected=f"{OFF} with mode: observe", got="repairs", hint=hint)
    node = found(root, "early_stop", "rules")
    rules = plain(node) if node is not None else PRESET
    if not isinstance(rules, list):
        return
    names = {str(next(iter(rule))) if isinstance(rule, dict) and rule else str(rule) for rule in rules}
    if not names & {PRESET, *RECIPES}:
        hint = f"list {PRESET} or one of {one_of(RECIPES, None)}"
        yield Complaint(path=_PATH, expected="a diagnosis among the rules", got="none", hint=hint)


def _valid(root: Node) -> dict[str, Parameter | None]:
    """Return the parameters by name; None for one that is not valid, which is reported elsewhere."""
    node = found(root, "parameters")
    valid: dict[str, Parameter | None] = {}
    for name, child in (node.children() if node is not None else {}).items():
        try:
            valid[name] = _PARAMETER.validate_python(plain(child))
        except ValidationError:
            valid[name] = None
    return valid
