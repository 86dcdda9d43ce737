"""A trial as an orchestrator makes it, and what callbacks left in its record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sweeper.record.events import Event, Observation, Watching
from sweeper.record.reader import history, read_row
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import TrialDir, write_json


class Tiny(nn.Module):
    """Five layers and dropout, which needs the state of random numbers to be restored."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Dropout(0.1)) for _ in range(4)]
        self.stack = nn.Sequential(*layers, nn.Linear(4, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.stack(x)
        return out


def examples(count: int = 24) -> list[tuple[torch.Tensor, int]]:
    """Points of the plane of their first two entries, by the side of a line."""
    points = torch.randn(count, 4, generator=torch.Generator().manual_seed(1))
    return [(point, int(point[0] > point[1])) for point in points]


class Record:
    """The directory of a trial and the environment that a shim would give its attempts."""

    def __init__(self, path: Path) -> None:
        self.directory = TrialDir(path / "0000")
        self.directory.path.mkdir(parents=True)
        self.rank_by("acc")
        self.attempt = 0

    def rank_by(self, metric: str) -> None:
        """Name the metric of the sweep."""
        facts = {"number": 0, "configuration": 0, "seed": 7, "params": {}, "shown": {}, "command": []}
        write_json(self.directory.facts, {**facts, "metric": metric, "maximize": True, "checkpoint_every_s": 3600.0})

    def next_attempt(self) -> None:
        self.attempt += 1
        self.directory.attempt(self.attempt).path.mkdir(parents=True)
        os.environ["SWEEPER_TRIAL_DIR"] = str(self.directory.path)
        os.environ["SWEEPER_ATTEMPT"] = str(self.attempt)

    def events(self, kind: type[Event]) -> list[Any]:
        """The events of the newest attempt."""
        events = read_journal(self.directory.attempt(self.attempt).events)
        return [event for event in events if isinstance(event, kind)]

    def standing(self, kind: type[Event]) -> list[Any]:
        """The events that stand after all attempts."""
        events = history(self.directory.attempts())
        return [event for event in events if isinstance(event, kind)]

    def gradient_norms(self) -> dict[int, dict[str, float]]:
        """By step, tensor by tensor, what the newest attempt observed."""
        (watching,) = self.events(Watching)
        width, column = len(watching.statistics), watching.statistics.index("grad_norm")
        norms = {}
        for observation in self.events(Observation):
            row = read_row(self.directory.attempt(self.attempt), observation.row, watching.row_width)
            assert row is not None
            of_tensors = row[column : watching.of_tensors : width]
            norms[observation.step] = dict(zip(watching.tensors, of_tensors, strict=True))
        return norms


def norms_of(model: nn.Module) -> dict[str, float]:
    """The norms of the gradients as they are now, of all but biases."""
    return {
        name: float(tensor.grad.double().norm())
        for name, tensor in model.named_parameters()
        if tensor.grad is not None and not name.endswith("bias")
    }
