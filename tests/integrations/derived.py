"""A trial that is derived from another one's newest checkpoint, as an orchestrator makes it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sweeper.record.checkpoints import newest_before, saved_checkpoints, take_over
from sweeper.record.derivation import Derivation
from sweeper.record.storage.layout import TrialDir, read_json, write_json
from tests.integrations.record import Record


class Child(Record):
    """The record of trial 1, derived from trial 0."""

    def __init__(self, parent: Record, *, step: int | None = None, **derivation: Any) -> None:
        one = newest_before(saved_checkpoints(parent.directory), step)
        assert one is not None
        self.parent, self.attempt = parent, 0
        self.directory = TrialDir(parent.directory.path.with_name("0001"))
        self.directory.path.mkdir()
        self.derived = Derivation(parent=0, step=one.step, checkpoint=one.file, **derivation)
        assert take_over(parent.directory, self.directory, one.file)
        facts = {"number": 1, "configuration": -1, "derived": asdict(self.derived)}
        write_json(self.directory.facts, {**read_json(parent.directory.facts), **facts})


def keep_healthy(record: Record, older: int, *, every_steps: int = 0) -> None:
    """Let older checkpoints be kept, and one be due after so many steps."""
    settings = {"keep_healthy": older, "checkpoint_every_steps": every_steps}
    write_json(record.directory.facts, {**read_json(record.directory.facts), **settings})
