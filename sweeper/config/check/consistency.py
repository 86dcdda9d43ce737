"""Check the rules about several keys of a sweep, even if some of the keys are invalid by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sweeper.config.check.known import complaints_about_known
from sweeper.config.check.objectives import complaints_about_objectives
from sweeper.config.check.population import complaints_about_population
from sweeper.config.check.repairing import complaints_about_repair
from sweeper.config.check.resuming import complaints_about_resuming
from sweeper.config.check.signatures import function_of
from sweeper.config.model.macros import complaints_about_macros, complaints_about_values
from sweeper.config.model.parameters import SHAPES, Distribution, default_distribution
from sweeper.config.model.sweep import MEASURED, Method
from sweeper.config.read.node import Complaint, Node, found, plain
from sweeper.mistakes import listed, printable, shown, suggested
from sweeper.rules.diagnoses import DIAGNOSES, STOPPING
from sweeper.rules.settings import AUTO

Trainers = Mapping[str, Mapping[str, object]]
"""Built-in trainers by name, each with its hyperparameters and their defaults."""

MOST_PARAMETERS = 256
LONGEST_PARAMETER_NAME = 100

PROGRAM = "${program}"
SOURCES = ("dataset", "tokenizer")
"""Keys of the sweep that a built-in trainer reads. They are not parameters."""


def complaints(root: Node, trainers: Trainers) -> Iterator[Complaint]:
    """Find every contradiction in the sweep."""
    yield from _what_is_run(root)
    yield from complaints_about_resuming(root)
    yield from _trainer(root, trainers)
    yield from _parameters(root, trainers)
    yield from _sources(root)
    yield from _resources(root)
    yield from complaints_about_objectives(root)
    yield from complaints_about_population(root)
    yield from _grid(root)
    yield from _conditions(root)
    yield from complaints_about_known(root)
    yield from _notify(root)
    yield from _rules(root)
    yield from complaints_about_repair(root)


def _what_is_run(root: Node) -> Iterator[Complaint]:
    given = [key for key in ("trainer", "command", "program") if _data(root, key) is not None]
    if not given:
        yield Complaint(path=(), expected="a trainer, a command or a program", got="none of them")
    command = _data(root, "command")
    uses_program = isinstance(command, list) and PROGRAM in command
    yield from complaints_about_macros(command if isinstance(command, list) else [], _names(root))
    # In W&B's files, ${program} in command stands for program; without command, there is a default command.
    if given == ["command", "program"]:
        return
    if len(given) > 1:
        got = listed(given).replace(" or ", " and ")
        yield Complaint(path=(given[-1],), expected="only one of trainer, command and program", got=got)
    if given == ["command"] and uses_program:
        yield Complaint(path=("program",), expected=f"a program for {PROGRAM} in command", got="nothing")


def _notify(root: Node) -> Iterator[Complaint]:
    notify = _data(root, "notify")
    if isinstance(notify, dict) and not {"command", "webhook"} & set(notify):
        yield Complaint(path=("notify",), expected="a command, a webhook, or both", got="neither")


def _rules(root: Node) -> Iterator[Complaint]:
    """Find diagnoses that are listed twice. Only one of the two could apply."""
    rules = _data(root, "early_stop", "rules")
    names = [_rule_name(rule) for rule in rules] if isinstance(rules, list) else []
    preset = names.index(AUTO) if AUTO in names else len(names)
    for index, name in enumerate(names):
        path = ("early_stop", "rules", index)
        if (name == AUTO or name in DIAGNOSES) and name in names[:index]:
            yield Complaint(path=path, expected=f"{name} only once", got=f"{name} twice")
        elif name in STOPPING and index < preset < len(names):
            got = f"{name} before {AUTO}, which has {name} too"
            hint = f"list {name} after {AUTO}, so that it replaces the one there"
            yield Complaint(path=path, expected=f"{name} only once", got=got, hint=hint)


def _rule_name(rule: object) -> str:
    """Return the name of a rule in the list; an empty string for an invalid entry."""
    if isinstance(rule, dict) and len(rule) == 1:
        return str(next(iter(rule)))
    return AUTO if rule == AUTO else ""


def _trainer(root: Node, trainers: Trainers) -> Iterator[Complaint]:
    name = _data(root, "trainer")
    if isinstance(name, str) and name not in trainers and function_of(root) is None:
        built_in = f"a built-in trainer ({listed(trainers)}), or " if trainers else ""
        expected = f"{built_in}a function as package.module:function"
        yield Complaint(path=("trainer",), expected=expected, got=shown(name), hint=suggested(name, trainers))


def _parameters(root: Node, trainers: Trainers) -> Iterator[Complaint]:
    trainer = _data(root, "trainer")
    known = trainers.get(trainer) if isinstance(trainer, str) else None
    count = len(_children(root))
    if count > MOST_PARAMETERS:
        yield Complaint(path=("parameters",), expected=f"at most {MOST_PARAMETERS} parameters", got=str(count))
    for name in _names(root):
        path = ("parameters", name)
        for part, value in _values(_data(root, *path)):
            yield from complaints_about_values(value, (*path, *part))
        if name == "seed":
            hint = "write seeds: [0, 1, 2] beside parameters"
            if trainer is None:
                hint += ', and add "--seed=${trial:seed}" to command if the script has this option'
            yield Complaint(path=path, expected="seeds under the key seeds", got="a parameter named seed", hint=hint)
        elif not _is_name(name):
            expected = "a name of letters, digits and . _ - that begins with a letter"
            yield Complaint(path=path, expected=expected, got=shown(name))
        elif trainer is not None and function_of(root) is None and name in SOURCES:
            hint = f"write {name}: [...] beside parameters"
            yield Complaint(path=path, expected=f"a {name} under the key {name}", got=f"a parameter {name}", hint=hint)
        elif known is not None and name not in known:
            yield _unknown_parameter(name, str(trainer), known)
        elif known is not None:
            yield from _wrong_kind(name, _data(root, *path), known[name])


def _is_name(name: str) -> bool:
    """Return whether the name can be used in `--name=value` and in the name of a TensorBoard run."""
    return (
        len(name) <= LONGEST_PARAMETER_NAME
        and name.replace(".", "_").replace("-", "_").isidentifier()
        and name[0] not in "-."
    )


def _unknown_parameter(name: str, trainer: str, known: Mapping[str, object]) -> Complaint:
    # All of them, because no page and no command has the list.
    names = listed(key for key in known if key not in SOURCES).replace(" or ", " and ")
    hint = suggested(name, known) or f"it has {names}"
    expected = f"a hyperparameter of {trainer}"
    return Complaint(path=("parameters", name), expected=expected, got=f"the unknown name {printable(name)}", hint=hint)


def _wrong_kind(name: str, parameter: object, default: object) -> Iterator[Complaint]:
    """Find values of another type than the trainer's default. The trainer itself checks null, as value or default."""
    for path, value in _values(parameter):
        expected = next(
            (words for kind, words, fits in _KINDS if type(default) is kind and type(value) not in fits), ""
        )
        if expected and value is not None:
            yield Complaint(path=("parameters", name, *path), expected=f"{expected} for {name}", got=shown(value))


_KINDS: tuple[tuple[type, str, tuple[type, ...]], ...] = (
    (bool, "true or false", (bool,)),
    (int, "a whole number", (int,)),
    (float, "a number", (int, float)),
    (str, "text", (str,)),
)
"""The types of defaults, their names in messages, and the types of values that are allowed instead."""


def _values(parameter: object) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Return every value in a parameter, with its path."""
    for key, value in parameter.items() if isinstance(parameter, dict) else ():
        if key == "values" and isinstance(value, list):
            yield from (((key, index), item) for index, item in enumerate(value))
        elif key in {"value", "min", "max", "q"}:
            yield (key,), value


def _sources(root: Node) -> Iterator[Complaint]:
    for key in SOURCES:
        if found(root, key) is not None and (found(root, "trainer") is None or function_of(root) is not None):
            hint = f"write it as parameters.{key}, or in the command"
            got = "no trainer" if found(root, "trainer") is None else "a function"
            yield Complaint(path=(key,), expected="the key only with a built-in trainer", got=got, hint=hint)


def _resources(root: Node) -> Iterator[Complaint]:
    gpus, memory = _data(root, "resources", "gpus"), _data(root, "resources", "gpu_memory_gb")
    if memory == MEASURED and isinstance(gpus, int | float) and gpus > 1:
        path, hint = ("resources", "gpu_memory_gb"), "a trial with several GPUs does not share them"
        yield Complaint(path=path, expected=f"gpus of 1 or less with {MEASURED}", got=f"gpus: {gpus}", hint=hint)


def _grid(root: Node) -> Iterator[Complaint]:
    """Find continuous ranges in a grid, which has finitely many points."""
    if _data(root, "method") != Method.GRID:
        return
    for name in _names(root):
        parameter = _data(root, "parameters", name)
        if not isinstance(parameter, dict):
            continue
        if parameter.get("probabilities") is not None:
            hint = "a grid tries every value once: remove them, or write method: random"
            path = ("parameters", name, "probabilities")
            yield Complaint(path=path, expected="values without probabilities in a grid", got="them", hint=hint)
        shape = parameter.get("distribution")
        if isinstance(shape, str) and shape in SHAPES:
            expected = "value, values, int_uniform or q_uniform in a grid"
            hint = "it has infinitely many values, which need another method, such as random or tpe"
            yield Complaint(path=("parameters", name), expected=expected, got=shape, hint=hint)
        if not {"min", "max"} <= parameter.keys():
            continue
        distribution = parameter.get("distribution", default_distribution(parameter))
        if distribution in (Distribution.UNIFORM, Distribution.LOG_UNIFORM):  # not a set: an invalid list has no hash
            hint = "a continuous range needs another method, such as random or tpe"
            yield Complaint(
                path=("parameters", name),
                expected="value, values, int_uniform or q_uniform in a grid",
                got=f"min and max of {distribution}",
                hint=hint,
            )


def _conditions(root: Node) -> Iterator[Complaint]:
    """Find conditions that can never hold, and methods that do not support conditions."""
    parents: dict[str, list[str]] = {}
    for name in _names(root):
        when = _data(root, "parameters", name, "when")
        parents[name] = [parent for parent in when if parent in _names(root)] if isinstance(when, dict) else []
        for parent, values in when.items() if isinstance(when, dict) else ():
            yield from _condition(root, ("parameters", name, "when", str(parent)), values)
        if when and _data(root, "method") == Method.CMAES:
            expected, hint = "no conditional parameter with cmaes", "method: tpe supports them"
            yield Complaint(path=("parameters", name, "when"), expected=expected, got="a condition", hint=hint)
    for name in parents:
        circle = _circle(name, parents)
        if circle and name == min(circle):  # each circle once
            got = f"a circle: {' on '.join([*circle, name])}"
            yield Complaint(path=("parameters", name, "when"), expected="a condition on other parameters", got=got)


def _condition(root: Node, path: tuple[str, ...], values: object) -> Iterator[Complaint]:
    """Find mistakes in one parameter's condition on another. The path ends with the name of the other."""
    parent = _data(root, "parameters", path[-1])
    if path[-1] not in _names(root):
        hint = suggested(path[-1], _names(root))
        yield Complaint(path=path, expected="a parameter of this sweep", got=printable(path[-1]), hint=hint)
    elif isinstance(parent, dict) and ("value" in parent or isinstance(parent.get("values"), list)):
        possible = [parent["value"]] if "value" in parent else parent["values"]
        expected = f"a value that {path[-1]} takes ({listed([shown(known) for known in possible] or ['none'])})"
        for value in values if isinstance(values, list) else [values]:
            if all(value != known or isinstance(value, bool) != isinstance(known, bool) for known in possible):
                yield Complaint(path=path, expected=expected, got=shown(value))
    elif isinstance(parent, dict):
        expected = "a condition on a parameter with value or values"
        yield Complaint(path=path, expected=expected, got="a condition on a range")


def _circle(name: str, parents: Mapping[str, list[str]]) -> list[str]:
    """Return the names on a circle of conditions from a parameter back to itself; empty if there is none."""
    paths = [[name]]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        for parent in parents[path[-1]]:
            if parent == name:
                return path
            if parent not in seen:
                seen.add(parent)
                paths.append([*path, parent])
    return []


def _data(root: Node, *path: str) -> object:
    node = found(root, *path)
    return plain(node) if node else None


def _names(root: Node) -> list[str]:
    """Return the names of the parameters, at most `MOST_PARAMETERS` of them."""
    return list(_children(root))[:MOST_PARAMETERS]


def _children(root: Node) -> Mapping[str, Node]:
    parameters = found(root, "parameters")
    return parameters.children() if parameters else {}
