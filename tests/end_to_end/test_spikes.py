"""Spikes in a sweep: of a script that knows nothing of sweeper, and of one that is to be rewound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.test_plain_scripts import call

TRAIN = """
import torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(130):
    given = torch.randn(16, 4)
    loss = nn.functional.mse_loss(model(given * (1000 if step == 100 else 1)), given.sum(1, keepdim=True))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
SWEEP = """
name: s
command: ["${interpreter}", train.py]
method: grid
metric: {name: loss/backward}
watch: auto
on_spike: ACTION
resources: {cpus: 1}
"""


@pytest.mark.parametrize(("action", "state"), [("skip", "COMPLETE"), ("rewind", "PRUNED")])
def test_a_corrupted_batch_is_treated_as_the_sweep_file_says(tmp_path: Path, action: str, state: str) -> None:
    slow = "    if step > 100: time.sleep(0.5)\n" if action == "rewind" else ""  # the stop arrives before the end
    (tmp_path / "train.py").write_text(f"import time\n{TRAIN}{slow}")
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("ACTION", action))
    code, out = call(tmp_path, "run", "sweep.yaml", "--workers", "1")
    assert code == 0, out
    (trial,) = json.loads(call(tmp_path, "status", "runs/s", "--json")[1])["trials"]
    assert trial["state"] == state
    assert trial["spikes"]["newest"][0]["step"] == 100
    assert trial["spikes"]["newest"][0]["action"] == action
    why = call(tmp_path, "why", "runs/s", "0")[1]
    if action == "skip":
        assert trial["spikes"]["skipped"] == trial["spikes"]["count"] == 1
        assert "1 spike of the loss or the gradient; 1 step was skipped because of one" in why
    else:
        assert trial["pruned"]["rule"] == "spike"
        assert trial["pruned"]["evidence"]["z"] > 6
    assert "sigma above its median" in why
