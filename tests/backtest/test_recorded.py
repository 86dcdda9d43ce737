"""The rules on recorded runs: a change of a rule is judged by them.

`verdicts.tar.xz` is `experiments/verdicts.yaml` and `verdicts-mild.yaml`, as far as they have been run, packed by
`benchmarks/pack.py`: 12 layers of width 64 on four of the 20 newsgroups, eight arms, none stopped early. No threshold
was set on these runs.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from sweeper.backtest import Recording, arms, backtest, read_recordings
from sweeper.backtest.report import Tally
from sweeper.cli import main
from sweeper.config import EarlyStop, Stalled


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(Path(__file__).parent / "verdicts.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "verdicts"


@pytest.fixture(scope="module")
def recordings(run: Path) -> list[Recording]:
    return read_recordings([run, run.parent / "verdicts-mild"], say=print)


@pytest.fixture(scope="module")
def tallies(recordings: list[Recording]) -> dict[str, Tally]:
    return dict(backtest(recordings, arms(EarlyStop(rules=(Stalled(),)))).pooled)


def test_there_are_enough_stalls_and_learners(recordings: list[Recording]) -> None:
    learned = [recording.is_learner(case) for recording in recordings for case in recording.cases]
    assert sum(learned) >= 59
    assert len(learned) - sum(learned) >= 59


def test_stalled_flags_stalls_and_at_most_one_learner(tallies: dict[str, Tally]) -> None:
    stalled = tallies["stalled"]
    # That one collapsed in part, and healed after 170 steps.
    assert stalled.flagged_learners in ((), (("verdicts-mild", 49),))
    # Eleven of them are slow learners, stalls by the definition alone: their gradient lives and their loss falls.
    assert stalled.caught >= stalled.stalls - 11
    assert stalled.regret == 0
    assert stalled.after_onset >= 0.7
    assert stalled.delay[0] <= 8
    assert stalled.delay_quartile <= 15


def test_pruners_stop_learners(tallies: dict[str, Tally]) -> None:
    for name in ("median", "successive_halving", "hyperband", "one_epoch"):
        assert tallies[name].false_flags > 0


def test_a_configuration_that_stalls_is_marked_before_it_is_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No rule flagged a recorded trial; the stalls follow from the outcomes."""
    sweep = Path(__file__).parents[2] / "experiments/warmup.yaml"
    assert main(["plan", str(sweep), "--profile", "cpu", "--examples", "2034", "--against", str(run)]) == 0
    out = capsys.readouterr().out
    marked = [line.split("  ")[0] for line in out.splitlines() if line.endswith(" *")]
    assert marked == ["lr=8e-4, warmup_fraction=0.1"]
    assert "recorded trials at 0.003" in out


def test_a_run_with_too_few_trials_is_skipped(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run / "trials/0000", tmp_path / "other/trials/0000")
    shutil.copy(run / "spec.json", tmp_path / "other")
    assert main(["backtest", str(tmp_path / "other"), str(run)]) == 0
    out, err = capsys.readouterr()
    assert "72 trials that ended by themselves" in out
    assert err.startswith(f"skipped: {tmp_path}/other: expected at least 2 trials")
    assert main(["backtest", str(tmp_path / "other")]) == 2
    assert main(["backtest", str(tmp_path / "nowhere"), str(run)]) == 2
