"""Find the program, the interpreter and the script in a command, without running any of it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.config import PARAMETER, Constant, SweepSpec
from sweeper.config.read.node import Path as Place

DEFAULT_COMMAND = ("${interpreter}", "${program}", "${args}")
SHELLS = ("sh", "bash", "zsh", "dash", "ksh", "fish")

_PYTHON = re.compile(r"(python|pypy)[\d.]*")
_LAUNCHERS = ("torchrun", "accelerate", "deepspeed", "uv", "poetry", "conda", "pdm", "pixi", "srun", "mpirun")
"""Programs that start a Python script which follows somewhere in their arguments."""
_LAUNCHING_MODULES = re.compile(r"(torch\.distributed\.(run|launch)|accelerate\.commands\.\w+|deepspeed[\w.]*)")
_VALUED = ("-X", "-W", "--check-hash-based-pycs")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_MACRO = re.compile(r"\$\{envvar:(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a command as the trials get it, with its place in the sweep file; `text` is None if trials differ."""

    text: str | None
    place: Place

    def ends(self, suffix: str) -> bool:
        """Return whether the word is known and has an ending."""
        return self.text is not None and self.text.endswith(suffix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a command runs.

    Attributes:
        executable: the first word after `env`; None if there is none, or if options of `env` cannot be read.
        is_python: whether it is a Python interpreter.
        script: the script that the executable starts; None if none was recognised.
        module: the module that `python -m` starts.
        code: the text after `-c`.
    """

    executable: Word | None = None
    is_python: bool = False
    script: Word | None = None
    module: Word | None = None
    code: Word | None = None


def words_of(spec: SweepSpec, environment: Mapping[str, str]) -> list[Word]:
    """Return the words of the sweep's command, with the macros replaced that are the same for all trials."""
    return list(_words(spec, environment))


def _words(spec: SweepSpec, environment: Mapping[str, str]) -> Iterator[Word]:
    constants = {name: one.value for name, one in spec.parameters.items() if isinstance(one, Constant)}
    words = spec.command or DEFAULT_COMMAND
    for index, word in enumerate(words):
        place: Place = ("command", index) if spec.command else ("program",)
        match word:
            case "${env}":
                yield Word(text="/usr/bin/env", place=place)
            case "${interpreter}":
                yield Word(text=sys.executable, place=place)
            case "${program}":
                yield Word(text=spec.program, place=("program",))
            case _:
                text = _MACRO.sub(lambda match: environment.get(match[1], match[0]), word)
                text = PARAMETER.sub(lambda match: str(constants.get(match[1], match[0])), text)
                is_code = index > 0 and words[index - 1] == "-c"
                yield Word(text=None if "${" in text and not is_code else text, place=place)


def program_of(words: Sequence[Word]) -> Program:
    """Return what a command runs, as far as its words show."""
    rest = list(words)
    if rest and rest[0].text is not None and Path(rest[0].text).name == "env":
        rest = rest[1:]
        while rest and rest[0].text is not None and _ASSIGNMENT.fullmatch(rest[0].text):
            rest = rest[1:]
    if not rest or rest[0].text is None or rest[0].text.startswith("-"):
        return Program()
    executable, rest = rest[0], rest[1:]
    name = Path(rest_name := executable.text or "").name
    if rest_name == sys.executable or _PYTHON.fullmatch(name):
        return _python(executable, rest)
    if name in SHELLS:
        return _shell(executable, rest)
    if name in _LAUNCHERS:
        return Program(executable=executable, script=next((word for word in rest if word.ends(".py")), None))
    return Program(executable=executable)


def _python(executable: Word, words: Sequence[Word]) -> Program:
    rest = list(words)
    while rest and rest[0].text is not None and rest[0].text.startswith("-") and rest[0].text != "-":
        option = rest.pop(0).text
        if option in ("-c", "-m"):
            found = rest[0] if rest else None
            if option == "-c":
                return Program(executable=executable, is_python=True, code=found)
            launches = found is not None and _LAUNCHING_MODULES.fullmatch(found.text or "")
            script = next((word for word in rest[1:] if word.ends(".py")), None) if launches else None
            return Program(executable=executable, is_python=True, module=found, script=script)
        if option in _VALUED and rest:
            rest.pop(0)
    script = rest[0] if rest and rest[0].text not in (None, "-") else None
    return Program(executable=executable, is_python=True, script=script)


def _shell(executable: Word, words: Sequence[Word]) -> Program:
    for index, word in enumerate(words):
        if word.text is None:
            break
        if re.fullmatch(r"-[a-z]*c", word.text):
            return Program(executable=executable, code=words[index + 1] if index + 1 < len(words) else None)
        if not word.text.startswith(("-", "+")):
            return Program(executable=executable, script=word)
    return Program(executable=executable)


def located_executable(name: str, environment: Mapping[str, str]) -> str | None:
    """Return the path of an executable, which is looked up in PATH if it has no slash; None if there is none."""
    if os.sep in name:
        return name if Path(name).is_file() else None
    return shutil.which(name, path=environment.get("PATH"))
