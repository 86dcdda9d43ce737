"""One command as a sweep of one trial: what `sweeper exec` runs, and as a file that `sweeper run` takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import yaml

from sweeper.config.model.sweep import EarlyStop, Method, SweepSpec
from sweeper.config.read.load import mistakes_of, ordered, text_of
from sweeper.config.read.node import Complaint, Node, grafted, located, plain
from sweeper.config.read.scalars import form
from sweeper.config.read.yaml_text import TextSource, parsed
from sweeper.errors import Mistake, SpecError
from sweeper.mistakes import printable, shown, suggested
from sweeper.rules.base import StopSettings
from sweeper.rules.settings import AUTO, written

NO_RULES = "none"
"""In place of a file of rules: no rule stops the run early."""

_HEAD = "# Written by `sweeper exec`: one run, as a sweep of one trial. `sweeper run` takes it as it is.\n"
_COMMAND_LINE = TextSource("command line", numbered=False)


def sweep_of_command(  # noqa: PLR0913 - all by name
    command: Sequence[str],
    *,
    name: str,
    metric: str,
    goal: str,
    early_stop: str | None,
    more: Mapping[str, object] = MappingProxyType({}),
) -> SweepSpec:
    """The sweep whose only trial is the command.

    Args:
        early_stop: the path of a file of rules, ``none``, or ``auto`` for the preset; None is ``auto``.
        more: other keys of a sweep file: ``retry``, ``hang_after_s``.

    Raises:
        SpecError: the name, the metric, the command or the rules have mistakes; all of them are in it.
        UsageError: the file of rules cannot be read.
    """
    given = {
        "name": name,
        "method": Method.GRID.value,
        "metric": {"name": metric, "goal": goal},
        "command": list(command),
        **more,
    }
    root, mistakes = parsed(_yaml(given), _COMMAND_LINE)
    rules, mistakes_there = _rules(early_stop)
    root = grafted(root, ("early_stop",), rules)
    mistakes += [*mistakes_there, *mistakes_of(root, {})]
    if mistakes:
        raise SpecError(ordered(mistakes, printable(early_stop or "")))
    return SweepSpec.model_validate(plain(root))


def rules_from_file(path: str) -> EarlyStop:
    """The rules of a file, as `sweep_of_command` reads them; ``none`` is no rule.

    Raises:
        SpecError: the rules have mistakes; all of them are in it.
        UsageError: the file cannot be read.
    """
    # A sweep around them, so that they are read, checked and complained of in the one way there is.
    spec = sweep_of_command(["true"], name="rules", metric="loss", goal="minimize", early_stop=path)
    return spec.early_stop or EarlyStop(rules=())


def command_as_file(spec: SweepSpec) -> str:
    """A sweep made by `sweep_of_command`, as the file that `load` reads it from."""
    resolved = spec.to_json()
    given = [key for key in _MORE if key in spec.model_fields_set]
    keys = ("name", "method", "metric", "command", "early_stop", *given)
    return _HEAD + _yaml({key: resolved[key] for key in keys if resolved[key] is not None})


_MORE = ("retry", "hang_after_s")
"""What `sweep_of_command` may be given beside what it has to be given."""


def rules_as_yaml(rules: Sequence[StopSettings]) -> str:
    """Return the rules as lines of a sweep file, with the settings that differ from the defaults."""
    return _yaml({"early_stop": {"rules": written(rules)}})


def value_from_text(text: str, name: str) -> object:
    """The value that a text is in a sweep file.

    Raises:
        SpecError: it is none.
    """
    root, mistakes = parsed(text, TextSource(f"command line: {printable(name)}", numbered=False))
    if mistakes:
        raise SpecError(mistakes)
    return plain(root)


def inline_yaml(value: object) -> str:
    """A value on one line, as a person would write it in a sweep file."""
    match value:
        case float() if math.isfinite(value):
            return shown(value)
        case Mapping():
            return "{" + ", ".join(f"{inline_yaml(key)}: {inline_yaml(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(inline_yaml, value)) + "]"
        case _:  # within a list, since more has to be quoted there
            return yaml.dump([value], Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=math.inf)[1:-2]


def _rules(path: str | None) -> tuple[Node, list[Mistake]]:
    """What stands under `early_stop` in the file, or the whole of a file that holds nothing else."""
    if path is None or path in (AUTO, NO_RULES):
        return Node(where=_COMMAND_LINE.name, key=("early_stop",), value=None if path == NO_RULES else AUTO), []
    root, mistakes = parsed(text_of(path, "a file of rules"), TextSource(printable(path)))
    early_stop = root.child("early_stop")
    if early_stop is None and root.child("rules") is None:
        raise SpecError([*mistakes, located(root, _no_rules(root))])
    return early_stop or root, mistakes


def _no_rules(root: Node) -> Complaint:
    known = ("early_stop", *EarlyStop.model_fields)
    hints = [hint for key in root.children() if (hint := suggested(key, known))]
    return Complaint(
        path=(),
        expected="the key early_stop or rules",
        got=f"other keys: {', '.join(map(printable, root.children()))}" if root.children() else shown(plain(root)),
        hint=hints[0] if hints else f"write early_stop: {AUTO}",
    )


def _yaml(data: Mapping[str, object]) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=math.inf)


class _Dumper(yaml.SafeDumper):
    """Quotes also what only YAML 1.2 takes for a number, like 1e-4, and escapes what lines are folded at."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plainly = form(text) == "str" and text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plainly else '"')


_Dumper.add_representer(str, _text)
