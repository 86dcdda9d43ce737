"""What may stand in a command for something else: W&B's macros, and the seed.

Who fills them in: `orchestrator.command` when a trial is made, `worker.command` where it runs.
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
"""Those that are a word of the command by themselves; https://docs.wandb.ai/models/sweeps/define-sweep-configuration"""

ANYWHERE = ("trial:seed", "envvar:NAME")
"""Those that may stand within a word."""

_MACRO = re.compile(r"\$\{([^{}$]*)\}")
_VARIABLE = re.compile(r"envvar:(\w+)")


def macro(name: str) -> str:
    """A macro as it is written."""
    return f"${{{name}}}"


def has_macro(word: str) -> bool:
    """Whether any known macro stands in a word of a command."""
    return any(_is_known(name) for name in _MACRO.findall(word))


def variables(words: Iterable[str]) -> list[str]:
    """The variables of the environment that a command names."""
    found = (match[1] for word in words for name in _MACRO.findall(word) if (match := _VARIABLE.fullmatch(name)))
    return list(dict.fromkeys(found))


def complaints_about_macros(command: list[object]) -> Iterator[Complaint]:
    """Words that are nearly a macro, and macros within a word that have to be one: they would reach the program.

    So does what is none, as with W&B: it may be the program's own. What follows ``-c`` is a shell's.
    """
    known = listed(macro(name) for name in (*WORDS, *ANYWHERE))
    for index, word in enumerate(command):
        if not isinstance(word, str) or (index and command[index - 1] == "-c"):
            continue
        for name in _MACRO.findall(word):
            path, alone = ("command", index), word == macro(name)
            if alone and not _is_known(name) and (hint := suggested(name, (*WORDS, *ANYWHERE))):
                hint = hint.replace("mean ", "mean ${").replace("?", "}?")
                yield Complaint(path=path, expected=f"a macro of {known}", got=shown(word), hint=hint)
            elif not alone and name in WORDS:
                yield Complaint(path=path, expected=f"{macro(name)} as a word of its own", got=shown(word))


def _is_known(name: str) -> bool:
    return name in (*WORDS, "trial:seed") or _VARIABLE.fullmatch(name) is not None
