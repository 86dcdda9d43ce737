"""Sparklines: what is sampled of a record, and how it is drawn."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from sweeper.record.events import Collected, Metrics
from sweeper.record.reader import read_trial
from sweeper.record.storage.codec import encode
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import TrialRecord
from sweeper.views.terminal import sparklines
from sweeper.views.terminal.sparklines import (
    SparklineCache,
    SparklineData,
    can_draw,
    loss_sparks,
    reach_sparks,
    sampled,
    spark,
)
from sweeper.views.terminal.table import status_table
from tests.views.synthetic import Script, make_trial, play
from tests.views.terminal.test_live import rendered, sweep_of, view


def played(folder: Path, *scripts: Script) -> TrialRecord:
    trial = make_trial(SweepDir(folder), 0)
    for script in scripts:
        play(trial, script)
    return read_trial(trial)


def test_a_stall_and_a_learner_have_different_sparklines(tmp_path: Path) -> None:
    learned = sampled(played(tmp_path / "a", Script()))
    stalled = sampled(played(tmp_path / "b", Script(stalled=True, until=131, outcome="stopped")))
    first, second = loss_sparks([learned, stalled], 8)
    assert first[0] > first[-1] == "▁"
    assert set(second) == {"█"}  # on the scale of both, it never moved
    first, second = reach_sparks([learned, stalled], 8)
    assert min(first) >= "▆"
    assert second[0] == "█"
    assert second[-1] <= "▃"


def test_samples_are_spread_over_the_whole_record_and_end_with_the_last(tmp_path: Path) -> None:
    steps = [step for step, _ in sampled(played(tmp_path, Script())).loss]
    assert len(steps) > sparklines.SAMPLES / 2
    assert steps[0] < 20  # what is watched stands before, in a line longer than a sample
    assert steps[-1] == 639
    assert max(b - a for a, b in itertools.pairwise(steps)) < 640 / 8


def test_a_later_attempt_counts_from_its_first_step(tmp_path: Path) -> None:
    trial = played(
        tmp_path,
        Script(until=320, outcome="stopped", loss=9.0),
        Script(number=2, first=100, until=200, outcome="", exit_code=None, loss=1.0),
    )
    loss = dict(sampled(trial).loss)
    assert max(loss) == 199
    assert {value for step, value in loss.items() if step < 100} == {9.0}
    assert {value for step, value in loss.items() if step >= 110} == {1.0}


def test_a_record_is_read_again_once_it_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = played(tmp_path, Script(until=320, outcome="", exit_code=None))
    read: list[int] = []

    def sampled(trial: TrialRecord) -> SparklineData:
        read.append(trial.facts.number)
        return SparklineData()

    monkeypatch.setattr(sparklines, "sampled", sampled)
    known = SparklineCache()
    known.of([trial])
    known.of([trial])
    assert read == [0]
    with trial.attempt_dir.events.open("ab") as events:
        events.write(encode(Metrics(step=400, values={"loss/train": 1.0})) * 2000)
    known.of([trial])
    assert read == [0, 0]


def test_a_loss_that_was_collected_is_shown(tmp_path: Path) -> None:
    trial = played(tmp_path, Script(until=320, outcome="", exit_code=None))
    with trial.directory.control.open("ab") as control:
        values = {"loss/train": 77.0}
        control.write(encode(Collected(attempt=1, step=400, values=values, file="f", offset=1)))
    assert dict(sampled(trial).loss)[400] == 77.0


def test_damaged_lines_and_values_that_are_not_finite_are_shown(tmp_path: Path) -> None:
    trial = played(tmp_path, Script(until=320, outcome="", exit_code=None))
    with trial.attempt_dir.events.open("ab") as events:
        events.write(
            b'{"event":"Metrics","step":"x"\n\xff\xfe\n' + encode(Metrics(step=400, values={"loss/train": math.nan}))
        )
    assert loss_sparks([sampled(trial)], 8)[0][-1] == "!"
    trial.attempt_dir.events.unlink()
    assert sampled(trial) == SparklineData()
    assert spark([], 8, 0, 1) == ""
    assert loss_sparks([SparklineData(loss=[(0, 1.0)])], 4) == ["▁▁▁▁"]


def test_sparklines_are_as_wide_as_the_terminal_allows(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    drawn = SparklineCache().of(sweep.trials)
    heads = {
        width: rendered(status_table(sweep, width=width, curves=drawn), width)[1].split()
        for width in (60, 80, 110, 150)
    }
    assert not {"~loss", "~reach"} & {*heads[60], *heads[80]}
    assert {"~loss", "~reach"} <= {*heads[110]}
    wide = rendered(status_table(sweep, width=150, curves=drawn), 150)
    assert sum(any(bar in word for bar in sparklines.BARS) and len(word) == 16 for word in wide[2].split()) == 2
    for width in range(20, 150):
        assert max(len(line) for line in rendered(status_table(sweep, width=width, curves=drawn), width)) <= width


def test_without_curves_there_are_no_columns_for_them(tmp_path: Path) -> None:
    trial = make_trial(SweepDir(tmp_path), 0)
    sweep = view([read_trial(trial)])
    assert "~" not in rendered(status_table(sweep, width=150, curves=SparklineCache().of(sweep.trials)), 150)[1]


def test_a_terminal_that_cannot_encode_bars_gets_none() -> None:
    assert can_draw("utf-8")
    assert not can_draw("ascii")
    assert not can_draw("no such thing")
