"""`sweeper status` and `sweeper why` on the health of trials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.cli.messages import print_ranking
from sweeper.record.storage.layout import SweepDir, write_json
from tests.views.synthetic import Script, began, diagnose, make_trial, play


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    """Two trials that are complete: one learned, the gradient of the other vanished."""
    directory = SweepDir(tmp_path / "runs" / "s")
    (directory.path / "trials").mkdir(parents=True)
    write_json(directory.spec, {"format": 1, "name": "s", "spec": {}})
    for number, lr in enumerate((6e-4, 8e-3)):
        play(make_trial(directory, number, params={"lr": lr}, shown={"lr": lr}), Script(until=130, stalled=number == 1))
    diagnose(directory.trial(1), began("vanishing_gradient", 110, 120, reason="the gradient is gone"))
    return directory


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_status_has_a_column_and_says_which_values_are_read(
    run: SweepDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    lines = [line.rstrip() for line in said(capsys, "status", str(run.path)).splitlines()]
    assert lines[1].split()[-1] == "health"
    assert [line.split("  ")[-1] for line in lines[2:4]] == ["ok", "vanishing since 110"]
    assert lines[4] == "  loss: loss/train; held-out loss: loss/test; score: accuracy/test"


def test_status_for_programs_has_the_timeline(run: SweepDir, capsys: pytest.CaptureFixture[str]) -> None:
    trials = json.loads(said(capsys, "status", str(run.path), "--json"))["trials"]
    assert [trial["healthy"] for trial in trials] == [True, False]
    assert [one["effect"] for one in trials[1]["health"]] == ["stops"]


def test_why_has_the_timeline_the_advice_and_the_siblings(run: SweepDir, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "why", str(run.path), "1")
    assert "health: vanishing since 110\n  since 110, found at 120  vanishing_gradient: the gradient is gone\n" in text
    assert "    advice: lower the peak learning rate" in text
    assert "    siblings at or below 6e-4 learned\n" in text
    assert "health: ok\n" in said(capsys, "why", str(run.path), "0")


def test_the_end_of_a_sweep_counts_the_classes(run: SweepDir, capsys: pytest.CaptureFixture[str]) -> None:
    print_ranking(run)
    assert "\n2 trials: 1 ok, 1 vanishing_gradient.\n" in capsys.readouterr().out
