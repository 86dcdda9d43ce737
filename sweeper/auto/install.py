"""Prepare this process to be watched, before it imports a package that trains or logs."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from sweeper.auto import frameworks
from sweeper.auto.imports import Finder
from sweeper.auto.session import Session
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, TrialDir


@functools.cache
def finder() -> Finder:
    """Return the finder that calls sweeper after the import of a package, and make it the first finder of Python."""
    directory = TrialDir(Path(os.environ[TRIAL_DIR]))
    session = Session(directory.attempt(int(os.environ.get(ATTEMPT, "1"))))
    calls: dict[str, list[Callable[[ModuleType], None]]] = {"torch": [functools.partial(_watch_training, session)]}
    for name in frameworks.TRAINERS:
        calls[name] = [functools.partial(frameworks.install, session)]
    found = Finder(calls, {})
    found.install()
    return found


def _watch_training(session: Session, _torch: ModuleType) -> None:
    from sweeper.auto.training import Training

    session.training = session.guarded("watching", Training, session)
