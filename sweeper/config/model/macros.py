"""The macros in a command: W&B's, such as `${program}`, those of a trial, such as `${trial:dir}`, and `${resume_args}`.

`orchestrator.trial_command` replaces them when a trial is made, and `worker.process.command` those that depend on where
and when the trial runs. The macros of a trial may also be in the values of parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sweeper.config.read.node import Complaint, Path
from sweeper.mistakes import listed, shown, suggested

WORDS = (
    *("env", "interpreter", "program", "args", "args_no_hyphens", "args_no_equals", "args_no_boolean_flags"),
    *("args_json", "args_json_file", "resume_args"),
)
"""Macros that must be a word of their own.

All but the last are W&B's: https://docs.wandb.ai/models/sweeps/define-sweep-configuration
"""

OF_TRIAL = ("trial:dir", "trial:number", "trial:name", "trial:seed")
"""Macros that stand for the trial: its directory, its number, its label, and its seed (`record.values.macros`)."""

ANYWHERE = (*OF_TRIAL, "envvar:NAME")
"""Macros that may be part of a word."""

OWN = (
    *("SWEEPER_TRIAL_DIR", "SWEEPER_ATTEMPT", "PYTHONUNBUFFERED", "WANDB_RUN_ID", "CUDA_VISIBLE_DEVICES"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "TOKENIZERS_PARALLELISM"),
)
"""Environment variables for `${envvar:NAME}` that trials have, whatever the environment of `sweeper run`."""

_MACRO = re.compile(r"\$\{([^{}$]*)\}")
_VARIABLE = re.compile(r"envvar:(\w+)")


def macro(name: str) -> str:
    """Return a macro as it is written in a command: `${program}` for `program`."""
    return f"${{{name}}}"


def places_parameters(words: Iterable[str]) -> bool:
    """Return whether a command determines by W&B's macros where its parameters are, if anywhere.

    Without one of these macros, the parameters are appended to the command.
    """
    return any(name in WORDS and name != "resume_args" for word in words for name in _MACRO.findall(word))


def variables(words: Iterable[object]) -> list[str]:
    """Return the environment variables that words use by `${envvar:NAME}`, without those that every trial has."""
    texts = (word for word in words if isinstance(word, str))
    found = (match[1] for text in texts for name in _MACRO.findall(text) if (match := _VARIABLE.fullmatch(name)))
    return [name for name in dict.fromkeys(found) if name not in OWN]


def complaints_about_macros(command: list[object]) -> Iterator[Complaint]:
    """Find misspelt macros in a command, and macros inside a word that must be a word of their own.

    Other unknown `${...}` reach the program unchanged, as with W&B. The word after `-c` is a shell's and not checked.
    """
    known = listed(macro(name) for name in (*WORDS, *ANYWHERE))
    for index, word in enumerate(command):
        if not isinstance(word, str) or (index and command[index - 1] == "-c"):
            continue
        for name in _MACRO.findall(word):
            path, is_whole_word = ("command", index), word == macro(name)
            if is_whole_word and not _is_known(name) and (hint := suggested(name, (*WORDS, *ANYWHERE))):
                yield Complaint(path=path, expected=f"one of the macros {known}", got=shown(word), hint=_macro_in(hint))
            elif not is_whole_word and name in WORDS:
                yield Complaint(path=path, expected=f"{macro(name)} as a word of its own", got=shown(word))
            else:
                yield from _misspelt(name, path, word)


def complaints_about_values(value: object, path: Path) -> Iterator[Complaint]:
    """Find misspelt macros of the trial in a value at a path of the file: a text, or a list with texts."""
    if isinstance(value, str):
        for name in _MACRO.findall(value):
            yield from _misspelt(name, path, value)
    for index, one in enumerate(value if isinstance(value, list) else []):
        yield from complaints_about_values(one, (*path, index))


def _misspelt(name: str, path: Path, text: str) -> Iterator[Complaint]:
    """Find a macro that only a trial could have, such as `${trial:directory}`, and that it does not have."""
    if name.startswith("trial:") and name not in OF_TRIAL:
        expected = f"one of {listed(macro(known) for known in OF_TRIAL)}"
        yield Complaint(path=path, expected=expected, got=shown(text), hint=_macro_in(suggested(name, OF_TRIAL)))


def _macro_in(hint: str) -> str:
    return hint.replace("mean ", "mean ${").replace("?", "}?")


def _is_known(name: str) -> bool:
    return name in (*WORDS, *OF_TRIAL) or _VARIABLE.fullmatch(name) is not None
