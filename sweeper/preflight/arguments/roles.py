"""Recognise what an argument is for by its name: a seed, or a place that the script writes to."""

from __future__ import annotations

from pathlib import PurePosixPath

from sweeper.config import names_an_output
from sweeper.preflight.arguments.model import Argument, ArgumentKind

SEEDS = frozenset({"seed", "random_seed", "manual_seed", "manualseed", "rng_seed", "seed_everything", "random_state"})
SHORT = {
    "default": "lightning",
    "workdir": "work",
    "output": "out",
    "outdir": "out",
    "outf": "out",
    "logging": "logs",
    "log": "logs",
    "logdir": "logs",
}
TRIAL_DIR = "${trial:dir}"


def is_seed(argument: Argument) -> bool:
    """Return whether an argument is the seed of the script."""
    return _last(argument) in SEEDS and not argument.several


def is_output(argument: Argument) -> bool:
    """Return whether an argument says where the script writes."""
    if argument.kind is ArgumentKind.SWITCH or argument.several or argument.choices:
        return False
    if isinstance(argument.default, str) and "${" in argument.default:
        return False  # it follows from another value, such as the directory of Hydra's run
    if not (argument.default is None or isinstance(argument.default, str)) and not argument.left_out:
        return False
    default = argument.default if isinstance(argument.default, str) else ""
    return names_an_output(argument.name, default if "/" in default else f"./{default}")


def output_of(argument: Argument) -> str:
    """Return the place in a trial's directory for what an argument names: a folder, or a file with its ending."""
    name = _last(argument)
    default = argument.default if isinstance(argument.default, str) else ""
    if PurePosixPath(default).suffix and name.endswith(("path", "file", "output", "outf", "saveto")):
        return f"{TRIAL_DIR}/{PurePosixPath(default).name}"
    stem = name
    for ending in ("_dir", "_folder", "_directory", "_root", "_path", "_file"):
        stem = stem.removesuffix(ending)
    return f"{TRIAL_DIR}/{SHORT.get(stem, stem)}"


def _last(argument: Argument) -> str:
    return argument.name.rpartition(".")[2].replace("-", "_").lower()
