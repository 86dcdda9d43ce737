"""The words of a command that are known only where it runs: variables of that environment, and a file there.

They are filled in by the shim, so that what a variable holds stands in no record.
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
    """The command with each ``${envvar:NAME}`` in it, and ``${args_json_file}``, which is written here.

    Raises:
        UsageError: a variable is not set.
        RecordError: the trial's parameters cannot be read.
        OSError: the file cannot be written.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            expected = f"expected the variable {match[1]} to be set where the trial runs, got none"
            raise UsageError(f"command: {match[0]}: {expected}")
        return environment[match[1]]

    words = [VARIABLE.sub(value, word) for word in command]
    if FILE not in words:
        return words
    file = trial.attempt(attempt).arguments
    file.write_text(json_of(Facts.read(trial).params), encoding="utf-8")
    return [str(file) if word == FILE else word for word in words]
