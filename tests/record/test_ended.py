"""The cache of ended trials agrees with their records, or is not used."""

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

from sweeper.record import ended as ended_module
from sweeper.record.decision import Decision
from sweeper.record.ended import EndedTrials, EndedWriter, read_states
from sweeper.record.events import (
    Abandoned,
    Checkpointed,
    Collected,
    Continued,
    Event,
    Exit,
    Finished,
    KillSent,
    Launched,
    Metrics,
    Noted,
    Noticed,
    Observation,
    Plan,
    Resumed,
    RetryGranted,
    Revived,
    Started,
    StopRequested,
    Watching,
)
from sweeper.record.reader import TrialReader, open_trials, read_trial
from sweeper.record.storage.checksums import Damage
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir, write_json
from sweeper.record.trial import TrialRecord

numbers = st.floats()
steps = st.integers(0, 1000)
texts = st.text(max_size=5)
told = st.dictionaries(texts | st.just("_"), st.none() | st.booleans() | numbers | texts | st.lists(steps), max_size=3)
decisions = st.builds(Decision, rule=texts, step=steps, reason=st.text(min_size=1), evidence=told.filter(bool))
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
    st.builds(StopRequested, attempt=st.just(1), cause=texts, decision=st.none() | decisions)
    | st.builds(Continued, attempt=st.just(1), cause=texts, decision=decisions, value=st.none() | numbers)
    | st.builds(KillSent, attempt=st.just(1))
    | st.builds(Abandoned, attempt=st.just(1), cause=texts, reason=texts)
    | st.builds(RetryGranted, attempt=st.just(1))
    | st.builds(Revived, attempt=st.just(1))
    | st.builds(Noticed, attempt=st.just(1), place=texts, names=st.just(("a", "b")), problem=texts)
    | st.builds(
        Collected,
        attempt=st.just(1),
        step=steps,
        values=st.dictionaries(texts, numbers, max_size=2),
        file=texts,
        offset=steps,
    ),
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


def cache(run: SweepDir) -> list[TrialReader]:
    readers, _ = open_trials(run)
    for reader in readers:
        reader.poll()
    EndedWriter(run).append(reader for reader in readers if reader.trial.state.ended)
    return readers


@settings(deadline=None)
@given(st.lists(st.tuples(history, control), min_size=1, max_size=3))
def test_ended_trials_are_cached_as_they_were_read(trials: list[tuple[list[Event], list[Event]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = SweepDir(Path(folder))
        for number, (events, controls) in enumerate(trials):
            write(run.trial(number), events, controls, code=number % 2)
        readers = cache(run)
        known = EndedTrials(run).trials
        ended = {reader.trial.number: reader.trial for reader in readers if reader.trial.state.ended}
        assert {n: head_of(t) for n, t in known.items()} == {n: head_of(t) for n, t in ended.items()}
        assert {n: repr(t) for n, t in known.items()} == {n: repr(t) for n, t in ended.items()}


def head_of(trial: TrialRecord) -> tuple[object, ...]:
    """What a cached trial has before one of its parts is decoded."""
    return trial.state, trial.step, repr(trial.latest), trial.damaged


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    run = SweepDir(tmp_path)
    for number in range(3):
        write(run.trial(number), [Metrics(step=number, values={"m": 0.5}), Finished(outcome="completed")])
    cache(run)
    assert sorted(EndedTrials(run).trials) == [0, 1, 2]
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
def test_a_line_about_a_file_that_has_changed_is_not_used(run: SweepDir, name: str, change: object) -> None:
    before = EndedTrials(run)
    change(run.trial(1).path / name)  # type: ignore[operator]
    assert sorted(EndedTrials(run).trials) == [0, 2]
    before.refresh()
    assert sorted(before.trials) == [0, 2]


def test_a_trial_without_a_valid_line_is_read(run: SweepDir) -> None:
    with JournalWriter(run.trial(1).control) as journal:
        journal.append(StopRequested(attempt=1, cause="pruned", decision=Decision.read({})))
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
            known = EndedTrials(run).trials
            assert known == {number: expected[number] for number in known}
    run.ended.unlink()
    assert (EndedTrials(run).trials, EndedTrials(run).stale) == ({}, 0)


def test_another_process_reads_what_this_one_wrote(run: SweepDir) -> None:
    program = "import sys, pathlib as p; from sweeper.record import ended; from sweeper.record.storage import layout; "
    program += "print(len(ended.EndedTrials(layout.SweepDir(p.Path(sys.argv[1]))).trials))"
    for seed in ("1", "2"):
        command = [sys.executable, "-c", program, str(run.path)]
        assert subprocess.check_output(command, env={**os.environ, "PYTHONHASHSEED": seed}) == b"3\n"


def test_a_line_of_another_version_is_not_used(run: SweepDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended_module, "_form", lambda: "00000000")
    assert (EndedTrials(run).trials, EndedTrials(run).stale) == ({}, 3)


@pytest.mark.parametrize("told", [b"{}", b"garbage", b'{"facts":{"_":"Facts","unknown":1}}'])
def test_a_trial_with_a_line_that_cannot_be_decoded_is_read(run: SweepDir, told: bytes) -> None:
    """Even if its checksum is right, as in a file that a person has edited with care."""
    heads = [line.partition(b" ")[2].partition(b"\t")[0] for line in run.ended.read_bytes().split(b"\n") if line]
    texts = [head + b"\t" + told for head in heads]
    run.ended.write_bytes(b"\n".join(f"{zlib.crc32(text):08x} ".encode() + text for text in texts))
    ended = EndedTrials(run)
    known, stale = ended.trials, ended.stale
    assert [trial.state.value for trial in known.values()] == ["COMPLETE"] * 3
    assert list(known.values()) == [read_trial(trial) for trial in run.trials()]
    assert stale == 0


def test_a_cached_trial_can_be_changed(run: SweepDir) -> None:
    known = EndedTrials(run).trials
    damage = (Damage(file=run.trial(1).control, line=1, what="it was altered"),)
    changed = replace(known[1], damage=damage)
    assert changed == replace(read_trial(run.trial(1)), damage=damage)
    assert changed != known[1]
    with pytest.raises(AttributeError):
        _ = known[1].nothing_like_it  # type: ignore[attr-defined]


def test_a_later_line_replaces_an_earlier_one_which_counts_as_stale(run: SweepDir) -> None:
    with JournalWriter(run.trial(1).attempt(1).events) as journal:
        journal.append(Noted(text="later"))
    cache(run)
    ended = EndedTrials(run)
    known, stale = ended.trials, ended.stale
    assert known[1].progress.notes == ("later",)
    assert stale == 3


def test_a_trial_with_unread_events_is_not_cached(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    write(run.trial(0), [Finished(outcome="completed")])
    (reader,), _ = open_trials(run)
    reader.poll()
    with JournalWriter(run.trial(0).attempt(1).events) as journal:
        journal.append(Noted(text="after the end"))
    EndedWriter(run).append([reader])
    assert not run.ended.exists()


def test_a_cache_that_cannot_be_written_is_no_error(run: SweepDir, tmp_path: Path) -> None:
    run.ended.unlink()
    run.ended.mkdir()
    assert [type(reader.trial) for reader in cache(run)] == [TrialRecord] * 3
    assert len(read_states(run)[0]) == 3
