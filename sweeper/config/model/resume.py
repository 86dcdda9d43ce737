"""The setting `resume_args`: arguments that are added to the command if there is a checkpoint to resume from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from sweeper.mistakes import STRICT, refused

OF_TRIAL = ("${trial:dir}", "${trial:number}", "${trial:name}")
"""The macros that make a path differ from trial to trial."""

EXAMPLE = '["--resume", "${trial:dir}/last.pt"]'


class ResumeArgs(BaseModel):
    """Arguments for every attempt after the first, if it finds a checkpoint.

    For example `resume_args: ["--resume", "${trial:dir}/last.pt"]`. The checkpoint is the path in the last argument
    that contains `${trial:dir}`; of several that match wildcards, as in `${trial:dir}/checkpoint-*`, the newest one
    counts. If no argument has the path, write `resume_args: {args: [--resume], if_exists: "${trial:dir}/last.pt"}`.
    """

    model_config = STRICT
    args: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=1)]
    if_exists: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _takes_a_list(cls, given: object) -> object:
        if isinstance(given, list | tuple):
            return {"args": given}
        if not isinstance(given, Mapping | cls):
            raise refused("a list of arguments, or a mapping with args and if_exists", hint=_hint(given))
        return given

    @property
    def path(self) -> str:
        """The path of the checkpoint, with macros and wildcards; empty if neither `args` nor `if_exists` has one."""
        return self.if_exists or path_in(self.args)


def path_in(args: Sequence[str]) -> str:
    """Return the path in the last argument that contains a macro of the trial; empty if there is none.

    `${trial:dir}` begins the path. A path with another macro begins after the first `=` of its argument.
    """
    word = next((word for word in reversed(args) if any(macro in word for macro in OF_TRIAL)), "")
    before, found, after = word.partition(OF_TRIAL[0])
    if not found:
        return word.partition("=")[2] if "=" in word else word
    quote = before[-1:] if before[-1:] in ("'", '"') else ""
    return (found + after).removesuffix(quote) if quote else found + after


def _hint(given: object) -> str:
    if not isinstance(given, str):
        return f"for example {EXAMPLE}"
    try:
        words = shlex.split(given)
    except ValueError:
        words = given.split()
    quoted = ", ".join(f'"{word}"' for word in words)
    return f"write [{quoted}]"
