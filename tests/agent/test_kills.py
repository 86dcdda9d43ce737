"""The server can be killed at any moment: no trial is lost, and no command that it promised."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import is_held
from sweeper.results.asked import given
from tests.agent.killing import killed_again_and_again
from tests.end_to_end.test_sweeps import LEARNER, Sweep, grid, until

KILLS = int(os.environ.get("SWEEPER_TEST_KILLS", "8"))
"""How often the server is killed; a hundred times takes more than five minutes."""


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_nothing_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    parameters = {"lr": {"values": [1, 2, 3, 4]}, "pace": {"value": 0.05}, "steps": {"value": 20}}
    sweep = Sweep(tmp_path, LEARNER, grid("killed") | {"parameters": parameters})
    run = SweepDir(sweep.run_directory)
    sent, promised = killed_again_and_again(tmp_path, KILLS, KILLS, lambda: is_held(run.lease) and run.spec.exists())
    until(lambda: not is_held(run.lease))
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    trials = sweep.status()["trials"]
    rates = [trial["params"]["lr"] for trial in trials]
    assert len(rates) == len(set(rates))
    assert {1, 2, 3, 4, *promised} <= set(rates) <= {1, 2, 3, 4, *sent}
    assert {trial["state"] for trial in trials} == {"COMPLETE"}
    recorded = [one for one in given(read_journal(run.log)) if one.do == "add"]
    assert {one.params["lr"] for one in recorded} >= set(promised)
    assert all(one.by.startswith("agent:killer for ") and one.because.startswith("before kill") for one in recorded)
    assert not list(run.inbox.glob("*.json"))
    assert sweep.call("verify", str(run.path))[0] == 0
