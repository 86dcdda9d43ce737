"""A full disk costs what did not fit on it, and nothing else."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sweeper.errors import Unwritable
from sweeper.record.events import Checkpointed, Finished, Metrics, Noted, Started
from sweeper.record.storage.journal import JournalReader, JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir, write_atomically
from sweeper.worker import checkpoint
from sweeper.worker.watch.statistics_file import StatisticsFile
from tests.end_to_end.test_sweeps import LEARNER, ROOT, grid, steps_seen, until
from tests.faults.small import VALUES, Patient, fill, tmpfs

pytestmark = pytest.mark.timeout(900)
NO_ROOM = "No space left on device"


def test_an_append_that_does_not_fit_is_taken_back_and_the_next_one_that_fits_follows_cleanly(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "64k") as disk, JournalWriter(disk / "events.jsonl") as journal:
        journal.append(Noted(text="before"))
        filler = fill(disk)
        with pytest.raises(Unwritable, match=f"events.jsonl: cannot be written: {NO_ROOM}; make room"):
            _until_it_raises(lambda: journal.append(Noted(text="x" * 3000)))
        assert (disk / "events.jsonl").read_bytes().endswith(b"\n")
        filler.unlink()
        journal.append(Noted(text="after"), sync=True)
        reader = JournalReader(disk / "events.jsonl")
        texts = [event.text for event in reader.read() if isinstance(event, Noted)]
        assert (texts[0], texts[-1], reader.damaged) == ("before", "after", 0)


def _until_it_raises(append: Callable[[], object]) -> None:
    for _ in range(100):  # the last page of the file has room for a few
        append()


def test_a_row_that_does_not_fit_is_taken_back_and_rows_stay_aligned(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "64k") as disk:
        rows = StatisticsFile(disk / "layers.f32")
        assert rows.append([1.0] * 700)[0] == 0
        filler = fill(disk)
        with pytest.raises(Unwritable, match="make room"):
            _until_it_raises(lambda: rows.append([2.0] * 700))
        size = (disk / "layers.f32").stat().st_size
        assert size % 2800 == 0
        filler.unlink()
        assert rows.append([3.0] * 700)[0] == size // 2800
        rows.close()


def test_a_file_that_does_not_fit_leaves_the_one_before_it(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "64k") as disk:
        write_atomically(disk / "spec.json", b"{}")
        fill(disk)
        with pytest.raises(Unwritable, match=NO_ROOM):
            write_atomically(disk / "spec.json", bytes(20_000))
        assert (disk / "spec.json").read_bytes() == b"{}"
        assert sorted(path.name for path in disk.iterdir()) == ["filler", "spec.json"]


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before_it(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "256k") as disk:
        kept = checkpoint.save(disk / "checkpoints", {"step": 1}, step=1)
        with pytest.raises(Unwritable, match=NO_ROOM):
            checkpoint.save(disk / "checkpoints", {"step": 2, "weights": bytes(300_000)}, step=2)
        with pytest.raises(Unwritable, match=NO_ROOM):  # torch hides this one behind an error about its archive
            checkpoint.save(disk / "checkpoints", {"step": 3, "weights": torch.zeros(100_000)}, step=3)
        assert list((disk / "checkpoints").iterdir()) == [kept]
        assert checkpoint.load(kept) == {"step": 1}


def test_training_goes_on_where_only_the_checkpoint_does_not_fit(tmp_path: Path) -> None:
    script = """
import sweeper, torch
with sweeper.trial() as trial:
    trial.plan(total_steps=4)
    for step in range(4):
        trial.report({"loss": 1.0}, step=step)
        trial.save({"step": step, "weights": torch.zeros(10 if step != 2 else 300_000)}, step=step)
"""
    (tmp_path / "train.py").write_text(script)
    with tmpfs(tmp_path / "runs", "512k") as runs:
        done = subprocess.run(
            [sys.executable, str(tmp_path / "train.py")],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        (run,) = runs.iterdir()
        trial = SweepDir(run).trial(0)
        events = read_journal(trial.attempt(1).events)
        assert [event.step for event in events if isinstance(event, Checkpointed)] == [0, 1, 3]
        (note,) = [event.text for event in events if isinstance(event, Noted)]
        assert "the checkpoint after step 2 was not written, so the previous one was kept" in note
        assert NO_ROOM in note
        assert isinstance(events[-1], Finished)
        assert [checkpoint.step_of(path) for path in checkpoint.checkpoints(trial.checkpoints)] == [3, 1]


def test_a_script_that_runs_alone_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the directory should be")
    done = subprocess.run(
        [sys.executable, "-c", "import sweeper\nwith sweeper.trial(): pass"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Unwritable" in done.stderr.splitlines()[-1]
    assert str(tmp_path / "runs") in done.stderr.splitlines()[-1]


def test_an_error_of_the_script_is_not_hidden_by_a_record_that_cannot_be_written(tmp_path: Path) -> None:
    script = """
import resource, sweeper
with sweeper.trial() as trial:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    raise ValueError("its own mistake")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: its own mistake"


LONG = LEARNER.replace('"accuracy": total}', '"accuracy": total, **long}')
HEAD = """
long = {f"a metric with a rather long name, the one with number {i}": 0.5 for i in range(60)}
"""
"""Its lines are so long that the last page of a file has no room for two of them."""


def test_a_trial_that_cannot_append_to_its_record_ends_with_the_reason_and_is_run_again(tmp_path: Path) -> None:
    sweep = Patient(tmp_path, HEAD + LONG, grid("limited", pace=0.1))
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: steps_seen(sweep, 3))
    events = sweep.run_dir.trial(0).attempt(1).events
    (started,) = [event for event in read_journal(events) if isinstance(event, Started)]
    size = events.stat().st_size  # from now on no file of the worker may be larger; what it prints still fits
    resource.prlimit(started.pid, resource.RLIMIT_FSIZE, (size, size))
    out, err = process.communicate(timeout=200)
    assert process.returncode == 1, out + err
    first, second = sweep.status()["trials"]
    assert (first["state"], first["damaged"], second["state"]) == ("FAIL", 0, "COMPLETE")
    why = sweep.call("why", "runs/limited", "0")[1]
    assert "File too large; raise the limit on the size of files (ulimit -f)" in " ".join(why.split())
    assert sweep.call("run", "sweep.yaml")[0] == 0
    assert sweep.values() == VALUES


def test_an_orchestrator_that_cannot_record_ends_in_words_and_its_workers_go_on(tmp_path: Path) -> None:
    sweep = Patient(tmp_path, LEARNER, grid("mute", pace=0.2))
    process = sweep.start("run", "sweep.yaml", "--workers", "2")
    until(lambda: steps_seen(sweep, 3))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, 0))
    process.send_signal(signal.SIGINT)  # which it has to put on record before it may ask anybody to stop
    out, err = process.communicate(timeout=200)
    assert process.returncode == 2, out + err
    assert "control.jsonl: cannot be written: File too large" in err
    assert "2 trials run on" in err
    assert "Traceback" not in out + err
    assert sweep.call("run", "sweep.yaml")[0] == 0
    assert sweep.values() == VALUES
    assert [trial["attempts"] for trial in sweep.status()["trials"]] == [1, 1]
    steps = [e.step for e in read_journal(sweep.run_dir.trial(0).attempt(1).events) if isinstance(e, Metrics)]
    assert steps == list(range(40))


def test_a_full_cache_of_encodings_is_named_and_nothing_half_made_is_left(tmp_path: Path) -> None:
    request = json.dumps({"dataset": ["synthetic-topics"], "tokenizer": ["wordpiece"], "max_length": [16]})

    def prepare() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sweeper.trainers.prepare"],
            input=request,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SWEEPER_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
        )

    with tmpfs(tmp_path / "cache", "16k") as cache:
        refused = prepare()
        assert refused.returncode == 2, refused.stderr
        assert "Traceback" not in refused.stderr
        assert str(cache) in refused.stderr
        assert "SWEEPER_CACHE" in refused.stderr
        assert not [path for path in cache.rglob("*") if path.is_file()]
        subprocess.run(["mount", "-o", "remount,size=64m", str(cache)], check=True)
        assert prepare().returncode == 0
