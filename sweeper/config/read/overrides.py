"""Apply ``KEY=VALUE`` arguments of the command line to a sweep, in Hydra's syntax.

1. The name of a parameter of the sweep, or of a hyperparameter of the trainer, sets that parameter: ``lr=1e-4``,
   ``lr=[1e-4, 3e-4]``.
2. Anything else is a path of keys: ``seeds=[0, 1]``, ``parameters.lr.max=1e-3``, ``early_stop.rules=[]``.
3. A new parameter needs a plus, so that a misspelt name does not create one: ``+x=1``,
   ``+parameters.x.values=[1, 2]``. An existing key must not have a plus. Keys that every sweep may have always exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.config.model.parameters import FORMS, parameter_keys
from sweeper.config.model.sweep import SweepSpec
from sweeper.config.read.command_line import Expected, value_of_argument
from sweeper.config.read.node import Node, Path, found, grafted, plain, without
from sweeper.config.read.profiles import CHOSEN_KEYS
from sweeper.errors import Mistake, SpecError
from sweeper.mistakes import LONGEST, printable, shown, suggested


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One ``KEY=VALUE`` argument.

    Attributes:
        where: the argument as it appears in messages.
        key: the text before the equals sign, without the plus.
        value: the text after the equals sign.
        adds: whether the argument begins with a plus.
    """

    where: str
    key: str
    value: str
    adds: bool = False

    def node(self, path: Path, expected: Expected = Expected.YAML) -> tuple[Node, list[Mistake]]:
        """Parse the value, which belongs at this path of the sweep; return it with the mistakes in it."""
        return value_of_argument(self.key, self.value, self.where, path, expected)


def split(arguments: Sequence[str]) -> tuple[list[Override], list[Mistake]]:
    """Parse the arguments; return the overrides, and the mistakes in the other arguments."""
    overrides, mistakes = [], []
    for argument in arguments:
        key, equals, value = argument.removeprefix("+").partition("=")
        shortened = argument if len(argument) <= LONGEST else f"{argument[:LONGEST]}..."
        where = f"command line: {printable(shortened)}"
        if not equals or not key.strip():
            mistakes.append(Mistake(where=where, key="", expected="KEY=VALUE", got=shown(argument)))
        elif key.split(".")[0] in {"profiles", *CHOSEN_KEYS}:
            hint = "choose one with --profile NAME"
            mistakes.append(Mistake(where=where, key=key, expected="a key of the sweep", got="its profiles", hint=hint))
        else:
            adds = argument.startswith("+")
            overrides.append(Override(where=where, key=key.strip(), value=value, adds=adds))
    return overrides, mistakes


@dataclass(slots=True, kw_only=True)
class Overriding:
    """Apply overrides one after another, and collect the mistakes in them.

    Attributes:
        known: the trainer's hyperparameters and their defaults; empty for a command.
        declared: the parameters that the file or any of its profiles names.
        mistakes: the mistakes so far.
    """

    known: Mapping[str, object]
    declared: frozenset[str]
    mistakes: list[Mistake] = field(default_factory=list)

    def apply(self, root: Node, override: Override) -> Node:
        """Return the sweep with the override applied, or unchanged if the override is wrong."""
        name = self._parameter(override)
        path = ("parameters", name) if name else self._path(override.key)
        if (complaint := self._complaint(root, override, path)) is not None:
            self.mistakes.append(complaint)
            return root
        try:
            node, mistakes = override.node(path, self._expected(root, path))
        except SpecError as error:
            self.mistakes.extend(error.mistakes)
            return root
        self.mistakes.extend(mistakes)
        if mistakes:
            return root
        if override.adds and path[0] == "parameters" and len(path) > 1:
            self.declared |= {str(path[1])}
        if name:
            return grafted(root, path, self._as_parameter(name, node))
        if path[0] == "parameters" and len(path) > 2 and path[-1] in parameter_keys():  # noqa: PLR2004 - it has a key
            root = _without_other_forms(root, path)
        return grafted(root, path, node)

    def _parameter(self, override: Override) -> str | None:
        """Return the name of the parameter that the key stands for, existing or new; None for a path of keys."""
        key = override.key
        of_trainer = key in self.known and key not in SweepSpec.model_fields
        is_new = override.adds and key.split(".")[0] not in SweepSpec.model_fields
        return key if key in self.declared or of_trainer or is_new else None

    def _complaint(self, root: Node, override: Override, path: Path) -> Mistake | None:
        """Return the mistake if the key does not exist, or if it exists and has a plus; otherwise None."""
        if override.adds:
            return self._existing(root, override, path)
        names = sorted({*self.declared, *self.known})
        if path[0] == "parameters" and len(path) > 1:
            if path[1] in names:
                return None
            name, known, expected = str(path[1]), names, "a parameter of the sweep"
        elif path[0] in SweepSpec.model_fields:
            return None
        else:
            name, known = override.key, [*names, *SweepSpec.model_fields]
            expected = "a parameter or a key of the sweep"
        hints = [suggested(name, known), "" if self.known else f"write +{override.key}=... to add it"]
        hint = "; ".join(filter(None, hints))
        return Mistake(where=override.where, key="", expected=expected, got=shown(name), hint=hint)

    def _existing(self, root: Node, override: Override, path: Path) -> Mistake | None:
        """Return the mistake if a key that should be added exists already; otherwise None."""
        parameter = found(root, *path[:2]) if path[0] == "parameters" else None
        beside = [key for key in _other_forms(path[-1]) if parameter is not None and parameter.child(key) is not None]
        if found(root, *path) is None and not beside:
            return None
        expected, hint = "a new key after the +", f"write {override.key}=... to change the existing one"
        return Mistake(where=override.where, key="", expected=expected, got=shown(override.key), hint=hint)

    def _expected(self, root: Node, path: Path) -> Expected:
        """Return what the value at a path may be."""
        if path[0] != "parameters" or len(path) < 2 or path[2:] not in ((), ("value",), ("values",)):  # noqa: PLR2004
            return Expected.YAML
        if _is_number(self.known.get(str(path[1]))):
            return Expected.YAML
        parameter = found(root, *path[:2])
        return expected_of(plain(parameter) if parameter is not None else None)

    def _path(self, key: str) -> Path:
        """Return the keys of a dotted path. A parameter's name may contain dots: it is everything between the ends."""
        parts = key.split(".")
        if parts[0] == "parameters" and len(parts) > 1:
            named = ".".join(parts[1:]) in self.declared  # a name may end as a key does: optimizer.a
            last = parts[-1:] if parts[-1] in parameter_keys() and len(parts) > 2 and not named else []  # noqa: PLR2004 parameters.NAME.KEY
            return ("parameters", ".".join(parts[1 : len(parts) - len(last)]), *last)
        return tuple(int(part) if part.isdecimal() else part for part in parts)

    def _as_parameter(self, name: str, node: Node) -> Node:
        """Return the parameter `{value: ...}`, or `{values: ...}` for a list. A mapping is kept as it is."""
        if isinstance(node.value, Mapping):
            return node
        several = isinstance(node.value, tuple) and not isinstance(self.known.get(name), list | tuple)
        key = "values" if several else "value"
        return Node(where=node.where, key=node.key, value={key: _moved(node, key)})


def expected_of(parameter: object) -> Expected:
    """Return what else a parameter may be, which is declared with numbers, or with other values."""
    if not isinstance(parameter, Mapping):
        return Expected.ANY
    given = [parameter.get(key) for key in ("value", "min", "max") if key in parameter]
    values = parameter.get("values", ())
    given += values if isinstance(values, list | tuple) else ()
    return Expected.NUMBER if given and all(map(_is_number, given)) else Expected.ANY


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _moved(node: Node, key: str) -> Node:
    """Return the node with a longer path, so that messages name the key that it is put under."""
    items = node.value
    if isinstance(items, tuple):
        items = tuple(Node(where=i.where, key=(*node.key, key, n), value=i.value) for n, i in enumerate(items))
    return Node(where=node.where, key=(*node.key, key), value=items)


def _without_other_forms(root: Node, path: Path) -> Node:
    """Return the sweep without the keys that contradict the one being set, such as `value` if `values` is set."""
    *parameter, key = path
    node = found(root, *parameter)
    if node is None or not isinstance(node.value, Mapping):
        return root
    return grafted(root, tuple(parameter), without(node, _other_forms(key)))


def _other_forms(key: str | int) -> list[str]:
    """Return the keys of a parameter that contradict the given one."""
    own = {other for keys in FORMS.values() if key in keys for other in keys}
    return [other for other in parameter_keys() if other not in own and other != "when"] if own else []


def declared_parameters(root: Node) -> frozenset[str]:
    """Return the parameters that a sweep or any of its profiles names."""
    profiles = found(root, "profiles")
    holders = [root, *(profiles.children().values() if profiles else ())]
    parameters = (found(holder, "parameters") for holder in holders)
    return frozenset(name for node in parameters if node for name in node.children())


def hyperparameters(root: Node, trainers: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
    """Return the hyperparameters of the sweep's trainer and their defaults; empty for a command."""
    trainer = found(root, "trainer")
    name = plain(trainer) if trainer else None
    return trainers.get(name, {}) if isinstance(name, str) else {}
