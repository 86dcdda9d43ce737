"""The macros in a command: W&B's, such as `${program}`, and `${trial:seed}`.

`orchestrator.trial_command` replaces them when a trial is made, and `worker.process.command` those that depend on the
machine where the trial runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sweeper.config.read.node import Complaint
from sweeper.mistakes import listed, shown, suggested

WORDS = (
    *("env", "interpreter", "program", "args", "args_no_hyphens", "args_no_equals", "args_no_boolean_flags"),
    *("args_json", "args_json_file"),
)
"""Macros that must be a word of their own; https://docs.wandb.ai/models/sweeps/define-sweep-configuration"""

ANYWHERE = ("trial:seed", "envvar:NAME")
"""Macros that may be part of a word."""

_MACRO = re.compile(r"\$\{([^{}$]*)\}")
_VARIABLE = re.compile(r"envvar:(\w+)")


def macro(name: str) -> str:
    """Return a macro as it is written in a command: `${program}` for `program`."""
    return f"${{{name}}}"


def has_macro(word: str) -> bool:
    """Return whether a word of a command contains a known macro."""
    return any(_is_known(name) for name in _MACRO.findall(word))


def variables(words: Iterable[str]) -> list[str]:
    """Return the environment variables that a command uses by `${envvar:NAME}`."""
    found = (match[1] for word in words for name in _MACRO.findall(word) if (match := _VARIABLE.fullmatch(name)))
    return list(dict.fromkeys(found))


def complaints_about_macros(command: list[object]) -> Iterator[Complaint]:
    """Find misspelt macros, and macros inside a word that must be a word of their own.

    Other unknown `${...}` reach the program unchanged, as with W&B. The word after `-c` is a shell's and not checked.
    """
    known = listed(macro(name) for name in (*WORDS, *ANYWHERE))
    for index, word in enumerate(command):
        if not isinstance(word, str) or (index and command[index - 1] == "-c"):
            continue
        for name in _MACRO.findall(word):
            path, is_whole_word = ("command", index), word == macro(name)
            if is_whole_word and not _is_known(name) and (hint := suggested(name, (*WORDS, *ANYWHERE))):
                hint = hint.replace("mean ", "mean ${").replace("?", "}?")
                yield Complaint(path=path, expected=f"one of the macros {known}", got=shown(word), hint=hint)
            elif not is_whole_word and name in WORDS:
                yield Complaint(path=path, expected=f"{macro(name)} as a word of its own", got=shown(word))


def _is_known(name: str) -> bool:
    return name in (*WORDS, "trial:seed") or _VARIABLE.fullmatch(name) is not None
