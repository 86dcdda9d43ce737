"""Find the paths that all trials would write to because the script has them as its own defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sweeper.config import Constant, Remark, SweepSpec, is_shared_path
from sweeper.errors import UsageError
from sweeper.preflight.arguments import Argument, ArgumentKind, Passing, arguments_of
from sweeper.preflight.arguments.roles import is_output, output_of
from sweeper.preflight.command.program import DEFAULT_COMMAND, Program

_HYPHENS = {Passing.FLAGS: "--", Passing.OVERRIDES: ""}
"""What stands before a name in the command, by how a script takes its parameters."""


def outputs_by_default(spec: SweepSpec, program: Program) -> Iterator[Remark]:
    """Warn of an option that names an output, has a default path, and is neither in the command nor a parameter."""
    script = program.script.text if program.script is not None else None
    if script is None or not script.endswith(".py") or program.code is not None or _is_alone(spec):
        return
    try:
        read = arguments_of(Path(script), {})
    except UsageError:
        return
    if read.passing not in _HYPHENS:
        return
    given = {_plain(name) for name in spec.parameters}
    given |= {_plain(re.split("[= ]", word, maxsplit=1)[0]) for word in spec.command or DEFAULT_COMMAND}
    for one in read.arguments:
        if _is_fixed(one) and _plain(one.name) not in given:
            name = f"{_HYPHENS[read.passing]}{one.name}"
            text = (
                f"{Path(script).name} has {name}={one.default} by default, so every trial would write there, and one "
                f'could resume from, or overwrite, the files of another; add "{name}={output_of(one)}" to command'
            )
            yield Remark(path=("command",) if spec.command else ("program",), text=text)


def _is_alone(spec: SweepSpec) -> bool:
    """Return whether a single trial runs."""
    several = any(not isinstance(one, Constant) for one in spec.parameters.values())
    return spec.run_cap == 1 or spec.budget.trials == 1 or not (several or len(spec.seeds) > 1)


def _is_fixed(one: Argument) -> bool:
    path = one.default
    if one.kind is not ArgumentKind.OPTION or not isinstance(path, str) or not is_output(one):
        return False
    return bool(path) and is_shared_path(path)


def _plain(name: str) -> str:
    return name.lstrip("-+").lower().replace("-", "_")
