"""Warn of paths that several trials would write to: in a fixed parameter, or as it stands in the command.

A trial that finds the files of another may resume from its checkpoint and report its result. Whether an option is an
output is guessed from its name. A guess may be wrong, so it is a warning and not a mistake.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from sweeper.config.model.conditions import grid_size
from sweeper.config.model.parameters import Choice, Constant, Parameter
from sweeper.config.model.sweep import Method, SweepSpec
from sweeper.config.read.node import Node, Path, found
from sweeper.mistakes import LONGEST, printable, shown


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLACES = _words("dir dirs directory dirname folder path root file filename")
_SAVED = _words("out output outputs save saves saving")
_STATE = _words("ckpt checkpoint snapshot run exp experiment default")
"""A path or file of one of these is often read: `--ckpt_path` names the checkpoint to start from."""

_WRITTEN = (
    _SAVED
    | _STATE
    | _words("log logs logging work runs ckpts checkpoints snapshots result results dump experiments")
    | _words("tensorboard tb serialization artifact artifacts export")
)
_LOADED = _words("in input inputs load pretrained resume init initial from start restore")
_READ = _words("data dataset cache config cfg src source teacher")

_BARE = _words("out output outf o save save_to save_as saveto log dirpath outfile logfile")
"""Options that are an output if their value looks like a path: `--save model.pt`, but `--save best`."""

_JOINED = re.compile(r"(out|output|log|save|work|ckpt|checkpoint|exp|run|result|results)(dir|path|folder|file)")
_FULL = frozenset({"hydra.run.dir", "hydra.sweep.dir"})
_WORD = re.compile(r"-{0,2}([A-Za-z][\w.\-]*)=(.+)", re.DOTALL)
_OPTION = re.compile(r"--?([A-Za-z][\w.\-]*)")
_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,11}$")
_NO_PATH = re.compile(r"(?i)true|false|yes|no|none|null|auto|stdout|stderr|-|[-+.\d]+|/dev/.*")

RESERVED = ("attempts", "best", "checkpoints", "embeddings")
"""Names in the directory of a trial that sweeper itself uses."""


def warnings_about_outputs(root: Node, spec: SweepSpec) -> Iterator[str]:
    """Yield a warning, with its line, for each path that all trials of a sweep would write to.

    Args:
        root: the resolved sweep with its positions.
        spec: the same sweep.
    """
    configurations = _configurations(spec)
    is_alone = configurations == 1 and len(spec.seeds) == 1
    for path, name, value in _options(root, spec):
        node = found(root, *path)
        where = f"{node.where}: {'.'.join(map(str, node.key))}" if node else name
        if (own := _reserved(value)) and names_an_output(name, value):
            yield f"{where}: {own} is a directory of sweeper itself; write ${{trial:dir}}/out/{PurePath(own).name}"
        elif not is_alone and is_shared_path(value, by_seed=configurations == 1) and names_an_output(name, value):
            yield (
                f"{where}: every trial would write to {shown(value)}, so one could resume from, or overwrite, "
                f"the files of another; write {_own_path(value)}"
            )
    if spec.resume_args and not is_alone and is_shared_path(spec.resume_args.path, by_seed=configurations == 1):
        node = found(root, "resume_args")
        yield (
            f"{node.where if node else ''}: resume_args: every trial would resume from "
            f"{shown(spec.resume_args.path)}; write {_own_path(spec.resume_args.path)}"
        )


def _configurations(spec: SweepSpec) -> int | None:
    """Return the number of configurations if it is 1; None if there are more, or it is not known."""
    few = spec.run_cap == 1 or spec.budget.trials == 1
    return 1 if few or (spec.method is Method.GRID and grid_size(spec.parameters, most=1) == 1) else None


def _options(root: Node, spec: SweepSpec) -> Iterator[tuple[Path, str, str]]:
    """Yield the path in the file, the name and the value of everything that is passed to all trials alike."""
    fixed = {name: value for name, one in spec.parameters.items() if (value := _fixed(one)) is not None}
    for name, value in fixed.items():
        key = next((key for key in ("value", "values") if found(root, "parameters", name, key)), "")
        yield ("parameters", name, key), name, value
    varied = {_plain(name) for name in spec.parameters.keys() - fixed.keys()}
    words = spec.command or ()
    for index, word in enumerate(words):
        text = _shell_words(word) if index and words[index - 1] == "-c" else None
        given = _given(text) if text is not None else _given(words[index : index + 2], most=1)
        yield from ((("command", index), name, value) for name, value in given if _plain(name) not in varied)


def _fixed(parameter: Parameter) -> str | None:
    values = parameter.values if isinstance(parameter, Choice) else ()
    value = parameter.value if isinstance(parameter, Constant) else values[0] if len(values) == 1 else None
    return value if isinstance(value, str) else None


def _shell_words(script: str) -> Sequence[str]:
    try:
        return shlex.split(script)
    except ValueError:
        return ()


def _given(words: Sequence[str], most: int | None = None) -> Iterator[tuple[str, str]]:
    """Yield the options among the first `most` words: `--name=value`, `name=value`, or `--name value`."""
    for index, word in enumerate(words[:most]):
        if match := _WORD.fullmatch(word.lstrip("+")):
            yield match[1], match[2]
        elif (match := _OPTION.fullmatch(word)) and index + 1 < len(words) and not words[index + 1].startswith("-"):
            yield match[1], words[index + 1]


def names_an_output(name: str, value: str) -> bool:
    """Return whether an option of this name and value is probably a path that the script writes to."""
    if name in _FULL:
        return True
    last = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.rpartition(".")[2])
    last = _JOINED.sub(r"\1_\2", _plain(last))
    parts = set(last.split("_"))
    looks_like_path = "/" in value or _SUFFIX.search(value) is not None
    if last in _BARE:
        return looks_like_path
    is_read = parts & _LOADED or (parts & _READ and not parts & _SAVED)
    if is_read or not parts & _PLACES or not parts & _WRITTEN:
        return False
    # A folder of checkpoints is written; a path of one is as often read, unless its name says what is done with it.
    return bool(parts & {"dir", "dirs", "directory", "folder", "root"}) or not parts & _WRITTEN <= _STATE


def is_shared_path(value: str, *, by_seed: bool = False) -> bool:
    """Return whether a value is the same path for several trials; `by_seed`: whether they differ by the seed alone."""
    if _NO_PATH.fullmatch(value):
        return False
    rest = value if by_seed else value.replace("${trial:seed}", "")
    rest = re.sub(r"\$\{envvar:(?!SWEEPER_TRIAL_DIR\}|WANDB_RUN_ID\})\w+\}", "", rest)
    # Whatever is left to expand (a macro, an interpolation of Hydra, a format string) may differ from trial to trial.
    return not re.search(r"[${}`%]", rest)


def _reserved(value: str) -> str:
    """Return the directory of sweeper itself that a value is, or is in; empty if there is none."""
    match = re.fullmatch(r"\$\{trial:dir\}/(\w+)(/.*)?", value)
    return f"${{trial:dir}}/{match[1]}" if match and match[1] in RESERVED else ""


def _own_path(value: str) -> str:
    name = PurePath(re.sub(r"\$\{[^}]*\}", "", value)).name[:LONGEST]
    return printable(f"${{trial:dir}}/{'out' if name in ('', '.', '..', *RESERVED) else name}")


def _plain(name: str) -> str:
    return name.lstrip("-").lower().replace("-", "_")
