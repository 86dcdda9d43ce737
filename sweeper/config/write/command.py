"""Make a sweep of one trial from a command, as `sweeper exec` does, and write it as a sweep file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import yaml

from sweeper.config.model.sweep import EarlyStop, Method, SweepSpec
from sweeper.config.read.command_line import Expected, value_of_argument
from sweeper.config.read.load import mistakes_of, ordered, text_of
from sweeper.config.read.naming import with_title
from sweeper.config.read.node import Complaint, Node, grafted, located, plain
from sweeper.config.read.scalars import form
from sweeper.config.read.yaml_text import TextSource, parsed
from sweeper.errors import Mistake, SpecError
from sweeper.mistakes import printable, shown, suggested
from sweeper.rules.base import StopSettings
from sweeper.rules.settings import AUTO, written

NO_RULES = "none"
"""Instead of the path of a rules file: no rule stops the run early."""

_HEAD = "# Written by `sweeper exec`: one run as a sweep of one trial. `sweeper run` accepts this file unchanged.\n"
_COMMAND_LINE = TextSource("command line", numbered=False)


def sweep_of_command(  # noqa: PLR0913 - all by name
    command: Sequence[str],
    *,
    name: str,
    metric: str,
    goal: str,
    early_stop: str | None,
    other_keys: Mapping[str, object] = MappingProxyType({}),
) -> SweepSpec:
    """Return the sweep of one trial that runs the command.

    Args:
        command: the command and its arguments.
        name: the name of the sweep.
        metric: the name of the metric.
        goal: ``minimize`` or ``maximize``.
        early_stop: the path of a rules file, ``none``, or ``auto`` for the preset; None means ``auto``.
        other_keys: values of `OTHER_KEYS`.

    Raises:
        SpecError: the name, the metric, the command or the rules have mistakes. The error has all of them.
        UsageError: the rules file cannot be read.
    """
    given = {
        "name": name,
        "method": Method.GRID.value,
        "metric": {"name": metric, "goal": goal},
        "command": list(command),
        **other_keys,
    }
    root, mistakes = parsed(_yaml(given), _COMMAND_LINE)
    root = with_title(root) or root
    rules, mistakes_in_rules = _rules(early_stop)
    root = grafted(root, ("early_stop",), rules)
    mistakes += [*mistakes_in_rules, *mistakes_of(root, {})]
    if mistakes:
        raise SpecError(ordered(mistakes, printable(early_stop or "")))
    return SweepSpec.model_validate(plain(root))


def rules_from_file(path: str) -> EarlyStop:
    """Return the rules in a file; ``none`` instead of a path means no rules.

    Raises:
        SpecError: the rules have mistakes. The error has all of them.
        UsageError: the file cannot be read.
    """
    # They are put into a sweep, so that they are checked like the rules of any sweep file.
    spec = sweep_of_command(["true"], name="rules", metric="loss", goal="minimize", early_stop=path)
    return spec.early_stop or EarlyStop(rules=())


def command_as_file(spec: SweepSpec) -> str:
    """Return a sweep made by `sweep_of_command` as the text of a sweep file."""
    resolved = spec.to_json()
    given = [key for key in OTHER_KEYS if key in spec.model_fields_set]
    titled = ("title",) if spec.title else ()
    keys = ("name", *titled, "method", "metric", "command", "early_stop", *given)
    return _HEAD + _yaml({key: resolved[key] for key in keys if resolved[key] is not None})


OTHER_KEYS = ("watch", "retry", "hang_after_s", "output_limit_mb", "resume_args")
"""Optional keys of a sweep file that `sweep_of_command` accepts."""


def rules_as_yaml(rules: Sequence[StopSettings]) -> str:
    """Return the rules as lines of a sweep file, with the settings that differ from the defaults."""
    return _yaml({"early_stop": {"rules": written(rules)}})


def value_from_text(text: str, name: str) -> object:
    """Parse a text as a value of a sweep file: 0.1, true, [1, 2], or text. `name` is its name for messages.

    Raises:
        SpecError: the text is not a valid value.
    """
    root, mistakes = parsed(text, TextSource(f"command line: {printable(name)}", numbered=False))
    if mistakes:
        raise SpecError(mistakes)
    return plain(root)


def value_as_typed(text: str, name: str) -> object:
    """Parse the value of a ``NAME=VALUE`` argument, as overrides of parameters do: ``0012`` stays text.

    Raises:
        SpecError: the text is not a valid value, or has to be quoted.
    """
    where = f"command line: {printable(name)}"
    root, mistakes = value_of_argument(name, text, where, (), Expected.ANY)
    if mistakes:
        raise SpecError(mistakes)
    return plain(root)


def inline_yaml(value: object) -> str:
    """Return a value on one line, as a person would write it in a sweep file."""
    match value:
        case float() if math.isfinite(value):
            return shown(value)
        case Mapping():
            return "{" + ", ".join(f"{inline_yaml(key)}: {inline_yaml(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(inline_yaml, value)) + "]"
        case _:  # as an item of a list, where more characters need quotes
            return yaml.dump([value], Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=math.inf)[1:-2]


def _rules(path: str | None) -> tuple[Node, list[Mistake]]:
    """Return the rules in a file, under the key `early_stop` or `rules`, and the mistakes in the file's YAML."""
    if path is None or path in (AUTO, NO_RULES):
        return Node(where=_COMMAND_LINE.name, key=("early_stop",), value=None if path == NO_RULES else AUTO), []
    root, mistakes = parsed(text_of(path, "a rules file"), TextSource(printable(path)))
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
    """A dumper that also quotes text that only YAML 1.2 reads as a number, such as 1e-4, and line separators."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plainly = form(text) == "str" and text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plainly else '"')


_Dumper.add_representer(str, _text)
