"""The lines of a sweep file that say how to run the script."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.config import inline_yaml
from sweeper.preflight.arguments import Argument, ArgumentKind, Arguments, Passing
from sweeper.preflight.arguments.roles import output_of
from sweeper.preflight.draft.choices import Choices

SEED = "${trial:seed}"
WORDS = (ArgumentKind.OPTION, ArgumentKind.SWITCH)


def has_switches(choices: Choices) -> bool:
    """Return whether true is passed as `--name`, and false not at all."""
    return any(one.kind is ArgumentKind.SWITCH for one in choices.parameters)


def command_lines(target: str, read: Arguments, choices: Choices) -> Iterator[str]:
    """Return the lines `program` and `command`."""
    leading = [word for one in _with_values(choices, read) if one[0].leading for word in one[1]]
    positional = [word for one, words in _with_values(choices, read) if _is_positional(one) for word in words]
    options = [
        word
        for one, words in _with_values(choices, read)
        if not one.leading and not _is_positional(one)
        for word in words
    ]
    macro = _macro(read, choices)
    if not read.module_name:
        yield f"program: {inline_yaml(target)}"
    program = ["-m", read.module_name] if read.module_name else ["${program}"]
    command = ["${interpreter}", *program, *leading, *read.before, *positional, *macro, *options, *read.after]
    how = str(read.passing.value)
    if macro and read.passing is Passing.FLAGS:
        how += "; true is passed as --name, false is left out" if has_switches(choices) else ""
    elif read.passing is Passing.FLAGS:
        how = "the script takes no option that a sweep can vary"
    known = "" if read.family in ("", "argparse", "sweeper.trial") else f"{read.family}: "
    yield f"# {known}{how}:"
    yield f"command: {inline_yaml(command)}"


def _macro(read: Arguments, choices: Choices) -> list[str]:
    match read.passing:
        case Passing.FLAGS if has_switches(choices):
            return ["${args_no_boolean_flags}"]
        case Passing.FLAGS:
            return ["${args}"] if any(one.kind in WORDS for one in read.arguments) or read.unread else []
        case Passing.OVERRIDES:
            return ["${args_no_hyphens}"]
        case Passing.NOTHING:
            return ["${args}"]
        case _:
            return []


def _with_values(choices: Choices, read: Arguments) -> Iterator[tuple[Argument, list[str]]]:
    """Return the arguments that are words of the command, in the order of the script, with these words."""
    special = {one.name: output_of(one) for one in choices.outputs}
    special |= {one.name: SEED for one in choices.seeds if one.kind is ArgumentKind.OPTION}
    order = {one.name: place for place, one in enumerate(read.arguments)}
    chosen = [*choices.words, *choices.outputs, *(one for one in choices.seeds if one.kind is ArgumentKind.OPTION)]
    for one in sorted(chosen, key=lambda one: order[one.name]):
        values = one.default if one.several and isinstance(one.default, list | tuple) else [one.default]
        yield one, _words(one, [special.get(one.name) or _word(value) for value in values], read.passing)


def _words(one: Argument, values: list[str], passing: Passing) -> list[str]:
    if _is_positional(one):
        return values
    if passing is Passing.OVERRIDES:
        return [f"{one.name}={value}" for value in values]
    if one.kind is ArgumentKind.SWITCH:
        return [f"--{one.name}"] if values == ["True"] else []
    if one.short:
        return [f"-{one.name}", *values]
    if one.repeated:
        return [f"--{one.name}={value}" for value in values]
    return [f"--{one.name}", *values] if one.several else [f"--{one.name}={values[0]}"]


def _is_positional(one: Argument) -> bool:
    return one.kind is ArgumentKind.POSITIONAL


def _word(value: object) -> str:
    return value if isinstance(value, str) else str(value)
