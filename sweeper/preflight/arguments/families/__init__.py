"""One module for each way in which scripts take their arguments; each has a `read` that returns them, or None.

`FAMILIES` is tried in order: libraries that leave no doubt come first, and plain argparse, which many of them build on,
comes after them. `config_file` is asked last, with what the command line of the script has.
"""

from __future__ import annotations

from collections.abc import Callable

from sweeper.preflight.arguments.families import (
    absl,
    argument_parser,
    click,
    exec_globals,
    fire,
    huggingface,
    hydra,
    jsonargparse,
    lightning_cli,
    omegaconf,
    simple_parsing,
    trial_api,
    typer,
    tyro,
)
from sweeper.preflight.arguments.model import Arguments
from sweeper.preflight.arguments.script import Script

FAMILIES: tuple[Callable[[Script], Arguments | None], ...] = (
    hydra.read,
    lightning_cli.read,
    tyro.read,
    simple_parsing.read,
    huggingface.read,
    jsonargparse.read,
    typer.read,
    click.read,
    absl.read,
    fire.read,
    trial_api.read,
    exec_globals.read,
    argument_parser.read,
    omegaconf.read,
)
LAST: tuple[Callable[[Script], Arguments | None], ...] = (trial_api.read_wandb,)
"""What counts only if nothing else was found, in the script or beside it."""
