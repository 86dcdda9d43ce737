"""Write a first, commented sweep file for a script or a function: `sweeper init`.

The file is valid as it is: it runs one trial with the default values of the script. The user chooses what to vary.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.config import as_name, inline_yaml, value_from_text
from sweeper.errors import UsageError
from sweeper.mistakes import suggested
from sweeper.trainers import Argument, ArgumentKind, Arguments, arguments_of, is_function, signature_of

WIDTH = 100
LOWER = ("loss", "error", "err", "perplexity", "ppl", "mse", "mae", "rmse")
"""Words in the name of a metric that mean that lower is better."""
HELD_OUT = ("test", "val", "valid", "validation", "eval", "dev")
RATE = (1 / 3, 1.0, 3.0)
"""Factors of the default of a learning rate that are suggested as values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The name and text of a new sweep file, and the lines of the script that could not be read for it."""

    name: str
    text: str
    unread: tuple[str, ...]


def draft(target: str, given: Mapping[str, str]) -> Draft:
    """Return a sweep file for a script, given by its path, or for a function, given as `package.module:function`.

    Args:
        target: the script or function.
        given: values of arguments, as YAML; required for arguments without a default.

    Raises:
        UsageError: the script or function cannot be read, or an argument without a default has no value.
    """
    read = _of_function(target) if is_function(target) else arguments_of(Path(target))
    arguments = _with_values(target, read.arguments, given)
    kept = [argument for argument in arguments if not argument.left_out]
    seed = next((one for one in kept if one.name == "seed" and one.kind is not ArgumentKind.POSITIONAL), None)
    swept = [one for one in kept if one.kind is not ArgumentKind.POSITIONAL and one is not seed]
    head = target.partition(":")[2] if is_function(target) else Path(target).stem
    lines = [
        *_head(target),
        f"name: {inline_yaml(as_name(head))}",
        *_command(target, read, kept, seed),
        "method: grid  # every combination of the values below; random, tpe, gp, cmaes and qmc need a run_cap",
        *_metric(read),
        *_seeds(read, seed),
        "",
        *_parameters(swept, [argument for argument in arguments if argument.left_out]),
        "",
        *_tail(read),
    ]
    return Draft(name=as_name(head), text="\n".join(lines) + "\n", unread=read.unread)


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
    return Arguments(arguments=tuple(found), opens_trial=True)


def _with_values(target: str, arguments: Sequence[Argument], given: Mapping[str, str]) -> list[Argument]:
    """Return the arguments with the given values.

    Raises:
        UsageError: a value has no argument, or a required argument has no value.
    """
    known = [argument.name for argument in arguments]
    for name in given:
        if name not in known:
            raise UsageError(
                f"{target}: expected one of its arguments, got {name}; {suggested(name, known)}".rstrip("; ")
            )
    found = [
        replace(one, default=value_from_text(given[one.name], one.name), left_out="") if one.name in given else one
        for one in arguments
    ]
    missing = [one.name for one in found if one.required and one.name not in given and one.name != "seed"]
    if missing:
        example = " ".join(f"{name}=..." for name in missing)
        raise UsageError(
            f"{target}: these arguments have no default: {', '.join(missing)}. "
            f"Give their values: `sweeper init {target} {example}`"
        )
    return found


# ---- the lines of the file -----------------------------------------------------------------------------------------


def _head(target: str) -> list[str]:
    return [
        f"# Written by `sweeper init {target}`. As it is, it runs one trial with the default values.",
        "# `sweeper check` validates it, `sweeper plan` shows what it will do, and `sweeper run` runs it.",
    ]


def _command(target: str, read: Arguments, kept: Sequence[Argument], seed: Argument | None) -> Iterator[str]:
    if is_function(target):
        yield f"trainer: {inline_yaml(target)}"
        return
    yield f"program: {inline_yaml(target)}"
    positional = [_word(one.default) for one in kept if one.kind is ArgumentKind.POSITIONAL]
    takes_words = any(one.kind in (ArgumentKind.OPTION, ArgumentKind.SWITCH) for one in read.arguments)
    switches = any(one.kind is ArgumentKind.SWITCH for one in kept)
    args = ["${args_no_boolean_flags}" if switches else "${args}"] if takes_words else []
    seeds = [f"--{seed.name}=${{trial:seed}}"] if seed is not None and seed.kind is ArgumentKind.OPTION else []
    command = ["${interpreter}", "${program}", *positional, *args, *seeds]
    how = "parameters are passed as --name=value" if takes_words else "sweeper.trial() returns the parameters"
    how += "; true is passed as --name, false is left out" if switches else ""
    yield f"# {how}:"
    yield f"command: {inline_yaml(command)}"


def _metric(read: Arguments) -> Iterator[str]:
    names = sorted(read.metrics, key=lambda name: (not _has(name, HELD_OUT), _has(name, LOWER)))
    name = names[0] if names else "loss/train"
    goal = "minimize" if _has(name, LOWER) else "maximize"
    among = f"; reported metrics: {', '.join(read.metrics)}" if len(names) > 1 else ""
    if not names:
        yield "# TO DO: this is a guess, because the names of the reported metrics could not be read:"
    yield f"metric: {inline_yaml({'name': name, 'goal': goal})}  # the trials are ranked by it{among}"


def _has(name: str, words: Sequence[str]) -> bool:
    parts = name.lower().replace("/", "_").replace("-", "_").replace(".", "_").split("_")
    return any(word in parts for word in words)


def _seeds(read: Arguments, seed: Argument | None) -> Iterator[str]:
    if seed is None and not read.opens_trial:
        return
    value = seed.default if seed is not None and type(seed.default) is int and 0 <= seed.default < 1 << 32 else 0
    yield f"seeds: [{value}]  # each configuration runs once per seed; [0, 1, 2] gives means with intervals"


def _parameters(swept: Sequence[Argument], left_out: Sequence[Argument]) -> Iterator[str]:
    if swept:
        yield "parameters:"
    else:
        yield "parameters: {}"
    for one in swept:
        text = " ".join(one.help.replace("%(default)s", str(one.default)).replace("%%", "%").split())
        if text:
            yield f"  # {text[:WIDTH]}"
        parameter = {"values" if isinstance(one.default, list) else "value": _value(one)}
        yield f"  {inline_yaml(one.name)}: {inline_yaml(parameter)}{_suggested(one)}"
    if left_out:
        yield "  # Not in this file, so the script uses its own value:"
        yield from (f"  #   {one.name} {one.left_out}" for one in left_out)


def _value(one: Argument) -> object:
    """Return the value for the file; true and false of an option that is no switch are passed as text."""
    return str(one.default) if isinstance(one.default, bool) and one.kind is ArgumentKind.OPTION else one.default


def _suggested(one: Argument) -> str:
    """Return a comment with values to vary the parameter over; empty if there is no obvious choice."""
    if isinstance(one.default, list):
        return ""
    if one.choices:
        values: Sequence[object] = one.choices
    elif one.kind is ArgumentKind.SWITCH or isinstance(one.default, bool):
        values = (False, True) if one.kind is not ArgumentKind.OPTION else ("False", "True")
    elif isinstance(one.default, float) and 0 < one.default < math.inf:
        values = [float(f"{one.default * factor:.1g}") if factor != 1 else one.default for factor in RATE]
    else:
        return ""
    return f"  # to vary it: {inline_yaml({'values': list(values)})}"


def _tail(read: Arguments) -> Iterator[str]:
    if read.opens_trial:
        yield "early_stop: auto  # stop failing trials early and record why"
        return
    yield "# The script does not report to sweeper yet: three lines with sweeper.trial() report its metric and layers"
    yield "# early_stop: auto  # with them, stop failing trials early and record why"


def _word(value: object) -> str:
    return value if isinstance(value, str) else str(value)
