"""The macros in a command: W&B's, such as `${program}`, those of a trial, such as `${trial:dir}`, and `${resume_args}`.

`orchestrator.trial_command` replaces them when a trial is made, and `worker.process.command` those that depend on where
and when the trial runs. The macros of a trial may also be in the values of parameters.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from sweeper.config.read.node import Complaint, Path
from sweeper.mistakes import IN_FILE, listed, one_of, shown, suggested

HYDRA = ("args_no_hyphens", "args_append_hydra", "args_override_hydra")
"""Macros for programs that use Hydra or OmegaConf, which resolve other `${...}` in their arguments themselves."""

JSON = ("args_json", "args_json_file")
"""Macros that pass all parameters as JSON."""

CARRIERS = (
    *("args", *HYDRA, "args_no_equals", "args_no_boolean_flags", "args_spread", "args_spread_no_boolean_flags"),
    *JSON,
)
"""Macros that pass all parameters to the program.

W&B has them too, except those with `spread`: https://docs.wandb.ai/models/sweeps/define-sweep-configuration
"""

WORDS = ("env", "interpreter", "program", *CARRIERS, "resume_args")
"""Macros that must be a word of their own."""

OF_TRIAL = ("trial:dir", "trial:number", "trial:name", "trial:seed")
"""Macros that stand for the trial: its directory, its number, its label, and its seed (`record.values.macros`)."""

ANYWHERE = (*OF_TRIAL, "envvar:NAME", "params:NAME")
"""Macros that may be part of a word."""

KINDS = {
    **dict.fromkeys(("trial", "trail"), "trial"),
    **dict.fromkeys(("envvar", "env", "envar", "env_var", "environ"), "envvar"),
    **dict.fromkeys(("params", "param", "parameters", "parameter", "arg", "args"), "params"),
}
"""What may stand before the colon of a macro, as it is known or mistaken, and what is right."""

OWN = (
    *("SWEEPER_TRIAL_DIR", "SWEEPER_ATTEMPT", "PYTHONUNBUFFERED", "WANDB_RUN_ID", "CUDA_VISIBLE_DEVICES"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "TOKENIZERS_PARALLELISM"),
)
"""Environment variables for `${envvar:NAME}` that trials have, whatever the environment of `sweeper run`."""

PARAMETER = re.compile(r"\$\{params:([^{}$]*)\}")
"""The value of one parameter, anywhere in a word."""

_MACRO = re.compile(r"\$\{([^{}$]*)\}")
_VARIABLE = re.compile(r"envvar:(\w+)")
_SHELLS = ("sh", "bash", "zsh", "dash", "ksh", "fish")
_SHELL_ARGUMENTS = re.compile(r"\$(?:[@*0-9]|\{[@*0-9])")


def macro(name: str) -> str:
    """Return a macro as it is written in a command: `${program}` for `program`."""
    return f"${{{name}}}"


def places_parameters(words: Iterable[str]) -> bool:
    """Return whether a command determines by W&B's macros where its parameters are, if anywhere.

    Without one of these macros, the parameters are appended to the command.
    """
    return any(
        (name in WORDS and name != "resume_args") or name.startswith("params:")
        for word in words
        for name in _MACRO.findall(word)
    )


def named(words: Iterable[str]) -> list[str]:
    """Return the parameters that a command contains as `${params:NAME}`."""
    return list(dict.fromkeys(name for word in words for name in PARAMETER.findall(word)))


def not_passed(command: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return those of the parameters that a command does not pass to its program in any form."""
    if any(word == macro(name) for word in command for name in CARRIERS):
        return [] if not _in_shell_without_arguments(command) else list(names)
    if not places_parameters(command) and not _in_shell_without_arguments(command):
        return []  # they are appended
    there = named(command)
    return [name for name in names if name not in there]


def _in_shell_without_arguments(command: Sequence[str]) -> bool:
    """Return whether a command is a text for a shell which does not use the arguments that come after it."""
    for index, word in enumerate(command[2:], 2):
        if command[index - 1] == "-c" and command[index - 2].rpartition("/")[2] in _SHELLS:
            return _SHELL_ARGUMENTS.search(word) is None
    return False


def variables(words: Iterable[object]) -> list[str]:
    """Return the environment variables that words use by `${envvar:NAME}`, without those that every trial has."""
    texts = (word for word in words if isinstance(word, str))
    found = (match[1] for text in texts for name in _MACRO.findall(text) if (match := _VARIABLE.fullmatch(name)))
    return [name for name in dict.fromkeys(found) if name not in OWN]


def complaints_about_macros(command: Sequence[object], parameters: Collection[str]) -> Iterator[Complaint]:
    """Find misspelt macros in a command, and macros inside a word that must be a word of their own.

    Other unknown `${...}` reach the program unchanged (`unknown_macros`), where W&B drops a word that is one. The word
    after `-c` is a shell's and not checked, except for `${params:NAME}`.
    """
    known, is_hydra = [macro(name) for name in (*WORDS, *ANYWHERE)], _is_for_hydra(command)
    for index, word in enumerate(command):
        if not isinstance(word, str):
            continue
        in_shell = index > 0 and command[index - 1] == "-c"
        for name in _MACRO.findall(word):
            path, is_whole_word = ("command", index), word == macro(name)
            if name.startswith("params:") and name.removeprefix("params:") not in parameters:
                given = name.removeprefix("params:")
                names = one_of(parameters or ["there is none"], given, IN_FILE)
                expected = f"the name of a parameter ({names})"
                hint = suggested(given, parameters)
                yield Complaint(path=path, expected=expected, got=shown(word), hint=_macro_in(hint, "params:"))
            elif in_shell or _is_known(name):
                if not in_shell and not is_whole_word and name in WORDS:
                    yield Complaint(path=path, expected=f"{macro(name)} as a word of its own", got=shown(word))
            elif name in parameters and not is_hydra:
                right = macro(f"params:{name}")
                expected, hint = f"{right} for the value of {name}", f"write {word.replace(macro(name), right)}"
                yield Complaint(path=path, expected=expected, got=shown(word), hint=hint)
            elif hint := _near(name, is_whole_word=is_whole_word, is_hydra=is_hydra):
                expected = f"one of the macros {one_of(known, word, 'docs/reference/command.md lists them')}"
                yield Complaint(path=path, expected=expected, got=shown(word), hint=_macro_in(hint))
            else:
                yield from _misspelt(name, path, word)


def unknown_macros(command: Sequence[str], parameters: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield what reaches the program as it is written although it looks like a macro, with the index of its word.

    There is none in a shell's text, or in a command for Hydra, which has interpolations of the same form.
    """
    if _is_for_hydra(command):
        return
    for index, word in enumerate(command):
        for name in _MACRO.findall(word) if not index or command[index - 1] != "-c" else ():
            is_plain = name.replace("-", "_").isidentifier()  # a colon or a dot is that of an interpolation
            if is_plain and not _is_known(name) and name not in parameters:
                yield index, name


def _is_for_hydra(command: Sequence[object]) -> bool:
    macros = {macro(name) for name in HYDRA}
    words = [word for word in command if isinstance(word, str)]
    return any(word in macros or word.lstrip("+~").startswith("hydra.") for word in words)


def _near(name: str, *, is_whole_word: bool, is_hydra: bool) -> str:
    """Return ``did you mean ...?`` for a misspelt macro; empty if the name is not close to any."""
    if name.lower() in WORDS:
        return f"did you mean {name.lower()}?"
    before, colon, after = name.partition(":")
    kind = KINDS.get(before.lower(), "")
    if colon and kind and after and not is_hydra and f"{kind}:{after}" != name:
        return f"did you mean {kind}:{after}?"
    return suggested(name, (*WORDS, *ANYWHERE)) if is_whole_word else ""


def complaints_about_values(value: object, path: Path) -> Iterator[Complaint]:
    """Find misspelt macros of the trial in a value at a path of the file: a text, or a list with texts."""
    if isinstance(value, str):
        for name in _MACRO.findall(value):
            yield from _misspelt(name, path, value)
    for index, one in enumerate(value) if isinstance(value, list) else ():
        yield from complaints_about_values(one, (*path, index))
    for key, one in value.items() if isinstance(value, Mapping) else ():
        yield from complaints_about_values(one, (*path, str(key)))


def _misspelt(name: str, path: Path, text: str) -> Iterator[Complaint]:
    """Find a macro that only a trial could have, such as `${trial:directory}`, and that it does not have."""
    if name.startswith("trial:") and name not in OF_TRIAL:
        expected = f"one of {listed(macro(known) for known in OF_TRIAL)}"
        yield Complaint(path=path, expected=expected, got=shown(text), hint=_macro_in(suggested(name, OF_TRIAL)))
    elif name.startswith("params:") and path[0] != "command":
        yield Complaint(path=path, expected=f"{macro(name)} only in command", got=shown(text))


def _macro_in(hint: str, kind: str = "") -> str:
    return hint.replace("mean ", f"mean ${{{kind}").replace("?", "}?")


def _is_known(name: str) -> bool:
    return name in (*WORDS, *OF_TRIAL) or name.startswith("params:") or _VARIABLE.fullmatch(name) is not None
