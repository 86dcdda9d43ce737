"""Prepare this process to be watched, before it imports a package that trains or logs."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from pathlib import Path
from types import ModuleType

from sweeper.auto import frameworks
from sweeper.auto.imports import Finder, Then
from sweeper.auto.loggers import LOGGERS
from sweeper.auto.session import Session
from sweeper.auto.wandb import install_wandb
from sweeper.record.facts import Facts
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, TrialDir


@functools.cache
def finder() -> Finder:
    """Return the finder that calls sweeper after the import of a package, and make it the first finder of Python."""
    directory = TrialDir(Path(os.environ[TRIAL_DIR]))
    session = Session(directory.attempt(int(os.environ.get(ATTEMPT, "1"))))
    install_wandb(Facts.read(directory).params_in(directory), directory.path, session.log)
    calls: dict[str, list[Then]] = defaultdict(list)
    calls["torch"].append(functools.partial(_watch_training, session))
    for name in frameworks.TRAINERS:
        calls[name].append(functools.partial(frameworks.install, session))
    for name, install in LOGGERS.items():
        calls[name].append(functools.partial(install, log=session.log))  # type: ignore[call-arg]  # all name it so
    found = Finder(calls)
    found.install()
    return found


def _watch_training(session: Session, _torch: ModuleType) -> None:
    from sweeper.auto.training import Training

    session.training = session.guarded("watching", Training, session)
