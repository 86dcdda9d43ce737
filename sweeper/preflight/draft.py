"""A first sweep file for a script or a function, with a comment at each line: `sweeper init`.

It runs as it is, one trial with the values that the script has by default; what to vary is for a person to say.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.config import as_name, flow, value_of
from sweeper.errors import UsageError
from sweeper.mistakes import suggested
from sweeper.trainers import Argument, Arguments, Kind, arguments_of, is_function, signature_of

WIDTH = 100
LOWER = ("loss", "error", "err", "perplexity", "ppl", "mse", "mae", "rmse")
"""Words in the name of a metric of which less is better."""
HELD_OUT = ("test", "val", "valid", "validation", "eval", "dev")
RATE = (1 / 3, 1.0, 3.0)
"""What a learning rate is first tried at, times its default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sweep file that was not there before, and what could not be read for it."""

    name: str
    text: str
    unread: tuple[str, ...]


def draft(target: str, given: Mapping[str, str]) -> Draft:
    """The file for a script's path, or for a function as `package.module:function`.

    Args:
        given: values by argument, as YAML: of those that have no default, or in place of it.

    Raises:
        UsageError: the script or function cannot be read, or needs what is not given.
    """
    read = _of_function(target) if is_function(target) else arguments_of(Path(target))
    arguments = _with_values(target, read.arguments, given)
    kept = [argument for argument in arguments if not argument.left_out]
    seed = next((one for one in kept if one.name == "seed" and one.kind is not Kind.POSITIONAL), None)
    swept = [one for one in kept if one.kind is not Kind.POSITIONAL and one is not seed]
    head = target.partition(":")[2] if is_function(target) else Path(target).stem
    lines = [
        *_head(target),
        f"name: {flow(as_name(head))}",
        *_what_is_run(target, read, kept, seed),
        "method: grid  # every combination of the values below; random, tpe, gp, cmaes and qmc want a run_cap",
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
        left_out = "its default is made when the module is imported" if default is ... else ""
        left_out = left_out or ("has no default" if default is None else "")
        value = None if needed or left_out else default
        found.append(Argument(name=key, kind=Kind.PARAMETER, default=value, required=needed, left_out=left_out))
    return Arguments(arguments=tuple(found), opens_trial=True)


def _with_values(target: str, arguments: Sequence[Argument], given: Mapping[str, str]) -> list[Argument]:
    """The arguments with the values that were given.

    Raises:
        UsageError: a value is of no argument, or an argument that has to be given is not.
    """
    known = [argument.name for argument in arguments]
    for name in given:
        if name not in known:
            raise UsageError(
                f"{target}: expected one of its arguments, got {name}; {suggested(name, known)}".rstrip("; ")
            )
    found = [
        replace(one, default=value_of(given[one.name], one.name), left_out="") if one.name in given else one
        for one in arguments
    ]
    missing = [one.name for one in found if one.required and one.name not in given and one.name != "seed"]
    if missing:
        example = " ".join(f"{name}=..." for name in missing)
        raise UsageError(
            f"{target}: expected a value for what it has no default for: {', '.join(missing)}; "
            f"give it, as in `sweeper init {target} {example}`"
        )
    return found


# ---- its lines -------------------------------------------------------------------------------------------------------


def _head(target: str) -> list[str]:
    return [
        f"# Written by `sweeper init {target}`. As it is, it runs one trial with the values there are by default.",
        "# `sweeper check` says whether it is right, `sweeper plan` what it is going to do, `sweeper run` runs it.",
    ]


def _what_is_run(target: str, read: Arguments, kept: Sequence[Argument], seed: Argument | None) -> Iterator[str]:
    if is_function(target):
        yield f"trainer: {flow(target)}"
        return
    yield f"program: {flow(target)}"
    positional = [_word(one.default) for one in kept if one.kind is Kind.POSITIONAL]
    takes_words = any(one.kind in (Kind.OPTION, Kind.SWITCH) for one in read.arguments)
    switches = any(one.kind is Kind.SWITCH for one in kept)
    args = ["${args_no_boolean_flags}" if switches else "${args}"] if takes_words else []
    seeds = [f"--{seed.name}=${{trial:seed}}"] if seed is not None and seed.kind is Kind.OPTION else []
    command = ["${interpreter}", "${program}", *positional, *args, *seeds]
    how = "parameters arrive as --name=value" if takes_words else "parameters arrive by sweeper.trial()"
    how += ", of true and false as --name or nothing" if switches else ""
    yield f"# {how}:"
    yield f"command: {flow(command)}"


def _metric(read: Arguments) -> Iterator[str]:
    names = sorted(read.metrics, key=lambda name: (not _has(name, HELD_OUT), _has(name, LOWER)))
    name = names[0] if names else "loss/train"
    goal = "minimize" if _has(name, LOWER) else "maximize"
    among = f"; it reports {', '.join(read.metrics)}" if len(names) > 1 else ""
    if not names:
        yield "# TO DO: a guess. The names that the script reports could not be read:"
    yield f"metric: {flow({'name': name, 'goal': goal})}  # what trials rank by{among}"


def _has(name: str, words: Sequence[str]) -> bool:
    parts = name.lower().replace("/", "_").replace("-", "_").replace(".", "_").split("_")
    return any(word in parts for word in words)


def _seeds(read: Arguments, seed: Argument | None) -> Iterator[str]:
    if seed is None and not read.opens_trial:
        return
    value = seed.default if seed is not None and type(seed.default) is int and 0 <= seed.default < 1 << 32 else 0
    yield f"seeds: [{value}]  # each configuration is run once with each: [0, 1, 2] gives means with intervals"


def _parameters(swept: Sequence[Argument], left_out: Sequence[Argument]) -> Iterator[str]:
    if swept:
        yield "parameters:"
    else:
        yield "parameters: {}"
    for one in swept:
        text = " ".join(one.help.replace("%(default)s", str(one.default)).replace("%%", "%").split())
        if text:
            yield f"  # {text[:WIDTH]}"
        values = isinstance(one.default, list)
        yield f"  {flow(one.name)}: {flow({'values' if values else 'value': _value(one)})}{_suggested(one)}"
    if left_out:
        yield "  # Left to the script:"
        yield from (f"  #   {one.name} {one.left_out}" for one in left_out)


def _value(one: Argument) -> object:
    """The value as the file has it: true and false of what is no switch are the text that the script is given."""
    return str(one.default) if isinstance(one.default, bool) and one.kind is Kind.OPTION else one.default


def _suggested(one: Argument) -> str:
    """What the parameter could be varied over, as a comment; nothing where nothing is near at hand."""
    if isinstance(one.default, list):
        return ""
    if one.choices:
        values: Sequence[object] = one.choices
    elif one.kind is Kind.SWITCH or isinstance(one.default, bool):
        values = (False, True) if one.kind is not Kind.OPTION else ("False", "True")
    elif isinstance(one.default, float) and 0 < one.default < math.inf:
        values = [float(f"{one.default * factor:.1g}") if factor != 1 else one.default for factor in RATE]
    else:
        return ""
    return f"  # to vary it: {flow({'values': list(values)})}"


def _tail(read: Arguments) -> Iterator[str]:
    if read.opens_trial:
        yield "early_stop: auto  # stop trials that fail, and record why"
        return
    yield "# It tells sweeper nothing yet: three lines of sweeper.trial() report its metric, and have it watched"
    yield "# early_stop: auto  # then stop trials that fail, and record why"


def _word(value: object) -> str:
    return value if isinstance(value, str) else str(value)
