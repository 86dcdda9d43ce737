"""Replace the macros in a command that depend on where it runs: environment variables, and the file of parameters.

The shim replaces them, so that the values of variables are in no record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sweeper.errors import UsageError
from sweeper.record.facts import Facts
from sweeper.record.storage.layout import TrialDir
from sweeper.record.values.params import json_of

VARIABLE = re.compile(r"\$\{envvar:(\w+)\}")
FILE = "${args_json_file}"


def filled(command: Sequence[str], trial: TrialDir, attempt: int, environment: Mapping[str, str]) -> list[str]:
    """Return the command with ``${envvar:NAME}`` and ``${args_json_file}`` replaced. This writes the file, if needed.

    Raises:
        UsageError: an environment variable is not set.
        RecordError: the trial's parameters cannot be read.
        OSError: the file of parameters cannot be written.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise UsageError(
                f"command: {match[0]}: the environment variable {match[1]} is not set where the trial runs"
            )
        return environment[match[1]]

    words = [VARIABLE.sub(value, word) for word in command]
    if FILE not in words:
        return words
    file = trial.attempt(attempt).arguments
    file.write_text(json_of(Facts.read(trial).params), encoding="utf-8")
    return [str(file) if word == FILE else word for word in words]
