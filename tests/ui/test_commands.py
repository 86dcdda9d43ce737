"""Commands from the page land in the inbox of the run, with who asked and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sweeper.record.storage.layout import SweepDir
from tests.ui.client import HOST, OWN, TOKEN, Client
from tests.views.synthetic import began, diagnose, make_trial


def sent(run: SweepDir) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(run.inbox.iterdir())]


def test_a_command_is_on_the_record_with_its_name_and_reason(client: Client, run: SweepDir) -> None:
    make_trial(run, 6)
    answer = client.send("s", command="stop", numbers=[6], by="ada", because="it wastes the GPU")
    assert answer.status_code == 200
    assert answer.json()["running"] is False
    assert "next `sweeper run`" in answer.json()["text"]
    (one,) = sent(run)
    assert (one["do"], one["number"], one["by"], one["because"]) == ("stop", 6, "ada (page)", "it wastes the GPU")


@pytest.mark.parametrize(
    ("command", "numbers", "do"),
    [("pause", [6], "pause"), ("revive", [2], "revive"), ("exempt", [2], "revive"), ("first", [6], "first")],
)
def test_every_command_of_a_trial_is_passed_on(
    client: Client, run: SweepDir, command: str, numbers: list[int], do: str
) -> None:
    make_trial(run, 6)
    assert client.send("s", command=command, numbers=numbers).status_code == 200
    assert [one["do"] for one in sent(run)] == [do]


def test_a_configuration_is_added(client: Client, run: SweepDir) -> None:
    answer = client.send("s", command="add", params={"lr": "1e-4", "warmup_fraction": "0.2"})
    assert answer.status_code == 200, answer.text
    assert sent(run)[0]["params"]["lr"] == 1e-4


def with_checkpoints(run: SweepDir, number: int, *steps: int) -> None:
    folder = run.trial(number).checkpoints
    folder.mkdir(parents=True)
    for step in steps:
        (folder / f"step-{step:09d}.0123456789abcdef.pt").touch()


def test_a_trial_is_derived_from_the_checkpoint_that_was_chosen(client: Client, run: SweepDir) -> None:
    with_checkpoints(run, 2, 100, 120)
    known = client.ask("/runs/s/data/checkpoints/2").json()
    assert [one["step"] for one in known["checkpoints"]] == [120, 100]
    assert known["newest_healthy"] == 120
    assert known["params"]["lr"] == 3e-4
    answer = client.send(
        "s", command="derive", numbers=[2], at=100, params={"lr": "1e-4"}, fresh_optimizer=True, because="try less"
    )
    assert answer.status_code == 200, answer.text
    (one,) = sent(run)
    assert (one["number"], one["at"], one["changes"], one["fresh_optimizer"]) == (2, 100, {"lr": 1e-4}, True)
    assert one["because"] == "try less"


def test_a_checkpoint_within_a_failure_is_named_and_not_the_newest_healthy_one(client: Client, run: SweepDir) -> None:
    with_checkpoints(run, 2, 100, 120)
    diagnose(run.trial(2), began("vanishing_gradient", 110, 130))
    known = client.ask("/runs/s/data/checkpoints/2").json()
    assert known["newest_healthy"] == 100
    assert [one["failing"] for one in known["checkpoints"]] == [["vanishing_gradient"], []]


def test_a_trial_is_derived_from_its_start_without_a_checkpoint(client: Client, run: SweepDir) -> None:
    assert client.ask("/runs/s/data/checkpoints/3").json()["newest_healthy"] is None
    refused = client.send("s", command="derive", numbers=[3], params={"lr": "1e-4"})
    assert refused.status_code == 400
    assert "expected a checkpoint" in refused.json()["error"]
    assert client.send("s", command="derive", numbers=[3], at=-1, params={"lr": "1e-4"}).status_code == 200
    assert sent(run)[0]["at"] == -1


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"command": "derive", "numbers": [1, 2]}, "one trial"),
        ({"command": "derive", "numbers": [99], "at": -1}, "number of a trial"),
        ({"command": "derive", "numbers": [2], "at": "start"}, "at as a step"),
        ({"command": "derive", "numbers": [2], "at": True}, "at as a step"),
        ({"command": "derive", "numbers": [2], "at": -1, "params": ["lr=1"]}, "params"),
        ({"command": "derive", "numbers": [2], "at": -1, "params": {"rate": "1"}}, "parameter of the trial"),
        ({"command": "derive", "numbers": [2], "at": -1, "params": {"lr": "fast"}}, "number"),
        ({"command": "derive", "numbers": [2], "at": -1, "fresh_optimizer": 1}, "true or false"),
        ({"command": "stop"}, "not running"),
        ({"command": "stop", "numbers": [0]}, "has not ended"),
        ({"command": "stop", "numbers": ["0"]}, "list of numbers"),
        ({"command": "stop", "numbers": [True]}, "list of numbers"),
        ({"command": "stop", "numbers": 3}, "list of numbers"),
        ({"command": "revive", "numbers": [1, 2]}, "one trial"),
        ({"command": "revive", "numbers": [0]}, "COMPLETE"),
        ({"command": "rm"}, "expected one of"),
        ({"command": "__class__", "numbers": [0]}, "expected one of"),
        ({"command": "add"}, "params"),
        ({"command": "add", "params": {"nothing": "1"}}, "nothing"),
        ({"command": "stop", "numbers": [2], "by": 7}, "by"),
        ({"command": "stop", "numbers": [2], "because": "x" * 2000}, "because"),
    ],
)
def test_a_wrong_command_is_refused_with_its_reason(
    client: Client, run: SweepDir, command: dict[str, Any], expected: str
) -> None:
    answer = client.send("s", **command)
    assert answer.status_code in (400, 404)
    assert expected in answer.json()["error"]
    assert not run.inbox.exists() or not sent(run)


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"1", b"[" * 100_000, b'{"command": "' + b"x" * (1 << 21) + b'"}'])
def test_what_is_no_command_is_refused(client: Client, body: bytes) -> None:
    headers = {"host": HOST, "cookie": f"sweeper={TOKEN}", **OWN, "content-type": "application/json"}
    answer = client.ask("/runs/s/commands", "POST", headers, content=body)
    assert answer.status_code == 400
    assert "expected" in answer.json()["error"]


def test_a_page_is_not_a_command(client: Client) -> None:
    assert client.ask("/runs/s/commands").status_code == 405
