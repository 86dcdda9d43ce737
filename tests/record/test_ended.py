"""What is remembered of ended trials is what their records say, or it is not believed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.record import ended as recalling
from sweeper.record.ended import Memory, Recalled, read_states, recall
from sweeper.record.events import (
    Abandoned,
    Checkpointed,
    Condemned,
    Event,
    Exit,
    Finished,
    KillSent,
    Launched,
    Metrics,
    Noted,
    Observation,
    Plan,
    Resumed,
    RetryGranted,
    Revived,
    Started,
    StopRequested,
    Watching,
    encode,
)
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir, write_json
from sweeper.record.trial import Trial, TrialReader, open_trials, read_trial

numbers = st.floats()
steps = st.integers(0, 1000)
texts = st.text(max_size=5)
told = st.dictionaries(texts | st.just("_"), st.none() | st.booleans() | numbers | texts | st.lists(steps), max_size=3)
WATCHING = Watching(
    layers=("a", "b"), tensors=("a.w", "b.w"), sizes=(4, 6), layer_of=(0, 1), statistics=("grad_norm",), every=10
)
history = st.lists(
    st.builds(Started, time=numbers, pid=steps, host=texts, attempt=st.just(1))
    | st.builds(Plan, total_steps=steps, peak_lr=st.none() | numbers, uncorrected=st.just((0.9, 0.999)))
    | st.builds(Metrics, time=numbers, step=steps, values=st.dictionaries(texts, numbers, max_size=2))
    | st.builds(Observation, step=steps, row=steps, reach=numbers, update_ratio=numbers, learning_rate=numbers)
    | st.builds(Checkpointed, step=steps, file=texts)
    | st.builds(Noted, text=texts)
    | st.builds(Resumed, step=steps)
    | st.builds(Finished, outcome=st.sampled_from(["completed", "failed", "stopped"]), error=texts)
    | st.sampled_from(
        [
            WATCHING,
            Watching(
                **{n: getattr(WATCHING, n) for n in ("layers", "tensors", "sizes")},
                layer_of=(1, 0),
                statistics=("grad_norm",),
                every=5,
                left_out={"c": "zero"},
            ),
        ]
    ),
    max_size=12,
)
control = st.lists(
    st.builds(StopRequested, attempt=st.just(1), cause=texts, decision=st.none() | told)
    | st.builds(Condemned, attempt=st.just(1), spared=texts, decision=told, value=st.none() | numbers)
    | st.builds(KillSent, attempt=st.just(1))
    | st.builds(Abandoned, attempt=st.just(1), cause=texts, reason=texts)
    | st.builds(RetryGranted, attempt=st.just(1))
    | st.builds(Revived, attempt=st.just(1)),
    max_size=4,
)


def write(trial: TrialDir, events: Sequence[Event] = (), controls: Sequence[Event] = (), code: int | None = 0) -> None:
    trial.attempt(1).path.mkdir(parents=True)
    params = {"lr": 1e-3, "_": [1, {"_": 2}], "kind": None}
    facts = {"number": trial.number, "configuration": 0, "seed": 0, "params": params, "shown": {}, "command": ["true"]}
    write_json(trial.facts, {**facts, "metric": "m", "maximize": True}, sync=False)
    trial.control.write_bytes(b"".join(map(encode, [Launched(attempt=1, slot="a"), *controls])))
    trial.attempt(1).events.write_bytes(b"".join(map(encode, events)))
    if code is not None:
        end = Exit(attempt=1, code=code, signal=None, cause="", peak_memory_mb=1.0)
        trial.attempt(1).exit.write_bytes(encode(end))


def remember(run: SweepDir) -> list[TrialReader]:
    readers, _ = open_trials(run)
    for reader in readers:
        reader.poll()
    Memory(run).keep(reader for reader in readers if reader.trial.state.ended)
    return readers


@settings(deadline=None)
@given(st.lists(st.tuples(history, control), min_size=1, max_size=3))
def test_who_has_ended_is_remembered_as_folded(trials: list[tuple[list[Event], list[Event]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = SweepDir(Path(folder))
        for number, (events, controls) in enumerate(trials):
            write(run.trial(number), events, controls, code=number % 2)
        readers = remember(run)
        known, _ = recall(run)
        ended = {reader.trial.number: reader.trial for reader in readers if reader.trial.state.ended}
        assert {n: head_of(t) for n, t in known.items()} == {n: head_of(t) for n, t in ended.items()}
        assert {n: repr(t) for n, t in known.items()} == {n: repr(t) for n, t in ended.items()}


def head_of(trial: Trial) -> tuple[object, ...]:
    """What is known of a trial before a part of it is asked for."""
    return trial.state, trial.step, repr(trial.latest), trial.damaged


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    run = SweepDir(tmp_path)
    for number in range(3):
        write(run.trial(number), [Metrics(step=number, values={"m": 0.5}), Finished(outcome="completed")])
    remember(run)
    assert sorted(recall(run)[0]) == [0, 1, 2]
    return run


def touch(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.mark.parametrize("name", ["trial.json", "control.jsonl", "attempts/1/events.jsonl", "attempts/1/exit.json"])
@pytest.mark.parametrize(
    "change",
    [
        touch,
        lambda path: path.write_bytes(path.read_bytes() + b"\n"),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        Path.unlink,
    ],
    ids=["touched", "longer", "shorter", "gone"],
)
def test_a_line_about_a_file_that_is_another_is_not_believed(run: SweepDir, name: str, change: object) -> None:
    before = Recalled(run)
    change(run.trial(1).path / name)  # type: ignore[operator]
    assert sorted(recall(run)[0]) == [0, 2]
    before.look_again()
    assert sorted(before.trials) == [0, 2]


def test_what_is_not_believed_is_read(run: SweepDir) -> None:
    with JournalWriter(run.trial(1).control) as journal:
        journal.append(StopRequested(attempt=1, cause="pruned", decision={}))
        journal.append(Launched(attempt=2, slot="a"))
    trials, unreadable = read_states(run)
    assert [trial.state.value for trial in trials] == ["COMPLETE", "RUNNING", "COMPLETE"]
    assert not unreadable
    assert trials == [read_trial(trial) for trial in run.trials()]


def test_any_part_of_the_file_may_be_missing_or_wrong(run: SweepDir) -> None:
    whole = run.ended.read_bytes()
    expected = {trial.number: read_trial(trial) for trial in run.trials()}
    for cut in range(0, len(whole), 7):
        for damaged in (whole[:cut], whole[cut:], whole[:cut] + b"\xff" + whole[cut + 1 :]):
            run.ended.write_bytes(damaged)
            known, _ = recall(run)
            assert known == {number: expected[number] for number in known}
    run.ended.unlink()
    assert recall(run) == ({}, 0)


def test_another_process_reads_what_this_one_wrote(run: SweepDir) -> None:
    program = "import sys, pathlib as p; from sweeper.record import layout as l, recall as r; "
    program += "print(len(r.recall(l.SweepDir(p.Path(sys.argv[1])))[0]))"
    for seed in ("1", "2"):
        command = [sys.executable, "-c", program, str(run.path)]
        assert subprocess.check_output(command, env={**os.environ, "PYTHONHASHSEED": seed}) == b"3\n"


def test_a_line_of_another_version_says_nothing(run: SweepDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recalling, "_FORM", "00000000")
    assert recall(run) == ({}, 3)


@pytest.mark.parametrize("told", [b"{}", b"garbage", b'{"facts":{"_":"Facts","unknown":1}}'])
def test_who_is_remembered_in_words_that_nobody_knows_is_read(run: SweepDir, told: bytes) -> None:
    """Though its checksum is right, as of a file that somebody took pains to edit."""
    heads = [line.partition(b" ")[2].partition(b"\t")[0] for line in run.ended.read_bytes().split(b"\n") if line]
    texts = [head + b"\t" + told for head in heads]
    run.ended.write_bytes(b"\n".join(f"{zlib.crc32(text):08x} ".encode() + text for text in texts))
    known, stale = recall(run)
    assert [trial.state.value for trial in known.values()] == ["COMPLETE"] * 3
    assert list(known.values()) == [read_trial(trial) for trial in run.trials()]
    assert stale == 0


def test_a_trial_that_is_remembered_can_be_changed(run: SweepDir) -> None:
    known, _ = recall(run)
    changed = replace(known[1], damaged=7)
    assert changed == replace(read_trial(run.trial(1)), damaged=7)
    assert changed != known[1]
    with pytest.raises(AttributeError):
        _ = known[1].nothing_like_it  # type: ignore[attr-defined]


def test_a_later_line_stands_and_the_earlier_is_counted_as_of_no_use(run: SweepDir) -> None:
    with JournalWriter(run.trial(1).attempt(1).events) as journal:
        journal.append(Noted(text="later"))
    remember(run)
    known, stale = recall(run)
    assert known[1].progress.notes == ("later",)
    assert stale == 3


def test_who_has_more_to_be_read_is_not_remembered(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    write(run.trial(0), [Finished(outcome="completed")])
    (reader,), _ = open_trials(run)
    reader.poll()
    with JournalWriter(run.trial(0).attempt(1).events) as journal:
        journal.append(Noted(text="after the end"))
    Memory(run).keep([reader])
    assert not run.ended.exists()


def test_no_disk_is_no_reason_to_stop(run: SweepDir, tmp_path: Path) -> None:
    run.ended.unlink()
    run.ended.mkdir()
    assert [type(reader.trial) for reader in remember(run)] == [Trial] * 3
    assert len(read_states(run)[0]) == 3
