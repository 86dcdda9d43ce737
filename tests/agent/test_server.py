"""The official client drives a real sweep over stdio, and what it does is on the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.tokens import made_up
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.results.asked import given
from tests.agent.driving import Agent, drive, server_in
from tests.agent.killing import Server
from tests.end_to_end.test_sweeps import LEARNER, Sweep, grid


def sweep_of(folder: Path, *rates: int, pace: float = 0.02) -> Sweep:
    parameters = {"lr": {"values": list(rates) or [1, 2, 3]}, "pace": {"value": pace}}
    return Sweep(folder, LEARNER, grid("driven", pace=pace) | {"parameters": parameters})


@pytest.mark.slow
def test_an_agent_starts_a_sweep_looks_stops_a_trial_and_waits_for_the_end(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, pace=0.3)

    async def policy(agent: Agent) -> list[Any]:
        assert (await agent.call("check", file="sweep.yaml"))["valid"]
        assert (await agent.call("plan", file="sweep.yaml"))["trials"] == 3
        begun = await agent.call("run", file="sweep.yaml", because="to learn", workers=3)
        assert begun["running"]
        await agent.call("wait", run="driven", event="step:0:3")
        state = await agent.call("state", run="driven")
        assert state["counts"] == {"RUNNING": 3}
        await agent.call("stop", run="driven", numbers=[0], because="it is the slowest learner")
        stopped = await agent.call("wait", run="driven", event="trial:0")
        assert stopped["happened"]
        why = await agent.call("why", run="driven", number=0)
        assert any("it is the slowest learner" in line for line in why["quoted"])
        await agent.call("curves", run="driven", numbers=[0, 1])
        await agent.call("compare", run="driven", first=0, second=1)
        await agent.call("output", run="driven", number=0)
        ended = await agent.call("wait", run="driven", event="end", timeout=120)
        assert ended["happened"]
        return [
            await agent.call("state", run="driven"),
            await agent.call("trials", run="driven"),
            await agent.call("runs"),
        ]

    state, trials, runs = drive(server_in(tmp_path, "--act"), policy)
    assert (state["state"], state["counts"]) == ("COMPLETE", {"COMPLETE": 2, "PRUNED": 1})
    assert [row["number"] for row in trials["rows"]] == [2, 1, 0]
    assert [run["name"] for run in runs["runs"]] == ["driven"]
    commands = given(read_journal(SweepDir(sweep.run_directory).log))
    assert [(one.do, one.trials, one.because) for one in commands] == [
        ("run", (), "to learn"),
        ("stop", (0,), "it is the slowest learner"),
    ]
    assert all(one.by.startswith("agent:tester for ") for one in commands)


def test_the_server_ends_with_its_client_even_if_a_wait_is_not_over(tmp_path: Path) -> None:
    made_up(tmp_path / "runs" / "large", 3)  # it runs, as its lease says
    server = Server(tmp_path)
    server.call("wait", run="large", event="end", timeout=600)
    assert server.answer(1) is None
    server.process.communicate(timeout=60)
    assert server.process.returncode == 0
