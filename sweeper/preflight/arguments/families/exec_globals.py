"""Plain globals that the command line overrides: `exec(open("configurator.py").read())`, or `globals()[key] = ...`."""

from __future__ import annotations

import ast

from sweeper.preflight.arguments.model import UNREAD, Argument, ArgumentKind, Arguments, Passing, is_plain, judged
from sweeper.preflight.arguments.options import as_literal
from sweeper.preflight.arguments.script import Module, Script
from sweeper.preflight.arguments.values import name_of


def read(script: Script) -> Arguments | None:
    """Return the globals of a script that are overridden from its command line; None if there are none.

    Those count that are assigned before the line that overrides them, and are numbers, text, true or false.
    """
    module = script.own
    line, text = _overriding(module, script)
    if not line:
        return None
    found: dict[str, Argument] = {}
    for statement in module.tree.body:
        if statement.lineno >= line or not isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        for name, nodes in module.bound.items():
            if name.startswith("_") or not any(node.lineno == statement.lineno for node in nodes):
                continue
            value = script.value(nodes[0], module)
            is_made = isinstance(nodes[0], ast.ListComp | ast.DictComp | ast.GeneratorExp)
            if (value is UNREAD and not is_made) or is_plain(value):
                argument = Argument(name=name, kind=ArgumentKind.OPTION, default=value, help=_comment(module, nodes[0]))
                found[name] = as_literal(judged(argument))
    hyphens = "--" in text
    return Arguments(
        family="globals",
        passing=Passing.FLAGS if hyphens else Passing.OVERRIDES,
        arguments=tuple(found.values()),
    )


def _overriding(module: Module, script: Script) -> tuple[int, str]:
    """Return the line that overrides the globals, and the text of the code that does so; 0 if there is none."""
    for call in module.calls:
        if name_of(call.func) == "exec" and call.args:
            names = [script.value(inner.args[0], module) for inner in _opened(call.args[0])]
            files = [script.folder / name for name in names if isinstance(name, str) and name.endswith(".py")]
            texts = [file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file()]
            if files and (not texts or "globals" in texts[0] or "argv" in texts[0]):
                return call.lineno, texts[0] if texts else "--"
    for node in module.nodes:
        if isinstance(node, ast.Assign) and "globals()[" in ast.unparse(node.targets[0]):
            text = ast.unparse(module.tree)
            return (_outermost(module, node).lineno, text) if "argv" in text else (0, "")
    return 0, ""


def _opened(node: ast.expr) -> list[ast.Call]:
    inner = [one for one in ast.walk(node) if isinstance(one, ast.Call) and one.args]
    return [one for one in inner if name_of(one.func) in ("open", "Path")]


def _outermost(module: Module, node: ast.AST) -> ast.stmt:
    """Return the statement at the top level of the file that contains a node."""
    return next(one for one in module.tree.body if any(inner is node for inner in ast.walk(one)))


def _comment(module: Module, node: ast.expr) -> str:
    """Return the comment behind an assignment, as scripts of this kind describe their settings."""
    try:
        line = module.path.read_text(encoding="utf-8", errors="replace").splitlines()[node.lineno - 1]
    except (OSError, IndexError):
        return ""
    after = line.encode()[node.end_col_offset or 0 :].decode(errors="replace").strip()
    return after.lstrip("# ").strip() if after.startswith("#") else ""
