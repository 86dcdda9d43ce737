"""Check `start_with` and `learn_from` against the rest of a sweep, and compare them in two versions of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from sweeper.config.model.conditions import in_dependency_order
from sweeper.config.model.known import demands, setting_of, taken
from sweeper.config.model.parameters import Choice, Parameter, Range
from sweeper.config.model.sweep import LEARNING, Method, SweepSpec
from sweeper.config.model.values import identity
from sweeper.config.read.node import Complaint, Node, found, plain
from sweeper.mistakes import IN_FILE, listed, one_of, printable, shown, suggested

MOST_ENTRIES = 1_000
FROM_OTHERS = tuple(method for method in LEARNING if method not in (Method.NSGA2, Method.NSGA3))
"""The methods that `learn_from` is for. The genetic algorithms learn from their own generations only."""

_WHEN_TRIED = {
    Method.GRID: "; its trials exist already, and `sweeper queue RUN NUMBER --first` moves them to the front",
    Method.PBT: ", which is tried only if members of the first turn are left to be made",
}
"""When an entry is tried that is added to the file of an existing run, for the methods that do not try it next."""

_PARAMETER: TypeAdapter[Parameter] = TypeAdapter(Parameter)


def complaints_about_known(root: Node) -> Iterator[Complaint]:
    """Find values of `start_with` that the sweep does not have, and a `learn_from` that nothing would use."""
    yield from _learn_from(root)
    start_with = found(root, "start_with")
    entries = plain(start_with) if start_with is not None else None
    if not isinstance(entries, list):
        return
    if len(entries) > MOST_ENTRIES:
        yield Complaint(path=("start_with",), expected=f"at most {MOST_ENTRIES:,} entries", got=str(len(entries)))
        return
    given = found(root, "parameters")
    declared = {name: plain(node) for name, node in given.children().items()} if given is not None else {}
    parameters = _valid(declared)
    seen: dict[tuple[object, ...], int] = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            continue  # the model refuses it
        complaints = list(_entry(("start_with", index), entry, declared, parameters))
        yield from complaints
        if complaints or not entry.keys() <= parameters.keys():
            continue
        key = identity(setting_of(parameters, entry))
        if key in seen:
            got = f"the entry {seen[key]} once more"
            yield Complaint(path=("start_with", index), expected="each setting only once", got=got)
        seen.setdefault(key, index)


def _learn_from(root: Node) -> Iterator[Complaint]:
    node, method = found(root, "learn_from"), found(root, "method")
    given, name = plain(node) if node is not None else None, plain(method) if method is not None else None
    if given and name in list(Method) and name not in FROM_OTHERS:
        expected = f"a method that learns from other runs ({listed(FROM_OTHERS)}) with learn_from"
        yield Complaint(path=("learn_from",), expected=expected, got=f"method: {name}")
    if given and found(root, "objectives") is not None:
        yield Complaint(path=("learn_from",), expected="one metric with learn_from", got="several objectives")
    constraints = found(root, "constraints")
    if given and constraints is not None and plain(constraints):
        hint = "of other runs only the value of the metric is read, not by how much they miss a bound"
        yield Complaint(path=("learn_from",), expected="no constraints with learn_from", got="constraints", hint=hint)


def _valid(declared: Mapping[str, object]) -> dict[str, Parameter]:
    """Return the parameters that are valid; none if their conditions are not."""
    parameters: dict[str, Parameter] = {}
    for name, parameter in declared.items():
        try:
            parameters[name] = _PARAMETER.validate_python(parameter)
        except ValidationError:
            continue
    try:
        in_dependency_order(parameters)
    except ValueError:
        return {}
    return parameters


def _entry(
    path: tuple[str | int, ...],
    entry: Mapping[str, object],
    declared: Mapping[str, object],
    parameters: Mapping[str, Parameter],
) -> Iterator[Complaint]:
    if not entry:
        yield Complaint(path=path, expected="the value of at least one parameter", got="an empty mapping")
    fine = True
    for name, value in entry.items():
        if name not in declared:
            fine = False
            names = one_of(declared, name, IN_FILE) if declared else ""
            known = f"a parameter of the sweep: {names}" if names else "parameters to give values of"
            hint = suggested(name, declared)
            yield Complaint(path=(*path, name), expected=known, got=printable(name), hint=hint)
        elif name in parameters:
            try:
                taken(parameters[name], value)
            except ValueError as error:
                fine = False
                expected, hint = f"{error} for {name}", _hint(name, parameters[name], value)
                yield Complaint(path=(*path, name), expected=expected, got=shown(value), hint=hint)
        else:
            fine = False
    for name, parent in demands(parameters, setting_of(parameters, entry)).contradictions if fine else ():
        values = listed([shown(value) for value in parameters[name].when[parent]])
        got = f"{parent}={shown(entry[parent])}" if parent in entry else f"another {parent}"
        expected = f"{parent}={values}, which {name} needs"
        yield Complaint(path=(*path, name) if name in entry else path, expected=expected, got=got)


def _hint(name: str, parameter: Parameter, value: object) -> str:
    """Return how the sweep can have a value that a parameter does not take."""
    if isinstance(parameter, Choice):
        return f"add it to parameters.{name}.values to try it"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(parameter, Range) and is_number and not parameter.min <= value <= parameter.max:  # type: ignore[operator]
        return f"widen parameters.{name} to try it, so that the search can learn from it"
    return ""


def known_changes(old: SweepSpec, new: SweepSpec) -> Iterator[str]:
    """Find changes of `start_with` and `learn_from`. The existing trials stay valid, so all of them are additions."""
    before, after = ({identity(entry): entry for entry in spec.start_with} for spec in (old, new))
    for key, entry in after.items():
        if key not in before:
            yield f"start_with: added {_entry_text(entry)}{_WHEN_TRIED.get(new.method, ', which is tried next')}"
    for key, entry in before.items():
        if key not in after:
            yield f"start_with: removed {_entry_text(entry)}; a configuration that was made from it stays"
    for run in new.learn_from:
        if run not in old.learn_from:
            yield f"learn_from: added {shown(run)}; its trials count from the next proposal on"
    for run in old.learn_from:
        if run not in new.learn_from:
            yield f"learn_from: removed {shown(run)}; its trials do not count in further proposals"


def _entry_text(entry: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{name}: {shown(value)}" for name, value in entry.items()) + "}"
