"""Run scripts that use W&B as they are: without an account, a network, W&B's agent, or even the package.

Where the package is installed, its runs are offline unless an account is configured. Where it is not, `import wandb`
finds a stand-in. In both cases `wandb.config` has the trial's parameters.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from sweeper.auto.loggers.base import Log
from sweeper.record.values.params import Nesting


def install_wandb(params: Mapping[str, object], directory: Path, log: Log, *, nesting: Nesting | None = None) -> None:
    """Prepare W&B in this process, before the script imports it. It costs nothing if the script never does.

    The installed package is prepared at its import, by `LOGGERS["wandb"]`, which the import hook has to call.

    Args:
        params: the trial's parameters. A grouped one is nested in `wandb.config`.
        directory: the trial's directory. W&B's files are written to its folder `wandb`.
        log: where metrics go that the stand-in logs.
        nesting: the groups of parameters, as in the trial's facts.
    """
    from sweeper.auto.wandb import finder, setup

    setup.current = setup.Setup(params=dict(params), directory=directory, log=log, nesting=nesting)
    if not any(isinstance(found, finder.StandInFinder) for found in sys.meta_path):
        sys.meta_path.append(finder.StandInFinder())
