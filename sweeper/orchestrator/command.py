"""The command line of a trial: a trainer, a program, or any command, with its parameters."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from sweeper.spec import SweepSpec
from sweeper.trainers import program_of


def command_of(spec: SweepSpec, params: Mapping[str, object]) -> list[str]:
    """What is executed for a trial.

    A trainer, built in or a function, reads its parameters from the trial directory. A command gets them as
    `--name=value` where it says `${args}`, or at its end where it has no macro (W&B's macros: ${env}, ${interpreter},
    ${program}, ${args}).
    """
    if spec.trainer is not None:
        return [sys.executable, "-m", *program_of(spec.trainer)]
    arguments = [f"--{name}={_text(value)}" for name, value in params.items()]
    words = spec.command or ("${interpreter}", "${program}", "${args}")
    if not any(word.startswith("${") for word in words):
        return [*words, *arguments]
    macros = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": [sys.executable],
        "${program}": [spec.program] if spec.program else [],
        "${args}": arguments,
    }
    return [part for word in words for part in macros.get(word, [word])]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
