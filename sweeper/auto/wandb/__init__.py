"""Run scripts that use W&B as they are: without an account, a network, W&B's agent, or even the package.

Where the package is installed, its runs are offline unless an account is configured. Where it is not, `import wandb`
finds a stand-in. In both cases `wandb.config` has the trial's parameters.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from sweeper.auto.loggers.base import Log


def install_wandb(params: Mapping[str, object], directory: Path, log: Log) -> None:
    """Prepare W&B in this process, before the script imports it. It costs nothing if the script never does.

    The installed package is prepared at its import, by `LOGGERS["wandb"]`, which the import hook has to call.

    Args:
        params: the trial's parameters. A grouped one has a dot in its name and is nested in `wandb.config`.
        directory: the trial's directory. W&B's files are written to its folder `wandb`.
        log: where metrics go that the stand-in logs.
    """
    from sweeper.auto.wandb import finder, setup

    setup.current = setup.Setup(params=dict(params), directory=directory, log=log)
    if not any(isinstance(found, finder.StandInFinder) for found in sys.meta_path):
        sys.meta_path.append(finder.StandInFinder())
