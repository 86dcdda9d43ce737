"""Build the command line of a trial from a trainer, a program or a command, and its parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from sweeper.config import PARAMETER, SweepSpec, named, places_parameters
from sweeper.record.values.macros import has_trial_macro
from sweeper.record.values.params import argument_of, argument_words, json_of
from sweeper.trainers import program_of

DEFAULT_COMMAND = ("${interpreter}", "${program}", "${args}")


def command_of(spec: SweepSpec, params: Mapping[str, object], seed: int) -> list[str]:
    """Return the command line of a trial.

    A trainer, built in or a function, reads its parameters from the trial directory. A command gets them as
    `--name=value` in place of `${args}` (`config.model.macros` lists all macros), or at its end if it has no macro
    such as `${program}` or `${args}`. Macros with values that only the executing machine knows, or that differ from
    attempt to attempt, stay in place for `worker.process.command` to replace.
    """
    if spec.trainer is not None:
        return [sys.executable, "-m", *program_of(spec.trainer)]
    words = spec.command or DEFAULT_COMMAND
    there = named(words)
    macros = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": [sys.executable],
        "${program}": [spec.program] if spec.program else [],
        **_lists({name: value for name, value in params.items() if name not in there}),
        **({} if has_trial_macro(params) else {"${args_json}": [json_of(params, spec.nesting)]}),
    }
    filled: list[str] = []
    for word in words:
        parts = macros.get(word)
        if parts is None:
            parts = _placed(word.replace("${trial:seed}", str(seed)), params)
            if not parts and filled and _is_option_of(word, filled[-1]):
                filled.pop()
        filled += parts
    return filled if places_parameters(words) else [*filled, *_flags(params)]


def _placed(word: str, params: Mapping[str, object]) -> list[str]:
    """Return a word of a command with the macros `${params:NAME}` in it replaced.

    A list in a word of its own becomes several words. The word is left out if a parameter in it is null, or does not
    apply to this configuration.
    """
    names = named([word])
    if any(params.get(name) is None for name in names):
        return []
    own = params[names[0]] if PARAMETER.fullmatch(word) else None
    if isinstance(own, list | tuple):
        return [argument_of(item) for item in own]
    return [PARAMETER.sub(lambda match: argument_of(params[match[1]]), word)]


def _lists(params: Mapping[str, object]) -> dict[str, list[str]]:
    """Return what stands for all parameters in a command, by macro."""
    pairs = [f"{name}={argument_of(value)}" for name, value in params.items()]
    switches = {name: value for name, value in params.items() if isinstance(value, bool)}
    spread = {name: argument_words(name, value) for name, value in params.items()}
    return {
        "${args}": _flags(params),
        "${args_no_hyphens}": pairs,
        "${args_append_hydra}": [f"+{pair}" for pair in pairs],
        "${args_override_hydra}": [f"++{pair}" for pair in pairs],
        "${args_no_equals}": [word for name, value in params.items() for word in (f"--{name}", argument_of(value))],
        "${args_no_boolean_flags}": _switches(params),
        "${args_spread}": [word for words in spread.values() for word in words],
        "${args_spread_no_boolean_flags}": [
            word
            for name, words in spread.items()
            for word in (words if name not in switches else [f"--{name}"] if switches[name] else [])
        ],
    }


def _is_option_of(word: str, before: str) -> bool:
    """Return whether a word that was left out is the value of the option before it, of the same name."""
    name = word.removeprefix("${params:").removesuffix("}").rpartition(".")[2]
    return before.startswith("-") and before.lstrip("-").rpartition(".")[2].replace("-", "_") == name.replace("-", "_")


def _flags(params: Mapping[str, object]) -> list[str]:
    return [f"--{name}={argument_of(value)}" for name, value in params.items()]


def _switches(params: Mapping[str, object]) -> list[str]:
    """Return the parameters as flags: a true value is a flag without a value, and a false one is left out."""
    kept = {name: value for name, value in params.items() if value is not False}
    return [f"--{name}" if value is True else f"--{name}={argument_of(value)}" for name, value in kept.items()]
