"""Directories that are read-only, shared with other hosts, or taken away: said in words, and the rest goes on."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.config import load
from sweeper.errors import RunBusy, UsageError
from sweeper.orchestrator import opening
from sweeper.orchestrator.opening import open_run
from sweeper.record.events import SweepEnded, SweepStarted
from sweeper.record.reader import read_trials
from sweeper.record.storage.filesystem import mountinfo, type_of
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import is_held
from sweeper.record.trial import TrialRecord
from sweeper.trainers import TRAINERS
from tests.end_to_end.test_sweeps import LEARNER, grid, steps_seen, until
from tests.faults.small import PATIENCE_S, VALUES, Patient, mount

pytestmark = pytest.mark.timeout(900)


# ---- read-only ----------------------------------------------------------------------------------------------------


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Patient]:
    """A run that went through, on a disk that is read-only since (permissions would not stop root)."""
    sweep = Patient(tmp_path, LEARNER, grid("frozen"))
    mount("--bind", str(_made(tmp_path / "runs")), str(tmp_path / "runs"))
    try:
        assert sweep.call("run", "sweep.yaml")[0] == 0
        mount("-o", "remount,ro,bind", str(tmp_path / "runs"))
        yield sweep
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "runs")], check=True)


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def test_a_run_on_a_read_only_disk_is_refused_in_words_and_can_still_be_read(frozen: Patient) -> None:
    code, _, err = frozen.call("run", "sweep.yaml")
    assert code == 2
    assert "this directory is not writable (Read-only file system). Choose another one with --runs" in err
    for arguments in (["revive", "runs/frozen", "0"], ["add", "runs/frozen", "lr=3"]):
        code, _, err = frozen.call(*arguments)
        assert code == 2
        assert "frozen" in err
    (frozen.folder / "sweep.yaml").write_text(json.dumps(grid("other") | {"command": ["true"]}))
    code, _, err = frozen.call("run", "sweep.yaml")
    assert (code, "Read-only file system" in err) == (2, True)
    answers = frozen.calls_of_all_kinds()
    assert [answers[name][0] for name in ("status", "json", "why", "backtest")] == [0, 0, 0, 0]
    assert "what was drawn before is shown" in answers["tensorboard"][2]
    assert frozen.values() == VALUES


# ---- shared with other hosts: no such mount can be had here, so its line in mountinfo is written by hand -------------


LINE = "{id} 1 0:{id} / {point} rw,relatime shared:1 - {kind} {source} rw,vers=4.2"


def _mounts(*mounts: tuple[str, str]) -> str:
    return "\n".join(
        LINE.format(id=id_, point=point, kind=kind, source="server:/export") for id_, (point, kind) in enumerate(mounts)
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/me", "nfs4"),
        ("/home/me/runs/warmup", "nfs4"),
        ("/home/menu", "ext4"),
        ("/home/me/scratch/a", "tmpfs"),
        ("/data/with a space/runs", "lustre"),
        ("/over", "fuse.sshfs"),
    ],
)
def test_the_deepest_and_latest_mount_says_what_a_path_lies_on(path: str, kind: str) -> None:
    mounts = _mounts(
        ("/", "ext4"),
        ("/home/me", "nfs4"),
        ("/home/me/scratch", "tmpfs"),
        ("/data/with\\040a\\040space", "lustre"),
        ("/over", "xfs"),
        ("/over", "fuse.sshfs"),
    )
    assert type_of(Path(path), mounts) == kind


@pytest.mark.parametrize("mounts", ["", "nonsense", "1 2 3 4 / - ", "1 2 3 4 - ext4", " - "])
def test_mounts_that_are_not_understood_say_nothing(mounts: str) -> None:
    assert type_of(Path("/home"), mounts) == ""


def test_this_machine_has_mounts() -> None:
    assert type_of(Path("/proc/self"), mountinfo()) == "proc"


@pytest.fixture
def shared(tmp_path: Path) -> dict[str, Any]:
    """What opens a run on a directory that is said to lie on NFS."""
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(grid("shared") | {"command": ["true"]}))
    spec = load(file, has_cuda=False, trainers={name: trainer.defaults for name, trainer in TRAINERS.items()})
    mounts = _mounts(("/", "ext4"), (str(tmp_path), "nfs4"))
    return {"spec": spec, "text": b"", "runs": tmp_path / "runs", "provenance": dict, "mounts": mounts}


def test_a_shared_file_system_is_named_and_the_run_taken(shared: dict[str, Any]) -> None:
    said: list[str] = []
    run = open_run(**shared, say=said.append)
    assert is_held(run.directory.lease)
    run.lease.release()
    (line,) = said
    assert "is on nfs4, where locks may not work between hosts. Run this sweep from this host only" in line
    said.clear()
    open_run(**{**shared, "mounts": _mounts(("/", "ext4"))}, say=said.append).lease.release()
    assert said == []


@pytest.mark.parametrize(
    ("host", "ended", "refused"), [("other", False, True), ("other", True, False), ("", False, False)]
)
def test_a_run_on_a_shared_file_system_that_another_host_may_be_at_is_refused(
    shared: dict[str, Any], host: str, ended: bool, refused: bool
) -> None:
    directory = SweepDir(shared["runs"] / "shared")
    directory.path.mkdir(parents=True)
    with JournalWriter(directory.log) as log:
        log.append(SweepStarted(pid=17, host=host or socket.gethostname(), profile="", slots=()))
        if ended:
            log.append(SweepEnded(outcome="complete", seconds=1.0))
    if not refused:
        open_run(**shared, say=lambda _: None).lease.release()
        return
    with pytest.raises(RunBusy, match="may still be run by pid 17 on other: it is on nfs4"):
        open_run(**shared, say=lambda _: None)
    assert not is_held(directory.lease)
    open_run(**{**shared, "mounts": _mounts(("/", "ext4"))}, say=lambda _: None).lease.release()  # a lock would be seen


def test_where_locks_do_not_hold_no_run_is_taken(shared: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a file system cannot be had here: what asks whether the lock that was just taken is held says no."""
    monkeypatch.setattr(opening, "is_held", lambda _: False)
    with pytest.raises(UsageError, match="do not work in this directory"):
        open_run(**shared, say=lambda _: None)


# ---- taken away ---------------------------------------------------------------------------------------------------


def _delete(sweep: Patient, number: int = 0) -> None:
    shutil.rmtree(sweep.run_dir.trial(number).path)


def _garbage(sweep: Patient, number: int = 0) -> None:
    sweep.run_dir.trial(number).facts.write_bytes(b"\x00\xff garbage")


def _no_facts(sweep: Patient, number: int = 0) -> None:
    sweep.run_dir.trial(number).facts.unlink()


def _file_for_directory(sweep: Patient, number: int = 0) -> None:
    _delete(sweep, number)
    sweep.run_dir.trial(number).path.write_text("not a directory")


def _copied_over(sweep: Patient, number: int = 0) -> None:
    shutil.rmtree(sweep.run_dir.trial(number).path)
    shutil.copytree(sweep.run_dir.trial(1 - number).path, sweep.run_dir.trial(number).path)


DAMAGES = [_delete, _no_facts, _copied_over]
"""The matrix has more of them."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_trial_that_was_damaged_while_nothing_ran_is_named_and_run_anew(tmp_path: Path, damage: Any) -> None:
    sweep = Patient(tmp_path, LEARNER, grid("stopped"))
    assert sweep.call("run", "sweep.yaml")[0] == 0
    damage(sweep)
    damaged = sweep.run_dir.trial(0).path
    status = sweep.status()
    assert [trial["number"] for trial in status["trials"]] == [1]
    assert [str(damaged.relative_to(tmp_path)) in why for why in status["unreadable"]] == [True] * (
        damage is not _delete
    )
    answers = sweep.calls_of_all_kinds()
    assert (answers["why"][0], answers["why of the other"][0]) == (2, 0)
    left = _bytes_of(damaged)
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    trials = {trial["params"]["lr"]: trial for trial in sweep.status()["trials"]}
    assert [trials[lr]["value"] for lr in (1, 2)] == VALUES
    assert (trials[1]["number"], trials[2]["number"]) == (2, 1)
    if damage is not _delete:
        assert "The record of trial 0000 is damaged and is left as it is; its configuration runs anew" in out
        assert _bytes_of(damaged) == left
    assert sweep.call("run", "sweep.yaml")[0] == 0
    assert sweep.values() == list(reversed(VALUES))


@pytest.mark.parametrize("damage", [_no_facts, _file_for_directory])
def test_the_number_of_the_last_trial_is_not_given_away_either(tmp_path: Path, damage: Any) -> None:
    sweep = Patient(tmp_path, LEARNER, grid("last"))
    assert sweep.call("run", "sweep.yaml")[0] == 0
    damage(sweep, 1)
    left = _bytes_of(sweep.run_dir.trial(1).path)
    assert sweep.call("run", "sweep.yaml")[0] == 0
    assert [(trial["number"], trial["value"]) for trial in sweep.status()["trials"]] == [(0, VALUES[0]), (2, VALUES[1])]
    assert _bytes_of(sweep.run_dir.trial(1).path) == left


def _bytes_of(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(found for found in path.rglob("*") if found.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("damage", [_delete, _garbage])
def test_a_trial_that_is_damaged_while_it_runs_costs_the_others_nothing(tmp_path: Path, damage: Any) -> None:
    sweep = Patient(tmp_path, LEARNER, grid("running", pace=0.2))
    process = sweep.start("run", "sweep.yaml", "--workers", "2")
    until(lambda: all(_step(sweep, number) >= 3 for number in (0, 1)))
    damage(sweep)
    sweep.calls_of_all_kinds()
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in out + err
    second = next(trial for trial, _ in read_trials(sweep.run_dir)[0] if trial.facts.number == 1)
    assert (second.value, second.newest.number) == (VALUES[1], 1)
    if damage is _garbage:  # its facts are read once, when it is opened
        assert process.returncode == 0
    else:
        assert process.returncode == 1, out + err
        assert "Trial 0000 is abandoned, and the next `sweeper run` starts it anew" in out
    until(lambda: not _processes_in(sweep.folder))
    assert sweep.call("run", "sweep.yaml", "parameters.pace.value=0.2")[0] == 0
    assert sorted(sweep.values()) == VALUES


def test_a_trial_that_waits_and_cannot_be_written_to_costs_the_others_nothing(tmp_path: Path) -> None:
    sweep = Patient(tmp_path, LEARNER, grid("waiting", pace=0.2))
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: _step(sweep, 0) >= 3)
    sweep.run_dir.trial(1).control.mkdir()
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, "Traceback" in out + err) == (1, False), out + err
    assert "Trial 0001 is abandoned, and the next `sweeper run` starts it anew" in out
    assert next(trial for trial in sweep.status()["trials"] if trial["number"] == 0)["value"] == VALUES[0]
    sweep.run_dir.trial(1).control.rmdir()
    assert sweep.call("run", "sweep.yaml")[0] == 0
    assert sweep.values() == VALUES


def _step(sweep: Patient, number: int) -> int:
    found: list[TrialRecord] = [trial for trial, _ in read_trials(sweep.run_dir)[0] if trial.facts.number == number]
    return found[0].progress.step if found else -1


def _processes_in(folder: Path) -> list[int]:
    """The processes that work in a folder."""
    found = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if cwd.resolve(strict=True) == folder.resolve():
                found.append(int(cwd.parent.name))
        except OSError:
            continue
    return found


def test_a_run_with_replaced_files_gets_an_error_message(tmp_path: Path) -> None:
    sweep = Patient(tmp_path, LEARNER, grid("ruined"))
    assert sweep.call("run", "sweep.yaml")[0] == 0
    for path in sorted(sweep.run_directory.rglob("*")):
        if path.is_file() and path.suffix in (".json", ".jsonl"):
            path.write_bytes(b"\x00\xff[{\n")
    answers = sweep.calls_of_all_kinds()
    assert {code for code, _, _ in answers.values()} <= {1, 2}
    code, _, err = sweep.call("run", "sweep.yaml")
    assert code == 2
    assert "spec.json: expected JSON" in err


def test_the_sweeps_own_directory_may_be_taken_away_while_it_runs(tmp_path: Path) -> None:
    sweep = Patient(tmp_path, LEARNER, grid("gone", pace=0.2))
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: steps_seen(sweep, 3))
    sweep.run_directory.rename(tmp_path / "elsewhere")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (1, 2)
    assert "Traceback" not in out + err
    until(lambda: not _processes_in(sweep.folder))
