"""Build the command line of a trial from a trainer, a program or a command, and its parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from sweeper.config import SweepSpec, places_parameters
from sweeper.record.values.macros import has_trial_macro
from sweeper.record.values.params import argument_of, json_of
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
    macros = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": [sys.executable],
        "${program}": [spec.program] if spec.program else [],
        "${args}": _flags(params),
        "${args_no_hyphens}": [f"{name}={argument_of(value)}" for name, value in params.items()],
        "${args_no_equals}": [word for name, value in params.items() for word in (f"--{name}", argument_of(value))],
        "${args_no_boolean_flags}": _switches(params),
        **({} if has_trial_macro(params) else {"${args_json}": [json_of(params)]}),
    }
    filled = [part for word in words for part in macros.get(word, [word.replace("${trial:seed}", str(seed))])]
    return filled if places_parameters(words) else [*filled, *_flags(params)]


def _flags(params: Mapping[str, object]) -> list[str]:
    return [f"--{name}={argument_of(value)}" for name, value in params.items()]


def _switches(params: Mapping[str, object]) -> list[str]:
    """Return the parameters as flags: a true value is a flag without a value, and a false one is left out."""
    kept = {name: value for name, value in params.items() if value is not False}
    return [f"--{name}" if value is True else f"--{name}={argument_of(value)}" for name, value in kept.items()]
