"""Warn of what a command passes on as it is written: `${...}` that is no macro, and dots in names in JSON."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.config.model.macros import JSON, macro, unknown_macros
from sweeper.config.model.sweep import SweepSpec
from sweeper.config.read.node import Node, found


def warnings_about_unknown_macros(root: Node, spec: SweepSpec) -> Iterator[str]:
    """Yield a warning, with its line, for each `${...}` and each dotted name that sweeper does not interpret."""
    for index, name in unknown_macros(spec.command or (), spec.parameters):
        node = found(root, "command", index)
        where = f"{node.where}: command.{index}" if node else "command"
        is_variable = name.isidentifier() and name.isupper()
        hint = f"; for the environment variable, write {macro(f'envvar:{name}')}" if is_variable else ""
        yield f"{where}: {macro(name)} is no macro, so the program gets this text as it is{hint}"
    dotted = [name for name in spec.parameters if "." in name and name not in (spec.nesting or {})]
    used = next((macro(name) for name in JSON if macro(name) in (spec.command or ())), "")
    if dotted and used and (node := found(root, "parameters", dotted[0])) is not None:
        group, _, rest = dotted[0].partition(".")
        others = f" and {len(dotted) - 1} more" if len(dotted) > 1 else ""
        hint = f"to nest it, write {group}: {{parameters: {{{rest}: ...}}}}"
        yield f"{node.where}: parameters.{dotted[0]}: the name{others} keeps its dot in {used}, as with W&B; {hint}"
