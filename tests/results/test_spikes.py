"""Spikes as text and as JSON."""

from __future__ import annotations

import json
import math

from sweeper.record.events import Spiked
from sweeper.record.progress import SPIKES_KEPT, fold
from sweeper.results.spikes import spike_lines, spike_text, spikes_to_json
from sweeper.views.tensorboard.curves import spike_scalars


def spike(step: int = 7, z: float = 40.0, value: float = 5.0, action: str = "skip") -> Spiked:
    skipped = int(action == "skip")
    return Spiked(step=step, name="loss", value=value, centre=1.0, scale=0.1, z=z, action=action, skipped=skipped)


def test_a_spike_as_text() -> None:
    assert spike_text(spike()) == "step 7: loss was 5, 40 sigma above its median 1; skipped"
    assert spike_text(spike(z=math.inf, value=math.nan, action="record")) == "step 7: loss was nan; recorded only"
    assert spike_text(spike(z=math.nan, action="rewind")) == "step 7: found by loss; to be rewound"


def test_the_number_and_the_last_spikes_are_listed() -> None:
    progress = fold([spike(step) for step in range(9)] + [spike(9, action="record")])
    lines = spike_lines(progress)
    assert lines[0] == "10 spikes of the loss or the gradient; 9 steps were skipped because of one"
    assert len(lines) == 1 + SPIKES_KEPT
    assert not spike_lines(fold([]))


def test_json_has_no_number_that_json_lacks() -> None:
    found = spikes_to_json(fold([spike(z=math.inf, value=math.nan)]))
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text)["newest"][0] == {
        "step": 7, "name": "loss", "value": None, "centre": 1.0, "scale": 0.1, "z": None, "action": "skip"
    }  # fmt: skip


def test_a_spike_is_a_point_of_a_curve() -> None:
    assert spike_scalars(spike()) == {"spikes/loss": 40.0}
