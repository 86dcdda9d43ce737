"""What is derived from a sweep at one moment: speeds, time left, savings."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.record.events import Finished, Launched, Metrics, Plan, Started
from sweeper.record.reader import read_trial
from sweeper.record.storage.codec import encode
from sweeper.record.storage.layout import SweepDir
from sweeper.results.snapshot import steps_per_second
from tests.views.synthetic import START, make_trial


@pytest.mark.parametrize("slow_start", [0.0, 100.0])
def test_imports_and_data_are_not_counted_in_the_speed(tmp_path: Path, slow_start: float) -> None:
    trial = make_trial(SweepDir(tmp_path), 0)
    trial.attempt(1).path.mkdir(parents=True)
    first = START + slow_start
    trial.control.write_bytes(encode(Launched(time=START, attempt=1, slot="cpu:0")))
    events = [
        Started(time=START, pid=1, host="here", attempt=1),
        Plan(time=first, total_steps=100, peak_lr=None),
        *[Metrics(time=first + step / 4, step=step, values={"loss/train": 1.0}) for step in range(9)],
        Finished(time=first + 2, outcome="stopped"),
    ]
    trial.attempt(1).events.write_bytes(b"".join(encode(event) for event in events))
    assert steps_per_second(read_trial(trial)) == pytest.approx(4)
