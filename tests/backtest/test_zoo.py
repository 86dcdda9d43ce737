"""The diagnoses on the zoo, recorded runs of many kinds of model and task: a change of a diagnosis is judged by them.

`zoo.tar.xz` is packed by `benchmarks/pack.py` from `benchmarks/zoo`. Thresholds were set on half A; the figures of half
B are in docs/verdicts.md, and what they must not fall below is here.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from sweeper.backtest import Recording, backtest, read_recordings
from sweeper.backtest.replay import AUTO, AUTO_AND_WARNINGS, HealthArm, arms
from sweeper.backtest.report import Tally

HEALTHY = {
    "a memorised training set": ("zoo-a", "bn_cnn/memorises"),
    "a gradient that is huge at the start": ("zoo-a", "deep_mlp/hot_start_clipped"),
    "very small updates": ("zoo-a", "bn_cnn/sgd_small_updates"),
    "a warmup of seven tenths": ("zoo-a", "postnorm_transformer/warmup_70"),
    "LoRA with adapters that start at zero": ("zoo-a", "lora/adam"),
    "warm restarts": ("zoo-a", "warm_restarts/cnn"),
    "a router that collapses": ("zoo-a", "mixture_of_experts/router_collapses"),
    "a GAN": ("zoo-a", "gan/adam"),
    "an actor and a critic apart": ("zoo-a", "separate_actor_critic/adam"),
    "a noise floor": ("zoo-a", "noise_floor/sgd"),
    "parity": ("zoo-a", "parity_plateau/adam"),
    "LBFGS": ("zoo-a", "lbfgs/line_search"),
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Recording]:
    folder = tmp_path_factory.mktemp("zoo")
    with tarfile.open(Path(__file__).parent / "zoo.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    runs = [folder / "zoo-a", folder / "zoo-b"]
    found = read_recordings(runs, truths=[run / "truth.json" for run in runs], say=print)
    return {recording.name: recording for recording in found}


@pytest.fixture(scope="module")
def tallies(recordings: Mapping[str, Recording]) -> Mapping[str, Mapping[str, Tally]]:
    chosen = [arm for arm in arms(None) if isinstance(arm, HealthArm) and arm.name in (AUTO, AUTO_AND_WARNINGS)]
    return {name: backtest([recording], chosen).pooled for name, recording in recordings.items()}


@pytest.mark.parametrize("half", ["zoo-a", "zoo-b"])
def test_there_are_enough_runs_of_both_kinds(tallies: Mapping[str, Mapping[str, Tally]], half: str) -> None:
    tally = tallies[half][AUTO]
    assert tally.stalls >= 150
    assert tally.learners >= 100


@pytest.mark.parametrize("half", ["zoo-a", "zoo-b"])
def test_at_most_one_healthy_run_in_a_hundred_is_stopped(tallies: Mapping[str, Mapping[str, Tally]], half: str) -> None:
    tally = tallies[half][AUTO]
    assert tally.false_flags <= tally.learners / 100


@pytest.mark.parametrize(("half", "flagged", "stopped"), [("zoo-a", 0.94, 0.92), ("zoo-b", 0.92, 0.85)])
def test_most_failed_runs_are_flagged_and_stopped(
    tallies: Mapping[str, Mapping[str, Tally]], half: str, flagged: float, stopped: float
) -> None:
    """The rates of docs/verdicts.md, rounded down: a change that lowers them has to update that page."""
    tally = tallies[half]
    assert tally[AUTO_AND_WARNINGS].caught >= flagged * tally[AUTO_AND_WARNINGS].stalls
    assert tally[AUTO].caught >= stopped * tally[AUTO].stalls


@pytest.mark.parametrize("name", HEALTHY)
def test_an_unusual_healthy_run_is_not_stopped(recordings: Mapping[str, Recording], name: str) -> None:
    half, case = HEALTHY[name]
    recording = recordings[half]
    (auto,) = [arm for arm in arms(None) if arm.name == AUTO]
    verdicts = auto.verdicts(recording)
    assert not isinstance(verdicts, str)
    runs = [one.number for one in recording.cases if one.params["case"] == case]
    assert runs
    assert all(verdicts[number] is None for number in runs)
