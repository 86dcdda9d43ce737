"""Marks of the files of a trial: what has changed since it was read."""

from __future__ import annotations

from pathlib import Path

from sweeper.record.events import Lost, Revived
from sweeper.record.marks import has_changed, marks_of
from sweeper.record.reader import TrialReader
from tests.service.runs import append, end, launch, make_run, make_trial, small


def test_a_change_of_any_file_is_seen_and_one_file_can_be_asked_about(tmp_path: Path) -> None:
    trial = small(tmp_path).trial(0)
    reader = TrialReader.open(trial)
    reader.poll()
    marks = marks_of(reader)
    assert sorted(marks) == ["attempts/1/events.jsonl", "attempts/1/exit.json", "control.jsonl", "trial.json"]
    assert not has_changed(trial, marks)
    trial.attempt(1).exit.write_bytes(b"{}")
    assert has_changed(trial, marks)
    assert not has_changed(trial, marks, only="control.jsonl")
    append(trial.control, Revived(time=70.0, attempt=1))
    assert has_changed(trial, marks, only="control.jsonl")


def test_what_was_not_read_has_no_marks(tmp_path: Path) -> None:
    trial = launch(make_trial(make_run(tmp_path), 0), [0.1])
    append(trial.control, Lost(time=40.0, attempt=1))
    reader = TrialReader.open(trial)
    reader.poll()
    assert marks_of(reader)
    end(trial)  # the events and the exit came after the reading
    assert marks_of(reader) == {}
    reader.poll()
    assert marks_of(reader)
