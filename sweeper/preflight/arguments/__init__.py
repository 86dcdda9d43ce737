"""Read the arguments of a script from its source, without running it.

1. Each way of taking arguments is a family (`families/`). The script itself counts first, then the modules beside it.
2. Arguments that only running the script would reveal are not guessed: `unread` lists their lines, or `left_out` says
   why an argument cannot be a parameter. `to_do` says what is left to do by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sweeper.integrations.names import metric_name
from sweeper.preflight.arguments.families import FAMILIES, LAST, config_file
from sweeper.preflight.arguments.metrics import logged_metrics, printed_metric
from sweeper.preflight.arguments.model import Argument, ArgumentKind, Arguments, Passing
from sweeper.preflight.arguments.reading import script_of
from sweeper.preflight.arguments.script import TORCH, Script

__all__ = ["Argument", "ArgumentKind", "Arguments", "Passing", "arguments_of"]

TAKE_SOME = (
    "no arguments were found in the script, so nothing can be varied yet: let it take some, as with argparse, or name "
    "a function in it, as package.module:function"
)
SEVERAL_RANKS = (
    "the script joins several ranks (init_process_group), and this command starts one process: in `command`, write "
    "-m, torch.distributed.run, --standalone, --nproc-per-node=2 before the script"
)
NONE = Arguments(
    family="",
    passing=Passing.NOTHING,
    to_do=(TAKE_SOME,),
)


def arguments_of(path: Path, given: Mapping[str, str]) -> Arguments:
    """Return the arguments of a script. A script without any gets what to do about it.

    Args:
        path: the script.
        given: the values that the user gives for arguments, as text; some families read the file that one names.

    Raises:
        UsageError: the script cannot be read, or is not Python.
    """
    script = script_of(path, given)
    found = _found(script) or NONE
    names = logged_metrics(script)
    elsewhere = f"run sweeper in {script.root}, where `python -m {script.module_name}` finds the script"
    return replace(
        found,
        module_name=script.module_name,
        to_do=(
            *found.to_do,
            *([elsewhere] if script.module_name and script.root != Path.cwd() else []),
            *([SEVERAL_RANKS] if _waits_for_ranks(script) else []),
        ),
        metrics=tuple(map(metric_name, names)) if script.imports_name("sweeper.integrations") else names,
        printed=printed_metric(script),
        opens_trial=script.imports("sweeper"),
        imports_torch=script.imports(*TORCH),
    )


def _waits_for_ranks(script: Script) -> bool:
    """Return whether the script joins a process group, and does not start the other ranks by itself."""
    joins = any(script.calls("init_process_group", libraries=["torch"]))
    return joins and not any(script.calls("spawn", "start_processes"))


def _found(script: Script) -> Arguments | None:
    """Return what the first family finds that applies to the script, or else to the modules beside it."""
    read: list[Arguments] = []
    for families, own_only in ((FAMILIES, True), (FAMILIES, False), (LAST, False)):
        place = replace(script, own_only=own_only)
        read = read or [found for family in families if (found := family(place)) is not None]
    from_file = config_file.instead(script, read[0] if read else None)
    if from_file is not None:
        return from_file
    if not read:
        return None
    known = {one.name for one in read[0].arguments}
    also = ", ".join(one.family for one in read[1:] if not {inner.name for inner in one.arguments} <= known)
    if not also:
        return read[0]
    said = f"the script uses {read[0].family}, which was read, and {also}, which was not: add what is missing"
    return replace(read[0], to_do=(*read[0].to_do, said))
