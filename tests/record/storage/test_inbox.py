"""Commands come back from their files as they were sent, and anything else is reported as not a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.record.events import FORMAT
from sweeper.record.storage.inbox import (
    NEWEST,
    AddConfiguration,
    Command,
    DeriveTrial,
    ForSweep,
    ForTrial,
    LaunchFirst,
    SweepCommand,
    TrialCommand,
    received,
    send,
)
from sweeper.record.storage.layout import SweepDir, read_json


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (ForSweep(do=SweepCommand.PAUSE, to="pid 1 on host"), {"do": "pause", "to": "pid 1 on host"}),
        (ForTrial(do=TrialCommand.REVIVE, number=3), {"do": "revive", "number": 3}),
        (
            ForTrial(do=TrialCommand.STOP, number=0, by="me on host", because="too slow"),
            {"do": "stop", "number": 0, "by": "me on host", "because": "too slow"},
        ),
        (LaunchFirst(numbers=(3, 1)), {"do": "first", "numbers": [3, 1]}),
        (AddConfiguration(params={"lr": 0.1}), {"do": "add", "params": {"lr": 0.1}}),
        (
            DeriveTrial(number=3, changes={"lr": 0.1}, at=NEWEST, lr_factor=0.5, fresh_optimizer=True, request="r"),
            {
                "do": "derive",
                "number": 3,
                "changes": {"lr": 0.1},
                "at": NEWEST,
                "lr_factor": 0.5,
                "fresh_optimizer": True,
                "request": "r",
            },
        ),
    ],
)
def test_a_command_comes_back_as_it_was_sent(tmp_path: Path, command: Command, body: dict[str, object]) -> None:
    run = SweepDir(tmp_path)
    send(run, command)
    ((path, read),) = received(run)
    assert read == command
    assert read_json(path) == {**body, "format": FORMAT}


@pytest.mark.parametrize(
    "text",
    [
        *('{"do": "derive"}', '{"do": "derive", "number": 1, "changes": [], "at": 1}'),
        *('{"do": "derive", "number": 1, "changes": {}, "at": "start"}', '{"do": "derive", "number": 1, "at": 1}'),
        '{"do": "derive", "number": 1, "changes": {}, "at": -2}',
        '{"do": "derive", "number": 1, "changes": {}, "at": 1, "lr_factor": 0}',
        '{"do": "derive", "number": 1, "changes": {}, "at": 1, "lr_factor": "x"}',
        '{"do": "derive", "number": 1, "changes": {}, "at": 1, "fresh_optimizer": 1}',
        *(["", "[]", "{}", '{"do": "dance"}', '{"do": "stop"}', '{"do": "first", "numbers": ["x"]}', '{"do": []}']),
    ],
)
def test_any_other_file_is_not_a_command(tmp_path: Path, text: str) -> None:
    run = SweepDir(tmp_path)
    run.inbox.mkdir()
    (run.inbox / "1.json").write_text(text)
    assert list(received(run)) == [(run.inbox / "1.json", None)]
