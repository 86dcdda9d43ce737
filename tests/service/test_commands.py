"""Commands carry who gave them and why, into the inbox and from there into the record."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.errors import UsageError
from sweeper.record.checkpoints import SavedCheckpoint
from sweeper.record.events import Launched, Plan
from sweeper.record.storage.inbox import AddConfiguration, ForSweep, ForTrial, LaunchFirst, received
from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.record.storage.lease import acquire
from sweeper.service import commands
from tests.record.trials import trial_of
from tests.service.runs import small

WHO = {"by": "agent 7", "because": "it is slow"}


def waiting(run: SweepDir) -> list[object]:
    return [command for _, command in received(run)]


def test_a_command_names_its_author_and_its_reason(tmp_path: Path) -> None:
    run = small(tmp_path)
    sent = commands.stop(run, [3], **WHO)
    assert (sent.command, sent.numbers, sent.by, sent.because, sent.running) == ("stop", [3], *WHO.values(), False)
    assert "no process runs it; the next `sweeper run`" in sent.text
    commands.first(run, [3], **WHO)
    stop, first = waiting(run)
    assert isinstance(stop, ForTrial)
    assert isinstance(first, LaunchFirst)
    assert (stop.by, stop.because) == (first.by, first.because) == tuple(WHO.values())


def test_a_command_without_an_author_is_that_of_the_user(tmp_path: Path) -> None:
    sent = commands.pause(small(tmp_path), [3])
    assert " on " in sent.by  # the user and the host


def test_a_command_to_the_whole_sweep_needs_a_process_that_runs_it(tmp_path: Path) -> None:
    run = small(tmp_path)
    with pytest.raises(UsageError, match="this sweep is not running"):
        commands.pause(run)
    lease = acquire(run.lease, holder="pid 7 on here")
    assert lease is not None
    sent = commands.pause(run, (), **WHO)
    assert (sent.running, sent.text) == (True, "sent to pid 7 on here")
    assert waiting(run) == [ForSweep(do="pause", to="pid 7 on here", **WHO)]  # type: ignore[arg-type]
    lease.release()


@pytest.mark.parametrize("call", [commands.stop, commands.pause])
def test_a_trial_that_has_ended_takes_no_command(tmp_path: Path, call: object) -> None:
    with pytest.raises(UsageError, match="has not ended, got 0, which is COMPLETE"):
        call(small(tmp_path), [0])  # type: ignore[operator]


def test_what_cannot_be_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    run = small(tmp_path)
    with pytest.raises(UsageError, match="got 0, which is COMPLETE"):
        commands.revive(run, 0)
    with pytest.raises(UsageError, match="paused trial, got 3, which is WAITING"):
        commands.resume(run, [3])
    with pytest.raises(UsageError, match=r"a trial \(0 to 3\), got 8"):
        commands.stop(run, [3, 8])
    assert not run.inbox.exists()
    assert commands.exempt(run, 1).command == "exempt"


def test_a_configuration_by_words_or_by_values(tmp_path: Path) -> None:
    run = small(tmp_path)
    spec = {"name": "s", "method": "grid", "metric": {"name": "acc", "goal": "maximize"}, "command": ["true"]}
    spec["parameters"] = {"lr": {"values": [1, 2]}, "opt": {"values": ["adam", "sgd"]}}
    write_json(run.spec, {"name": "s", "spec": spec})
    commands.add(run, ["lr=3", "opt=sgd"], **WHO)
    commands.add(run, {"lr": 3, "opt": "sgd"}, **WHO)
    expected = AddConfiguration(params={"lr": 3, "opt": "sgd"}, **WHO)
    assert waiting(run) == [expected, expected]
    with pytest.raises(UsageError, match="a value for each parameter"):
        commands.add(run, ["lr=3"])


def test_a_checkpoint_after_the_last_step_leaves_no_step_to_continue_with() -> None:
    saved = [SavedCheckpoint(step=step, file=f"{step}.pt") for step in (199, 99, 149)]
    trial = trial_of([Launched(attempt=1, slot="a")], [Plan(total_steps=200)])
    (warning,) = commands.without_steps_left(trial, 199, saved)
    assert "Trial 0000 had taken all of its 200 steps at this checkpoint, so none is left" in warning
    assert warning.endswith("Choose an earlier checkpoint with --at (after step 99, 149)")
    assert commands.without_steps_left(trial, 199, saved[:1])[0].endswith("(none; --at start begins without one)")
    assert commands.without_steps_left(trial, 149, saved) == []
    assert commands.without_steps_left(trial_of(), 199, saved) == []
