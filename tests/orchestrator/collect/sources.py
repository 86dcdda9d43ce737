"""A trial with files that a test writes, and the sources that an orchestrator reads of it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sweeper.config import SweepSpec
from sweeper.orchestrator.collect.attempt_sources import AttemptSources
from sweeper.orchestrator.collect.groups import groups_of
from sweeper.record.events import Collected, Launched, Metrics, Noticed
from sweeper.record.reader import TrialReader
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir
from tests.views.synthetic import make_trial


def metrics_of(**sources: Any) -> SweepSpec:
    given = {"name": "s", "method": "grid", "metric": {"name": "m"}, "command": ["true"]}
    return SweepSpec.from_json({**given, "metrics": sources})


class Watched:
    """A launched trial, and the sources of its newest attempt as an orchestrator reads them."""

    def __init__(self, folder: Path, **sources: Any) -> None:
        self.groups = groups_of(metrics_of(**sources).metrics)
        self.trial = make_trial(SweepDir(folder), 0)
        self.attempt = 0
        self.launch()

    def launch(self) -> None:
        """Launch one more attempt."""
        self.attempt += 1
        self.trial.attempt(self.attempt).path.mkdir(parents=True)
        with JournalWriter(self.trial.control) as control:
            control.append(Launched(attempt=self.attempt, slot="s"))
        self.restart()

    def restart(self) -> None:
        """Read as an orchestrator does that takes over."""
        self.sources = AttemptSources(self.trial.attempt(self.attempt), self.groups)

    def write(self, name: str, data: str | bytes, *, append: bool = False) -> None:
        path = self.trial.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if append else "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)

    def prints(self, data: str | bytes) -> None:
        self.write(f"attempts/{self.attempt}/output.log", data, append=True)

    def collect(self, *, step: int | None = None, after: int = 0, final: bool = False) -> list[Collected]:
        events = self.sources.collect(after=after, step=step, final=final)
        with JournalWriter(self.trial.control) as control:
            control.extend(events)
        return [event for event in events if isinstance(event, Collected)]

    def history(self, name: str) -> list[tuple[int, float]]:
        """Return step and value of a metric, as the record has it."""
        events = [entry.event for entry in TrialReader.open(self.trial).poll()]
        return [(one.step, one.values[name]) for one in events if isinstance(one, Metrics) and name in one.values]

    def noticed(self) -> list[Noticed]:
        return [event for event in read_journal(self.trial.control) if isinstance(event, Noticed)]

    def problems(self) -> list[str]:
        return [event.problem for event in self.noticed() if event.problem]


# ---- files of wandb, as its own writer makes them -------------------------------------------------------------------


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = []
    while True:
        value, byte = value >> 7, value & 0x7F
        parts.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(parts)


def block(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def item(key: str | Iterable[str], value: object) -> bytes:
    keys = [block(1, key.encode())] if isinstance(key, str) else [block(2, part.encode()) for part in key]
    return block(1, b"".join([*keys, block(16, json.dumps(value).encode())]))


def logged(step: int, values: Mapping[str | tuple[str, ...], object]) -> bytes:
    """Return the message of `wandb.log`; a tuple is a nested key."""
    items = b"".join(item([key] if isinstance(key, str) else key, value) for key, value in values.items())
    return varint(1 << 3) + varint(step + 1) + block(2, items + block(2, varint(1 << 3) + varint(step)))


def summed(values: Mapping[str, object]) -> bytes:
    """Return the message of an update of the summary."""
    return block(3, b"".join(item(key, value) for key, value in values.items()))


def wandb_file(messages: Iterable[bytes]) -> bytes:
    """Return a file with these messages, split over blocks as LevelDB's log writer does."""
    data = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for message in messages:
        rest, first = message, True
        while first or rest:
            left = (1 << 15) - len(data) % (1 << 15)
            if left < 7:
                data += bytes(left)
                left = 1 << 15
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = (1 if not rest else 2) if first else (4 if not rest else 3)
            data += struct.pack("<IHB", 0, len(part), kind) + part
            first = False
    return bytes(data)
