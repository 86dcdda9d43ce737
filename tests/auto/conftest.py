"""A session of the automatic watch in this process, which is undone after the test."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from sweeper.auto.session import Session
from sweeper.auto.training import Training
from sweeper.record.events import Event, Inferred, Metrics, Noted
from sweeper.record.facts import Facts
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, TrialDir, write_json
from sweeper.worker import inherited, opening
from sweeper.worker.watch.forward.losses import CHECKED


def make_trial(path: Path) -> TrialDir:
    """Make the directory of a trial with one attempt, as a sweep with `watch: auto` does."""
    directory = TrialDir(path)
    facts = Facts(
        number=0, configuration=0, seed=0, params={}, shown={}, command=["x"], metric="m", maximize=False, watch="auto"
    )
    path.mkdir(parents=True)
    write_json(directory.facts, {"format": 1, **asdict(facts)})
    directory.attempt(1).path.mkdir(parents=True)
    return directory


class Record:
    """What the attempt has recorded."""

    def __init__(self, directory: TrialDir) -> None:
        self.directory = directory
        self.attempt = directory.attempt(1)

    @property
    def events(self) -> Sequence[Event]:
        return read_journal(self.attempt.events) if self.attempt.events.exists() else []

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def notes(self) -> str:
        return "\n".join(event.text for event in self.of(Noted))

    @property
    def inferred(self) -> dict[str, tuple[str, ...]]:
        """What was found last, by its kind."""
        return {event.kind: event.names for event in self.of(Inferred)}

    def metric(self, name: str) -> dict[int, float]:
        return {event.step: event.values[name] for event in self.of(Metrics) if name in event.values}


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(make_trial(tmp_path / "run" / "trials" / "0000"))


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What would be called when the process exits, in the order of registration."""
    handlers: list[Callable[[], object]] = []

    def register(call: Callable[..., object], *args: object) -> Callable[..., object]:
        handlers.append(lambda: call(*args))
        return call

    monkeypatch.setattr(atexit, "register", register)
    monkeypatch.setattr(atexit, "unregister", lambda _: None)
    return handlers


@pytest.fixture
def session(record: Record, exits: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The session of an attempt in this process."""
    monkeypatch.setattr(opening, "_CALLBACKS", [])
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setenv(TRIAL_DIR, str(record.directory.path))
    monkeypatch.setenv(ATTEMPT, "1")
    monkeypatch.delenv(inherited.VARIABLE, raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    yield Session(record.directory, record.attempt)
    if opening.Opening.current is not None:
        opening.Opening.current.close(None)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def training(session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Training]:
    """The watch of the optimizers that the test makes."""
    for name in CHECKED:
        monkeypatch.setattr(functional, name, getattr(functional, name))
    torch.manual_seed(0)
    session.training = Training(session)
    yield session.training
    session.training.close()
