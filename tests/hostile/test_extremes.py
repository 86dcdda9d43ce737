"""Real sweeps with scripts that report the largest numbers and steps: every command works on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hostile.test_canaries import Place

SCRIPT = """
import sweeper
steps = {"steps": (0, 1, 2**62, 2**63 - 1)}
with sweeper.trial() as trial:
    which = trial.params["which"]
    for step in steps.get(which, range(40)):
        loss = {"huge": (-1) ** step * 1.5e308, "tiny": 5e-324 * step, "mixed": -1.7e308 if step % 5 else float("inf")}
        trial.report({"loss": loss.get(which, 1.0), "loss/train": 1.7e308}, step=step)
"""
COMMANDS = (
    *("status runs/canary", "status runs/canary --json", "why runs/canary 0", "why runs/canary 2"),
    *("report runs/canary", "export runs/canary --csv o.csv --optuna o.db", "compare runs/canary runs/canary"),
    *("backtest runs/canary", "reproduce runs/canary 0", "plan sweep.yaml --against runs/canary"),
)


@pytest.mark.timeout(900)
def test_the_largest_numbers_and_steps_end_no_command(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    place.declare(
        metric={"name": "loss"},
        parameters={"which": {"values": ["steps", "huge", "tiny", "mixed"]}, "big": {"values": [1e300, -1e300]}},
        seeds=[0, 1],
    )
    assert "Traceback" not in place.piped("run", "sweep.yaml")
    assert json.loads(place.piped("status", "runs/canary", "--json"))["state"] == "COMPLETE"
    for command in COMMANDS:
        assert "Traceback" not in place.piped(*command.split()), command
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    assert "16 trials" in place.piped("export", "runs/canary", "--parquet", "o.parquet")
    assert "9223372036854775808" in parquet.read_table(tmp_path / "o.parquet")["steps"].to_pylist()
