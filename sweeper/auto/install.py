"""Prepare this process to be watched, before it imports a package that trains or logs."""

from __future__ import annotations

import functools
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sweeper.auto import frameworks
from sweeper.auto.imports import Finder, Then
from sweeper.auto.loggers import LOGGERS
from sweeper.auto.session import Session
from sweeper.auto.wandb import install_wandb
from sweeper.record.facts import Facts
from sweeper.record.storage.layout import TrialDir

if TYPE_CHECKING:
    from sweeper.auto.training import Training

COMPILER = "torch._dynamo.eval_frame"
"""The module of `torch.compile`, which is imported at its first use."""


@functools.cache
def finder(trial: str, attempt: str) -> Finder:
    """Return the finder that calls sweeper after the import of a package, and make it the first finder of Python.

    Args:
        trial: the directory of the trial.
        attempt: the number of the attempt.
    """
    directory = TrialDir(Path(trial))
    session = Session(directory, directory.attempt(int(attempt)))
    facts = Facts.read(directory)
    install_wandb(facts.params_in(directory), directory.path, session.log, nesting=facts.nesting)
    calls: dict[str, list[Then]] = defaultdict(list)
    calls["torch"].append(functools.partial(_watch_training, session))
    calls[COMPILER].append(functools.partial(_watch_compiled, session))
    for name in frameworks.TRAINERS:
        calls[name].append(functools.partial(frameworks.install, session))
    for name, install in LOGGERS.items():
        calls[name].append(functools.partial(install, log=session.log))  # type: ignore[call-arg]  # all name it so
    found = Finder(calls)
    found.install()
    return found


def _watch_training(session: Session, _torch: ModuleType) -> None:
    def watch() -> Training:
        from sweeper.auto.training import Training

        return Training(session)

    session.training = session.guarded("watching", watch)


def _watch_compiled(session: Session, compiler: ModuleType) -> None:
    if session.training is not None:
        session.guarded("watching compiled modules", session.training.watch_compiled, compiler)
