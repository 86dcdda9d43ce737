"""What an agent may not do, and what the error tells it to do instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.tokens import look_at, made_up
from sweeper.agent.act import ACTS
from sweeper.agent.look import LOOKS
from sweeper.agent.server import AgentServer
from tests.agent.driving import Agent, Refused, drive

ARGUMENTS: dict[str, dict[str, Any]] = {
    "run": {"file": "sweep.yaml"},
    "revive": {"run": "large", "number": 2},
    "exempt": {"run": "large", "number": 2},
    "add": {"run": "large", "params": {"lr": 1}},
    "derive": {"run": "large", "number": 1, "changes": {"lr": 1}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made_up(tmp_path / "large", 20)
    return tmp_path


def tried(folder: Path, tool: str, *, can_act: bool = False, **arguments: Any) -> str:
    """Return the error of a call."""

    async def policy(agent: Agent) -> str:
        try:
            answer = await agent.call(tool, **arguments)
        except Refused as refused:
            return str(refused)
        raise AssertionError(answer)

    return str(drive(AgentServer(look_at(folder, can_act=can_act)), policy))


@pytest.mark.parametrize("tool", ACTS)
def test_without_act_nothing_acts_and_the_error_says_who_can_allow_it(tool: str, folder: Path) -> None:
    error = tried(folder, tool, because="to try", **ARGUMENTS.get(tool, {"run": "large"}))
    assert "read-only: a person allows commands by starting `sweeper mcp` with --act" in error
    assert not (folder / "large" / "inbox").exists()


def test_without_act_only_tools_that_look_are_listed(folder: Path) -> None:
    async def policy(agent: Agent) -> list[str]:
        return list(agent.schemas)

    assert drive(AgentServer(look_at(folder, can_act=False)), policy) == [*LOOKS]
    assert drive(AgentServer(look_at(folder, can_act=True)), policy) == [*LOOKS, *ACTS]


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("state", {"run": "other"}, "expected the name of a run (large), got 'other'"),
        ("state", {"run": "../large"}, "expected the name of a run (large)"),
        ("why", {"run": "large", "number": 99}, "expected the number of a trial (0 to 19), got 99"),
        ("trials", {"run": "large", "sort": "beauty"}, "sort: expected one of place, number"),
        ("wait", {"run": "large", "event": "dawn"}, "expected end, flag, trial:NUMBER or step:NUMBER:STEP"),
        ("check", {"file": "../sweep.yaml"}, "expected a sweep file below"),
        ("check", {"file": "/etc/passwd"}, "expected a sweep file below"),
        ("plan", {"file": "sweep.yaml", "overrides": ["--runs=/elsewhere"]}, "expected KEY=VALUE"),
        ("stop", {"run": "large", "numbers": [0]}, "because"),
        ("stop", {"run": "large", "numbers": [0], "because": " "}, "expected a reason for the record"),
        ("stop", {"run": "large", "numbers": [3], "because": "x"}, "which is COMPLETE"),
        ("add", {"run": "large", "params": {"--by": 1}, "because": "x"}, "expected names of parameters"),
    ],
)
def test_errors_say_what_was_expected(tool: str, arguments: dict[str, Any], expected: str, folder: Path) -> None:
    assert expected in tried(folder, tool, can_act=True, **arguments)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("state", {"run": "a\0b"}),
        ("state", {"run": "x" * 10_000}),
        ("check", {"file": "a\0b"}),
        ("check", {"file": "sweep.yaml", "overrides": ["a=\0"]}),
        ("why", {"run": "large", "number": 10**30}),
        ("why", {"run": "large", "number": -1}),
        ("curves", {"run": "large", "numbers": [10**30]}),
        ("trials", {"run": "large", "limit": 10**9}),
        ("wait", {"run": "large", "event": "x" * 10_000}),
        ("wait", {"run": "large", "timeout": 1e9}),
        ("stop", {"run": "large", "numbers": [10**30], "because": "x"}),
        ("add", {"run": "large", "params": {"a\0b": "\0"}, "because": "x"}),
    ],
)
def test_odd_arguments_are_answered_with_a_short_error(tool: str, arguments: dict[str, Any], folder: Path) -> None:
    error = tried(folder, tool, can_act=True, **arguments)
    assert len(error) < 2_000
    assert error != f"Error executing tool {tool}"  # which is how the SDK hides a crash


def test_a_link_does_not_lead_out_of_the_directory(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "sweep.yaml"
    outside.write_text("secret: 1\n")
    (folder / "link.yaml").symlink_to(outside)
    error = tried(folder, "check", file="link.yaml")
    assert "expected a sweep file below" in error
    assert "secret" not in error
