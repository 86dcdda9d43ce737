"""Write a first, commented sweep file for a script or a function: `sweeper init`.

The file is valid as it is: it runs one trial with the default values of the script. The user chooses what to vary. What
could not be read is said in the file, as TO DO, and by the command.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeper.config import as_name, inline_yaml
from sweeper.mistakes import printable
from sweeper.preflight.arguments import Argument, ArgumentKind, Arguments, Passing, arguments_of
from sweeper.preflight.draft.choices import Choices, choices_of
from sweeper.preflight.draft.command import command_lines
from sweeper.preflight.draft.metric import metric_lines, tail_lines
from sweeper.preflight.draft.parameters import parameter_lines
from sweeper.trainers import is_function, signature_of

__all__ = ["Draft", "draft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A new sweep file.

    Attributes:
        name: its name.
        text: its text.
        unread: the lines of the script that could not be read for it.
        to_do: what else is left to do by hand, one sentence each.
    """

    name: str
    text: str
    unread: tuple[str, ...]
    to_do: tuple[str, ...]


def draft(target: str, given: Mapping[str, str]) -> Draft:
    """Return a sweep file for a script, given by its path, or for a function, given as `package.module:function`.

    Args:
        target: the script or function.
        given: values of arguments, as YAML; required for arguments without a default.

    Raises:
        UsageError: the script or function cannot be read, or an argument without a default has no value.
    """
    read = _of_function(target) if is_function(target) else arguments_of(Path(target), given)
    choices = choices_of(target, read, given)
    head = target.partition(":")[2] if is_function(target) else Path(target).stem
    lines = [
        *_head(target, read),
        f"name: {inline_yaml(as_name(head))}",
        *([f"trainer: {inline_yaml(target)}"] if is_function(target) else command_lines(target, read, choices)),
        "method: grid  # every combination of the values below; random, tpe, gp, cmaes and qmc run until run_cap",
        *metric_lines(read),
        *_seeds(read, choices),
        "",
        *parameter_lines(read, choices),
        "",
        *tail_lines(read),
    ]
    return Draft(name=as_name(head), text="\n".join(lines) + "\n", unread=read.unread, to_do=read.to_do)


def _of_function(name: str) -> Arguments:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = []
    for key, one in signature_of(name).parameters.items():
        if key == "trial" or one.kind in kinds:
            continue
        needed, default = one.default is one.empty, one.default
        left_out = "its default is computed when the module is imported" if default is ... else ""
        left_out = left_out or ("has no default" if default is None else "")
        value = None if needed or left_out else default
        found.append(Argument(name=key, kind=ArgumentKind.PARAMETER, default=value, required=needed, left_out=left_out))
    return Arguments(family="a function", passing=Passing.TRIAL, arguments=tuple(found), opens_trial=True)


def _head(target: str, read: Arguments) -> Iterator[str]:
    written = f"# Written by `sweeper init {printable(target)}`."
    yield f"{written} Parameters that were not given have the defaults of the script."
    yield "# `sweeper check` validates it, `sweeper plan` shows what it will do, and `sweeper run` runs it."
    yield from (f"# TO DO: could not be read, so it is not in this file: {printable(line)}" for line in read.unread)
    yield from (f"# TO DO: {printable(' '.join(text.split()))}" for text in read.to_do)


def _seeds(read: Arguments, choices: Choices) -> Iterator[str]:
    if not choices.seeds and not read.opens_trial:
        return
    value = choices.seeds[0].default if choices.seeds else 0
    value = value if type(value) is int and 0 <= value < 1 << 32 else 0
    yield f"seeds: [{value}]  # each configuration runs once per seed; [0, 1, 2] gives means with intervals"
