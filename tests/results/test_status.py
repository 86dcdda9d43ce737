"""The status of a sweep from its record alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import sweeper
from sweeper.record.decision import Decision
from sweeper.record.ended import EndedWriter, _CachedTrial
from sweeper.record.events import (
    Collected,
    DiskFilling,
    Event,
    Exit,
    Finished,
    Launched,
    Lost,
    Metrics,
    Observation,
    Started,
    StopRequested,
    SweepStarted,
    SweepWaiting,
)
from sweeper.record.reader import open_trials
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir, write_json
from sweeper.record.storage.lease import acquire
from sweeper.results.receipt import end_line, receipt
from sweeper.results.snapshot import SweepView
from sweeper.results.status import read_sweep, to_json
from sweeper.views.terminal.table import status_table


def make_sweep(folder: Path) -> SweepDir:
    run = SweepDir(folder / "runs" / "s")
    (run.path / "trials").mkdir(parents=True)
    write_json(run.spec, {"name": "s", "spec": {}})
    return run


def add(run: SweepDir, number: int) -> TrialDir:
    trial = run.trial(number)
    trial.attempt(1).path.mkdir(parents=True)
    facts = {"number": number, "configuration": number, "seed": 0, "params": {"lr": 1}, "shown": {}, "command": []}
    write_json(trial.facts, {**facts, "metric": "acc", "maximize": True})
    return trial


def launched(trial: TrialDir) -> TrialDir:
    with JournalWriter(trial.control) as control:
        control.append(Launched(time=10.0, attempt=1, slot="cpu 0"))
    with JournalWriter(trial.attempt(1).events) as events:
        events.append(Started(time=11.0, pid=1, host="h"))
        events.append(Metrics(time=12.0, step=4, values={"acc": 0.5}))
    return trial


def ended(trial: TrialDir, *, outcome: str = "completed", code: int = 0) -> TrialDir:
    with JournalWriter(trial.attempt(1).events) as events:
        events.append(Finished(time=13.0, outcome=outcome))
    exit_ = Exit(time=14.0, attempt=1, code=code, signal=None, cause="error" if code else "", peak_memory_mb=1)
    trial.attempt(1).exit.write_bytes(encode(exit_))
    return trial


def test_a_sweep_without_an_orchestrator_is_complete_failed_or_stopped(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    ended(launched(add(run, 0)))
    assert read_sweep(run).state == "COMPLETE"
    ended(launched(add(run, 1)), outcome="failed", code=1)
    assert read_sweep(run).state == "FAIL"
    add(run, 2)
    assert read_sweep(run).state == "STOPPED"


def test_a_sweep_with_an_orchestrator_is_running(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    ended(launched(add(run, 0)))
    lease = acquire(run.lease, holder="me")
    assert lease is not None
    assert read_sweep(run).state == "RUNNING"
    lease.release()
    assert read_sweep(run).state == "COMPLETE"


def test_a_trial_is_running_only_if_its_lease_is_held(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    trial = launched(add(run, 0))
    assert [t.state.value for t in read_sweep(run).trials] == ["WAITING"]
    lease = acquire(trial.attempt(1).lease, holder="me")
    assert lease is not None
    assert [t.state.value for t in read_sweep(run).trials] == ["RUNNING"]
    lease.release()


def test_reading_writes_nothing(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    launched(add(run, 0))
    before = sorted((path, path.stat().st_mtime_ns) for path in run.path.rglob("*"))
    read_sweep(run)
    assert sorted((path, path.stat().st_mtime_ns) for path in run.path.rglob("*")) == before


def test_json_has_the_keys_that_are_promised(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    trial = launched(add(run, 0))
    decision = {"rule": "stalled", "step": 4, "reason": "because", "evidence": {"median": 1e-4}, "version": "v1"}
    with JournalWriter(trial.control) as control:
        control.append(StopRequested(time=12.5, attempt=1, cause="pruned", decision=Decision.read(decision)))
    ended(trial, outcome="stopped")
    expected = {"number": 0, "params": {"lr": 1}, "seed": 0, "state": "PRUNED", "value": 0.5, "step": 4}
    expected |= {
        "total_steps": None,
        "pruned": decision,
        "spared": None,
        "cause": "stopped",
        "attempts": 1,
        "seconds": 4.0,
    }
    expected |= {
        "derived": None,
        "spikes": {"count": 0, "skipped": 0, "newest": []},
        "skipped": 0,
        "damaged": 0,
        "health": [],
        "healthy": True,
    }
    expected |= {"values": {"acc": 0.5}, "constraints": {}, "feasible": True, "rank": None}
    status = {"name": "s", "state": "COMPLETE", "trials": [expected], "unreadable": [], "unmet": [], "front": []}
    assert json.loads(json.dumps(to_json(read_sweep(run)))) == {**status, "waiting": None, "damage": []}


def test_what_trials_wait_for_is_part_of_the_status_while_they_do(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    add(run, 0)
    wait = SweepWaiting(since=100.0, reasons=("the sweep /runs/x uses the slots",), sweeps=("/runs/x",))
    start = SweepStarted(pid=1, host="h", profile="", slots=("cpu 0",))
    told = {"since": 100.0, "reasons": ["the sweep /runs/x uses the slots"], "sweeps": ["/runs/x"]}

    def waiting(*events: Event, text: bool = False) -> object:
        with JournalWriter(run.log) as log:
            log.extend(events)
        view = read_sweep(run)
        return _text(view) if text else to_json(view)["waiting"]

    lease = acquire(run.lease, holder="")
    assert lease is not None
    assert waiting(start) is None
    assert waiting(wait) == told
    assert "the sweep /runs/x uses the slots" in str(waiting(text=True))
    assert waiting(start) is None  # another orchestrator has started
    assert waiting(wait, SweepWaiting(since=100.0, reasons=())) is None
    assert waiting(wait) == told
    lease.release()
    assert waiting() is None  # no orchestrator runs, so no trial waits for a slot


def _text(view: SweepView) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(status_table(view, width=200))
    return captured.get()


def test_damaged_lines_are_counted_and_reported(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    launched(add(run, 0))
    trial = launched(add(run, 1))
    for path in (trial.control, trial.attempt(1).events):
        with path.open("ab") as file:
            file.write(b'{"event": "Metr\n')
    sweep = read_sweep(run)
    assert [t.damaged for t in sweep.trials] == [0, 2]
    where = [f"{trial.control}:2: ", f"{trial.attempt(1).events}:3: "]
    assert [said[:50].split(": ")[0] for said in sweep.messages[-2:]] == [
        "0001 is damaged at control.jsonl:2",
        "0001 is damaged at attempts/1/events.jsonl:3",
    ]
    assert all(said.startswith(place) for said, place in zip(sweep.damage, where, strict=True))
    assert to_json(sweep)["damage"] == list(sweep.damage)
    assert all(f"damaged: {place}" in receipt(sweep.trials[1]) for place in where)
    assert "damaged" not in receipt(sweep.trials[0])


def test_the_receipt_of_a_script_without_a_trial_shows_the_metrics_that_were_read(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    for number, values in enumerate(({"acc": 0.7}, {})):
        trial = add(run, number)
        with JournalWriter(trial.control) as control:
            control.append(Launched(time=10.0, attempt=1, slot="cpu 0"))
            if values:
                control.append(Collected(attempt=1, step=3, values=values, file="out.csv", offset=9))
        exit_ = Exit(time=14.0, attempt=1, code=0, signal=None, cause="", peak_memory_mb=1)
        trial.attempt(1).exit.write_bytes(encode(exit_))
    collected, silent = read_sweep(run).trials
    assert "complete: best acc 0.7 at step 3, last 0.7" in receipt(collected)
    assert "only its output was recorded" in receipt(silent)


def test_status_decodes_only_the_ended_trials_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_sweep(tmp_path)
    for number in range(4):
        ended(launched(add(run, number)))
    readers, _ = open_trials(run, {})
    for reader in readers:
        reader.poll()
    EndedWriter(run, anew=True).append(readers)
    decoded: list[TrialDir] = []
    decode = _CachedTrial.__getattr__

    def counted(trial: _CachedTrial, name: str) -> object:
        decoded.append(trial.directory)
        return decode(trial, name)

    monkeypatch.setattr(_CachedTrial, "__getattr__", counted)
    assert len(read_sweep(run).trials) == 4
    assert decoded == [run.trial(0)]  # the first one has the metric, so no other is asked for it


def test_skipped_steps_are_summed_over_valid_steps(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    trial = add(run, 0)
    with JournalWriter(trial.control) as control:
        control.append(Launched(time=10.0, attempt=1, slot="cpu 0"))
    with JournalWriter(trial.attempt(1).events) as events:
        events.append(Started(time=11.0, pid=1, host="h"))
        for step in (0, 10):
            observation = Observation(step=step, row=0, reach=1.0, update_ratio=1.0, learning_rate=1.0, skipped=1)
            events.append(observation)
    (view,) = read_sweep(run).trials
    assert (
        "2 steps were skipped by the gradient scaler, because a gradient was not finite" in receipt(view).splitlines()
    )
    assert json.loads(json.dumps(to_json(read_sweep(run))))["trials"][0]["skipped"] == 2


def test_a_lost_attempt_counts_until_it_was_found_lost(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    trial = launched(add(run, 0))
    with JournalWriter(trial.control) as control:
        control.append(Lost(time=17.0, attempt=1))
    (view,) = read_sweep(run).trials
    assert view.seconds(now=99.0) == pytest.approx(7.0)


def test_a_record_can_be_read_where_there_is_no_flock(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    ended(launched(add(run, 0)))
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from sweeper.cli import main\n"
        f"sys.exit(main(['status', {str(run.path)!r}, '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(sweeper.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "COMPLETE"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("start\nModuleNotFoundError: No module named 'torch'\n\n", "ModuleNotFoundError: No module named 'torch'"),
        ("10%\r20%\rusage: train.py [-h]\r\n", "usage: train.py [-h]"),
        ("x" * 500, "x" * 160 + "…"),
        ("login with token=abcdef123456789\n", "login with token=[redacted]"),
    ],
)
def test_a_failed_trial_is_listed_with_the_last_line_of_its_output(tmp_path: Path, output: str, said: str) -> None:
    run = make_sweep(tmp_path)
    trial = ended(launched(add(run, 0)), outcome="failed", code=1)
    assert read_sweep(run).messages == ("0000 failed: error (exit code 1)",)
    other = ended(launched(add(run, 1)), outcome="failed", code=1)
    other.attempt(1).output.write_text(output)
    sweep = read_sweep(run)
    assert sweep.messages[1] == f"0001 failed: error (exit code 1); its last output: {said}"
    assert end_line(sweep.trials[1]).endswith(f"; its last output: {said}")
    assert trial.number == 0


def test_an_error_that_the_script_reported_is_not_repeated(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    trial = launched(add(run, 0))
    with JournalWriter(trial.attempt(1).events) as events:
        events.append(Finished(time=13.0, outcome="failed", error="Traceback\nValueError: no luck"))
    ended_by = Exit(time=14.0, attempt=1, code=1, signal=None, cause="error", peak_memory_mb=1)
    trial.attempt(1).exit.write_bytes(encode(ended_by))
    trial.attempt(1).output.write_text("Traceback\nValueError: no luck\n")
    assert read_sweep(run).messages == ("0000 failed: ValueError: no luck (exit code 1)",)


def test_a_disk_that_fills_is_shown_while_the_sweep_runs(tmp_path: Path) -> None:
    run = make_sweep(tmp_path)
    with JournalWriter(run.log) as log:
        log.append(SweepStarted(pid=1, host="h", profile="", slots=()))
        log.append(DiskFilling(free_gb=12.34, seconds_left=7200.0))
    assert not read_sweep(run).messages
    lease = acquire(run.lease, holder="pid 1\n")
    assert lease is not None
    (line,) = read_sweep(run).messages
    assert line.startswith(f"The disk of {run.path} has 12.3 GB left and will be full in about 2h00m")
    with JournalWriter(run.log) as log:
        log.append(SweepStarted(pid=1, host="h", profile="", slots=()))  # of another call
    assert not read_sweep(run).messages
    lease.release()
