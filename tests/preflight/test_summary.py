"""The summary that `sweeper plan` prints before a sweep starts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.cli import main
from sweeper.config import SweepSpec
from sweeper.errors import UsageError
from sweeper.preflight.summary import preflight_text
from sweeper.record.trial import TrialRecord
from sweeper.results.health.advice import stall_border
from sweeper.trainers.preflight import examples_of, schedule_of
from tests.results.health.test_advice import SWEEP, trial

EXAMPLES = ("topics", 2034)


def spec(**changes: Any) -> SweepSpec:
    parameters = {"lr": {"values": [3e-4, 8e-4]}, "warmup_fraction": {"values": [0.1, 0.7]}}
    given = {"name": "s", "method": "grid", "metric": {"name": "m"}, "trainer": "text-classification"}
    return SweepSpec.from_json({**given, "parameters": parameters, **changes})


def test_the_peak_counts_the_missing_bias_correction() -> None:
    found = schedule_of({"lr": 1e-3, "warmup_fraction": 0.1, "epochs": 5, "batch_size": 16}, 2034)
    assert found.total_steps == 5 * 128
    # A linear ramp of 64 steps times (1 - 0.9^t) / sqrt(1 - 0.999^t), t steps done.
    factors = [(1 - 0.9**t) / math.sqrt(1 - 0.999**t) for t in range(1, 641)]
    rates = [1e-3 * min(t / 64, (640 - t + 1) / 576) * f for t, f in enumerate(factors, 1)]
    assert found.peak == pytest.approx(max(rates))
    assert found.peak_step == rates.index(max(rates))
    assert (
        schedule_of({"warmup_fraction": 0.0}, 2034).peak_step == 10
    )  # the factor is highest at t = 12, but the decay has begun
    corrected = schedule_of({"lr": 1e-3, "bias_correction": True}, 2034)
    assert corrected.peak == pytest.approx(1e-3)
    assert corrected.peak_step == 63


def test_the_border_is_the_lowest_rate_from_which_all_trials_were_flagged() -> None:
    assert stall_border(SWEEP) == (2e-3, 3)
    assert stall_border([*SWEEP, trial(9, 1.0, 0.1, 1.0, outcome="learned")]) is None
    assert stall_border(SWEEP[2:3]) is None


def of_the_same_model(trials: list[TrialRecord]) -> list[TrialRecord]:
    return [replace(t, facts=replace(t.facts, params={**t.facts.params, "hidden_size": 64})) for t in trials]


def test_arms_at_which_recorded_trials_stalled_are_marked() -> None:
    text = preflight_text(spec(seeds=[0, 1]), examples=EXAMPLES, against=of_the_same_model(SWEEP))
    lines = text.splitlines()
    assert lines[0] == "s: 8 trials (4 arms x 2 seeds)"
    assert [line.endswith(" *") for line in lines[3:7]] == [False, False, True, False]
    assert lines[5].split()[:3] == ["lr=8e-4,", "warmup_fraction=0.1", "640"]
    assert lines[-1] == "* stalled in 3 of 3 recorded trials at 0.002 or more"
    assert max(map(len, lines)) <= 80


def test_trials_of_another_model_say_nothing() -> None:
    text = preflight_text(spec(parameters={"hidden_size": {"value": 128}}), examples=EXAMPLES, against=SWEEP)
    assert " *" not in text
    assert text.endswith("No recorded trial has the same model, and the stall border depends on the model's size.\n")


def test_unknown_values_are_reported_as_unknown() -> None:
    assert "--examples N" in preflight_text(spec(), examples=None, against=[])
    assert "this script has its own" in preflight_text(spec(trainer=None, command=["a"]), examples=None, against=[])
    text = preflight_text(spec(method="random", run_cap=7), examples=EXAMPLES, against=[])
    assert text == "s: at most 7 trials; random proposes its arms during the sweep.\n"
    text = preflight_text(spec(method="random", run_cap=10, seeds=[0, 1, 2]), examples=EXAMPLES, against=[])
    assert text == "s: at most 12 trials (4 arms x 3 seeds); random proposes its arms during the sweep.\n"
    capped = preflight_text(spec(trainer=None, command=["a"], run_cap=5, seeds=[0, 1]), examples=None, against=[])
    assert capped.startswith("s: 8 trials (4 arms x 2 seeds), of which run_cap allows 6\n")
    with pytest.raises(UsageError, match="lr: expected a number above 0"):
        preflight_text(spec(parameters={"lr": {"value": -1.0}}), examples=EXAMPLES, against=[])


def test_examples_are_those_of_the_first_dataset_that_was_prepared(tmp_path: Path) -> None:
    for name, train in (("a", 10), ("b", 20)):
        folder = tmp_path / "encodings" / name
        folder.mkdir(parents=True)
        (folder / "meta.json").write_text(json.dumps({"provenance": {"dataset": {"name": name, "train": train}}}))
    (tmp_path / "encodings" / "a" / "meta.json").with_name("torn").mkdir()
    assert examples_of(["c", "b", "a"], tmp_path) == ("b", 20)
    assert examples_of(["c"], tmp_path) is None


def test_the_command_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "s.yaml"
    file.write_text("name: s\nmethod: grid\nmetric: {name: m}\ntrainer: text-classification\n")
    assert main(["plan", "s.yaml", "lr=[1e-4,3e-4]", "--examples", "2034"]) == 0
    assert "lr=3e-4" in capsys.readouterr().out
    assert main(["plan", "s.yaml", "--against", "nowhere"]) == 2
    assert list(tmp_path.iterdir()) == [file]
