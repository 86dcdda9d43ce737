"""Replace the macros in a command that depend on where and when it runs.

These are the trial's own (`${trial:dir}`), environment variables, parameters as JSON, and the arguments to resume. The
shim replaces them, so that the values of variables are in no record.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from sweeper.errors import UsageError
from sweeper.record.facts import Facts
from sweeper.record.resumption import is_resumption, resumption_of
from sweeper.record.storage import confined
from sweeper.record.storage.layout import TrialDir
from sweeper.record.values.macros import filled_text, has_trial_macro
from sweeper.record.values.params import file_of, json_of

VARIABLE = re.compile(r"\$\{envvar:(\w+)\}")
JSON, FILE = "${args_json}", "${args_json_file}"
WANDB_RUN_ID = "WANDB_RUN_ID"
"""W&B's agent sets it for each run, so the commands of its sweep files may contain it."""


def filled(command: Sequence[str], trial: TrialDir, attempt: int, environment: Mapping[str, str]) -> list[str]:
    """Return the command with all macros replaced. This writes the file of parameters, and how the attempt resumes.

    Args:
        command: the command as the orchestrator launches it.
        trial: the directory of the trial.
        attempt: the number of the attempt.
        environment: the environment of the worker.

    Raises:
        UsageError: an environment variable is not set.
        RecordError: the trial's facts cannot be read.
        OSError: a file cannot be written.
    """
    run = trial.path.absolute().parent.parent.name
    known = {WANDB_RUN_ID: f"{run}-{trial.path.name}", **environment}

    def value(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise UsageError(
                f"command: {match[0]}: the environment variable {match[1]} is not set where the trial runs"
            )
        return known[match[1]]

    if any(word in (JSON, FILE) or is_resumption(word) or has_trial_macro(word) for word in command):
        command = list(_of_trial(command, trial, attempt, known))
    return [VARIABLE.sub(value, word) for word in command]


def _of_trial(command: Sequence[str], trial: TrialDir, attempt: int, known: Mapping[str, str]) -> Iterator[str]:
    """Yield the words of the command with everything replaced that follows from the trial."""
    facts, directory = Facts.read(trial), trial.attempt(attempt)
    macros = facts.macros(trial)
    for word in command:
        if is_resumption(word):
            named = {match[0]: known[match[1]] for match in VARIABLE.finditer(word) if match[1] in known}
            resumption = resumption_of(word, macros, named)
            resumption.write(directory)
            yield from resumption.args
        elif word == FILE:
            fd = confined.open_file(directory.arguments, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(file_of(facts.params_in(trial), facts.nesting))
            yield str(directory.arguments)
        else:
            yield json_of(facts.params_in(trial), facts.nesting) if word == JSON else filled_text(word, macros)
