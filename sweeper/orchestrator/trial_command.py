"""The command line of a trial: a trainer, a program, or any command, with its parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from sweeper.config import SweepSpec, has_macro
from sweeper.record.values.params import json_of, word_of
from sweeper.trainers import program_of

USUAL = ("${interpreter}", "${program}", "${args}")


def command_of(spec: SweepSpec, params: Mapping[str, object], seed: int) -> list[str]:
    """What is executed for a trial.

    A trainer, built in or a function, reads its parameters from the trial directory. A command gets them as
    `--name=value` where it says `${args}` (`spec.macros` has all of these), or at its end where it has no macro. What
    only the place knows where it runs, `worker.command` fills in.
    """
    if spec.trainer is not None:
        return [sys.executable, "-m", *program_of(spec.trainer)]
    words = spec.command or USUAL
    if not any(map(has_macro, words)):
        return [*words, *_flags(params)]
    macros = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": [sys.executable],
        "${program}": [spec.program] if spec.program else [],
        "${args}": _flags(params),
        "${args_no_hyphens}": [f"{name}={word_of(value)}" for name, value in params.items()],
        "${args_no_equals}": [word for name, value in params.items() for word in (f"--{name}", word_of(value))],
        "${args_no_boolean_flags}": _switches(params),
        "${args_json}": [json_of(params)],
    }
    return [part for word in words for part in macros.get(word, [word.replace("${trial:seed}", str(seed))])]


def _flags(params: Mapping[str, object]) -> list[str]:
    return [f"--{name}={word_of(value)}" for name, value in params.items()]


def _switches(params: Mapping[str, object]) -> list[str]:
    """The flags, but of true and false: the one is a flag without a value, the other none at all."""
    kept = {name: value for name, value in params.items() if value is not False}
    return [f"--{name}" if value is True else f"--{name}={word_of(value)}" for name, value in kept.items()]
